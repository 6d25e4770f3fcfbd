"""The output of a sub-command: results, progress, colours, and the error that ends it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from shutil import get_terminal_size
from typing import Any, Final

from autopilot.cli.terminal import COLOURS, TextColumn, cut, table, wants_colour

_CLEAR: Final = "\r\x1b[K"


class CommandError(Exception):
    """A reason to end the sub-command without a result: one line, safe to print."""


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the output options that every sub-command has."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colour the output; auto: on a terminal, unless NO_COLOR is set [auto]",
    )


class Console:
    """Prints results to standard output, and progress to standard error if it is a terminal."""

    def __init__(self, choice: str = "auto", environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._coloured = wants_colour(choice, sys.stdout, environ)
        self._room = get_terminal_size().columns if sys.stdout.isatty() else None
        self._progresses = sys.stderr.isatty() and environ.get("TERM") != "dumb"
        self._in_progress = False

    def say(self, *lines: str) -> None:
        """Print lines of a result; the caller has made them printable."""
        self.progress("")
        for line in lines:
            print(line)  # noqa: T201

    def say_json(self, value: object) -> None:
        """Print the result as JSON, for programs."""
        self.say(json.dumps(value, indent=2))

    def say_table(
        self, columns: Sequence[TextColumn], rows: Iterable[Sequence[str]], faint: int | None = None
    ) -> None:
        """Print a table that fits the terminal; rows after the first ``faint`` are dimmed."""
        for place, line in enumerate(table(columns, list(rows), self._room)):
            if place == 0:
                look = "strong"
            else:
                look = "faint" if faint is not None and place > faint else ""
            self.say(self.painted(line, look))

    def painted(self, text: str, look: str) -> str:
        """Return ``text`` in the style ``look`` of `COLOURS`, if the output is coloured."""
        code = COLOURS.get(look)
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured and code else text

    def progress(self, what: str) -> None:
        """Show the current step on a line that the next output replaces; "" clears the line."""
        if self._progresses and (what or self._in_progress):
            columns = get_terminal_size().columns - 1
            print(_CLEAR + cut(what, columns), end="", file=sys.stderr, flush=True)  # noqa: T201
            self._in_progress = bool(what)


def console_of(given: argparse.Namespace) -> Console:
    """Return the console for these arguments."""
    choice: Any = getattr(given, "color", "auto")
    return Console(choice)
