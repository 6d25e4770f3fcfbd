"""The command line as a whole: which sub-commands there are, and how they end.

Whatever goes wrong is one line on standard error and status 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from autopilot import __version__
from autopilot.command import evidence
from autopilot.command.error import CommandError

BAD: Final = 2
"""The exit status for bad input and for a network that does not answer."""

INTERRUPTED: Final = 130
"""The exit status after an interrupt, as a shell would give it."""


class SubCommand(Protocol):
    """What a module has to offer to be a sub-command."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments."""

    def run(self, reactor: Any, given: argparse.Namespace) -> Coroutine[Deferred[Any], Any, int]:
        """Do it and print the result; the exit status. Raises `CommandError`."""


SUB_COMMANDS: Final[Sequence[SubCommand]] = (evidence,)


def run(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments and run what they name; the exit status."""
    given = parser().parse_args(arguments)
    return _finish(given.command, given)


def parser() -> argparse.ArgumentParser:
    """The parser of all sub-commands."""
    whole = argparse.ArgumentParser(
        prog="autopilot",
        description="Asks about the platform and the router; `twistd autopilot` runs the router.",
    )
    whole.add_argument("--version", action="version", version=f"chutes-autopilot {__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    for each in SUB_COMMANDS:
        own = commands.add_parser(each.NAME, help=each.HELP, description=each.__doc__)
        each.add_arguments(own)
        own.set_defaults(command=each)
    return whole


def _finish(command: SubCommand, given: argparse.Namespace) -> int:
    """Run the reactor until a sub-command is done, or an interrupt ends both."""
    from twisted.internet import reactor
    from twisted.internet.task import react

    status = INTERRUPTED
    stopping = False

    def stop() -> None:
        nonlocal stopping
        stopping = True

    def done(result: int | Failure) -> None:
        nonlocal status
        if not stopping:  # else it fails because everything ends
            status = _explain(result) if isinstance(result, Failure) else result

    def start(running: Any) -> Deferred[None]:
        running.addSystemEventTrigger("before", "shutdown", stop)
        return Deferred.fromCoroutine(command.run(running, given)).addBoth(done)

    try:
        react(start, (), reactor)
    except SystemExit:
        return status


def _explain(failure: Failure) -> int:
    """Say in one line why there is no result; a mistake of ours is named and not shown."""
    error = failure.value
    text = (
        str(error) if isinstance(error, CommandError) else f"internal error: {type(error).__name__}"
    )
    print(f"autopilot: {text}", file=sys.stderr)  # noqa: T201
    return BAD
