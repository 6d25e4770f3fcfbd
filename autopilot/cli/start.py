"""Run the router in the foreground, until it receives SIGINT or SIGTERM.

The options are the settings: --listen-addr=127.0.0.1:8000 is LISTEN_ADDR; `autopilot run --help`
explains all of them. It does what `twistd --nodaemon --pidfile= autopilot` does, with the reactor
that is best for this system.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

NAME: Final = "run"
HELP: Final = "run the router in the foreground"
EXAMPLES: Final = """\
  autopilot run
  autopilot run --listen-addr=127.0.0.1:8000 --log-level=warn
  autopilot run --env-file=/etc/autopilot.env --check-config
"""
# The status that a shell reports for a process killed by SIGPIPE (128 + 13).
_BROKEN_PIPE: Final = 141


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments, which only `twistd` can parse."""
    parser.add_argument("options", nargs="*", metavar="--OPTION=VALUE")


def start(options: Sequence[str]) -> None:
    """Run ``twistd`` in this process, which ends it."""
    from twisted.scripts.twistd import run

    reactor = "autopilot" if sys.platform == "linux" else "default"
    own = ("--nodaemon", "--pidfile=", f"--reactor={reactor}")
    sys.argv = ["twistd", *own, "autopilot", *options]
    try:
        try:
            run()
        finally:
            # At the exit, Python would print that this failed.
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the help has left.
        assert sys.__stdout__ is not None
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
        raise SystemExit(_BROKEN_PIPE) from None
