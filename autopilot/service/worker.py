"""A worker of a router: a process that serves the connections that its parent passes to it.

``python -m autopilot.service.worker REACTOR`` is started by the parent only, with the descriptors
that `autopilot.service.worker_process` lists. The reactor is chosen by the name of its module, and
nothing here may import one before that.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a terminal or a service manager sends to all processes, and that the parent heeds.
"""


def main(arguments: Sequence[str]) -> int:
    """Serve until the parent says otherwise, or has died; return the exit status."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    import_module(arguments[0]).install()
    from twisted.internet import reactor

    from autopilot.service.worker_lifecycle import Worker

    return Worker(reactor).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
