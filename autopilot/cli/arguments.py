"""The parsing of a command line, without Twisted, whose import a demo need not wait for.

Every error is reported as one line on standard error, with exit status 2.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final, NoReturn, Protocol

from autopilot.routing.suggest import printable

ERROR: Final = 2
"""The exit status for invalid input and for a server that cannot be reached."""


class Described(Protocol):
    """The module of a sub-command as the help needs it; it may also define ``EXAMPLES``."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the sub-command's arguments."""


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one printable line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        """See `ArgumentParser`."""
        raise SystemExit(print_error(f"{message}; see {self.prog} --help"))


def help_of(command: Described) -> dict[str, Any]:
    """Return the texts of a sub-command's own help, as arguments of its parser."""
    examples = getattr(command, "EXAMPLES", "")
    return {
        "description": command.__doc__,
        "epilog": f"examples:\n{examples}" if examples else None,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def print_error(text: str) -> int:
    """Print one line on standard error, and return the exit status."""
    print(f"autopilot: {printable(text)}", file=sys.stderr)  # noqa: T201
    return ERROR
