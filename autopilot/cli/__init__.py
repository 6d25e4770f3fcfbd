"""The ``autopilot`` command, which shows operators what the router knows about the platform.

Each sub-command is a module in this package with ``NAME``, ``HELP``, ``add_arguments`` and ``run``;
``autopilot.cli.entry`` lists them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (by default this process's own) and return its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        # Container health checks run this every few seconds, so it must not import a reactor.
        if list(words) == ["health"]:
            from autopilot.cli import health

            return health.ask()
        from autopilot.cli.entry import run

        return run(words)
    except KeyboardInterrupt:  # arrived before the reactor installed its own handler
        return 130
