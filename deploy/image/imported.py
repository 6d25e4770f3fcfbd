"""A script that prints the source files of all modules imported by the router and its commands."""

import sys

from twisted.scripts import _twistd_unix, twistd

from autopilot import AutopilotService, Settings
from autopilot.cli import entry, health
from autopilot.process import reactor
from autopilot.tap import makeService

USED = (twistd, _twistd_unix, reactor, entry, health, makeService)
AutopilotService(Settings())
files = {getattr(module, "__file__", None) or "" for module in tuple(sys.modules.values())}
print("\n".join(sorted(file for file in files if file.endswith(".py"))))
