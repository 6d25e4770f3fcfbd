"""A script that prints the source files of all modules imported by the router and its commands.

They include those of workers, of the store and of private mode, which a router imports only when
its settings ask for them.
"""

import sys

from twisted.scripts import _twistd_unix, twistd

from autopilot import AutopilotService, Settings
from autopilot.attestation import asked_instances, grace, instance_answers, private_wire
from autopilot.cli import entry, health
from autopilot.process import reactor
from autopilot.service import parent, worker, worker_lifecycle
from autopilot.state.sharing import store
from autopilot.tap import makeService

USED = (twistd, _twistd_unix, reactor, entry, health, makeService)
PRIVATE = (asked_instances, grace, instance_answers, private_wire)
WORKERS = (parent, worker, worker_lifecycle, store)
AutopilotService(Settings(private="always"))
files = {getattr(module, "__file__", None) or "" for module in tuple(sys.modules.values())}
print("\n".join(sorted(file for file in files if file.endswith(".py"))))
