"""The command line as a whole: which sub-commands there are, and how they end.

Whatever goes wrong is one line on standard error and status 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Coroutine, Sequence
from difflib import get_close_matches
from io import TextIOWrapper
from typing import Any, Final, NoReturn, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from autopilot._version import __version__
from autopilot.cli import check, completion, evidence, explain, health, rank
from autopilot.cli.error import CommandError
from autopilot.routing.suggest import echo, printable

BAD: Final = 2
"""The exit status for bad input and for a network that does not answer."""

BROKEN_PIPE: Final = 141
"""The exit status when nobody reads the output any more, as a shell would give it."""

INTERRUPTED: Final = 130
"""The exit status after an interrupt, as a shell would give it."""


class SubCommand(Protocol):
    """What a module has to offer to be a sub-command; ``EXAMPLES`` for its help, if it likes."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments."""

    def run(self, reactor: Any, given: argparse.Namespace) -> Coroutine[Deferred[Any], Any, int]:
        """Do it and print the result; the exit status. Raises `CommandError`."""


SUB_COMMANDS: Final[Sequence[SubCommand]] = (rank, explain, check, health, evidence, completion)


def run(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments and run what they name; the exit status."""
    _write_anything()
    words = sys.argv[1:] if arguments is None else arguments
    unknown = _unknown_command(words)
    if unknown is not None:
        return _complain(unknown)
    given = parser().parse_args(words)
    return _finish(given.command, given)


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments, in characters that are safe to print."""

    def error(self, message: str) -> NoReturn:
        """See `ArgumentParser`."""
        raise SystemExit(_complain(f"{message}; see {self.prog} --help"))


def parser() -> argparse.ArgumentParser:
    """The parser of all sub-commands."""
    whole = _Parser(
        prog="autopilot",
        description="Asks about the platform and the router; `twistd autopilot` runs the router.",
        epilog="autopilot COMMAND --help has examples. Exit status: 0 good, 1 bad news, 2 bad"
        " input or nobody to ask.",
    )
    whole.add_argument("--version", action="version", version=f"chutes-autopilot {__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    for each in SUB_COMMANDS:
        examples = getattr(each, "EXAMPLES", "")
        own = commands.add_parser(
            each.NAME,
            help=each.HELP,
            description=each.__doc__,
            epilog=f"examples:\n{examples}" if examples else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        each.add_arguments(own)
        own.set_defaults(command=each, parser=whole)
    return whole


def _unknown_command(words: Sequence[str]) -> str | None:
    """What to say about the first word, unless it is a sub-command or an option."""
    names = [each.NAME for each in SUB_COMMANDS]
    if not words:
        return f"name a command: {', '.join(names)}; see autopilot --help"
    if words[0] in names or words[0].startswith("-"):
        return None
    near = get_close_matches(words[0].lower(), names, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    return f"there is no command {echo(words[0])}; {hint}"


def _write_anything() -> None:
    """Let nothing end the program that is about writing: no encoding, and no closed stream."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _finish(command: SubCommand, given: argparse.Namespace) -> int:
    """Run the reactor until a sub-command is done, or an interrupt ends both."""
    from twisted.internet import reactor
    from twisted.internet.task import react

    from autopilot.http.resolver import share_lookups

    share_lookups(reactor)  # so that no silent name keeps the process from ending

    status = INTERRUPTED
    stopping = False

    def stop() -> None:
        nonlocal stopping
        stopping = True

    def done(result: int | Failure) -> None:
        nonlocal status
        if not stopping:  # else it fails because everything ends
            status = _explain(result) if isinstance(result, Failure) else result
            status = _delivered(status)

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
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, OSError):  # files and networks have their own words; this is the output
        return _undelivered(error)
    if isinstance(error, CommandError):
        return _complain(str(error))
    return _complain(f"internal error: {type(error).__name__}")


def _complain(text: str) -> int:
    print(f"autopilot: {printable(text)}", file=sys.stderr)  # noqa: T201
    return BAD


def _delivered(status: int) -> int:
    """The status, once everything that was printed is out."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return _undelivered(error)
    return status


def _undelivered(error: OSError) -> int:
    """Nothing more can be written; quietly, where it is because the output's reader has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    return _complain(f"the output could not be written: {error.strerror}")
