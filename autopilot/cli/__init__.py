"""The ``autopilot`` command, which runs the router and shows operators what it knows.

Each sub-command is a module in this package with ``NAME``, ``HELP``, ``add_arguments`` and ``run``;
``autopilot.cli.entry`` lists them. ``start`` and ``demo`` have ``start`` instead of ``run``: one
passes its arguments on to ``twistd``, the other needs no reactor.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from autopilot.cli import start


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (by default this process's own) and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Container health checks run this every few seconds, so it must not import a reactor.
        if words[:1] == ["health"] and (not words[1:] or _is_env_file(words[1:])):
            from autopilot.cli import health

            return health.ask(env_file=words[1].partition("=")[2] if words[1:] else None)
        # `twistd` parses the settings itself, and chooses the reactor.
        if words[:1] == [start.NAME]:
            start.start(words[1:])
            return 0
        # The demo starts processes, and should not import what only they need.
        if words[:1] == ["demo"]:
            from autopilot.cli import demo

            return demo.start(words[1:])
        from autopilot.cli.entry import run

        return run(words)
    except KeyboardInterrupt:  # arrived before the reactor installed its own handler
        return 130


def _is_env_file(words: Sequence[str]) -> bool:
    """Return whether nothing but ``--env-file=FILE`` is given."""
    return len(words) == 1 and words[0].startswith("--env-file=")
