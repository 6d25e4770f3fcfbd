"""The ``autopilot`` command: what the router knows of its platform, asked for on a terminal.

Each sub-command is a module here with ``NAME``, ``HELP``, ``add_arguments`` and ``run``, listed in
``autopilot.cli.entry``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of this process; the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        if list(words) == ["health"]:  # every few seconds: it waits for no import it can do without
            from autopilot.cli import health

            return health.ask()
        from autopilot.cli.entry import run

        return run(words)
    except KeyboardInterrupt:  # before there is a reactor to take it
        return 130
