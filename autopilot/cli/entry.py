"""The parser of the whole command, and the runner of the sub-commands that need a reactor."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Coroutine, Sequence
from difflib import get_close_matches
from io import TextIOWrapper
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from autopilot._version import __version__
from autopilot.cli import (
    check,
    completion,
    demo,
    evidence,
    explain,
    health,
    keys,
    prompt,
    rank,
    start,
    watch,
    workers,
)
from autopilot.cli.arguments import Described, Parser, help_of, print_error
from autopilot.cli.console import CommandError
from autopilot.routing.suggest import echo

BROKEN_PIPE: Final = 141
"""The status that a shell reports for a process killed by SIGPIPE (128 + 13)."""

INTERRUPTED: Final = 130
"""The status that a shell reports for a process killed by SIGINT (128 + 2)."""


class SubCommand(Described, Protocol):
    """The module of a sub-command that runs here."""

    def run(self, reactor: Any, given: argparse.Namespace) -> Coroutine[Deferred[Any], Any, int]:
        """Print the result and return the exit status. Raises `CommandError`."""


SUB_COMMANDS: Final[Sequence[SubCommand]] = (
    prompt,
    rank,
    explain,
    check,
    health,
    evidence,
    watch,
    workers,
    keys,
    completion,
)

GROUPS: Final[Sequence[tuple[str, Sequence[Described]]]] = (
    ("start", (start, demo, workers)),
    ("ask", (prompt, rank, explain)),
    ("inspect", (check, health, watch, evidence)),
    ("set up", (keys, completion)),
)
"""Every sub-command, in the order and under the headings of the help."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, run the sub-command, and return the exit status."""
    _make_output_safe()
    words = sys.argv[1:] if arguments is None else arguments
    unknown = _unknown_command(words)
    if unknown is not None:
        return print_error(unknown)
    given = parser().parse_args(words)
    return _finish(given.command, given)


class _Grouped(argparse.HelpFormatter):
    """A formatter that lists the sub-commands under the headings of `GROUPS`."""

    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action, argparse._SubParsersAction):
            return super()._format_action(action)
        lines = {each.dest: each for each in action._get_subactions()}
        text = ""
        for title, commands in GROUPS:
            text += f"{'':{self._current_indent}}{title}\n"
            self._indent()
            for each in commands:
                text += super()._format_action(lines[each.NAME])
            self._dedent()
        return text


def parser() -> argparse.ArgumentParser:
    """Return the parser with every sub-command."""
    whole = Parser(
        prog="autopilot",
        description="Runs the router, and inspects the platform and running routers.",
        epilog="autopilot COMMAND --help has examples. Exit status: 0 success, 1 a negative result,"
        " 2 invalid input or no server to ask.",
        formatter_class=_Grouped,
    )
    whole.add_argument("--version", action="version", version=f"chutes-autopilot {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for each in _described():
        own = commands.add_parser(each.NAME, help=each.HELP, **help_of(each))
        each.add_arguments(own)
        own.set_defaults(command=each, parser=whole)
    return whole


def _described() -> tuple[Described, ...]:
    """Return every sub-command."""
    return tuple(each for _, commands in GROUPS for each in commands)


def _unknown_command(words: Sequence[str]) -> str | None:
    """Return the error for a first word that is neither a sub-command nor an option."""
    names = [each.NAME for each in _described()]
    if not words:
        return f"name a command: {', '.join(names)}; see autopilot --help"
    if words[0] in names or words[0].startswith("-"):
        return None
    near = get_close_matches(words[0].lower(), names, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    return f"there is no command {echo(words[0])}; {hint}"


def _make_output_safe() -> None:
    """Keep closed streams and unencodable characters from ending the program."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _finish(command: SubCommand, given: argparse.Namespace) -> int:
    """Run the reactor until the sub-command finishes or an interrupt stops both."""
    from twisted.internet import reactor
    from twisted.internet.task import react
    from twisted.logger import globalLogBeginner

    from autopilot.http.resolver import share_lookups

    # A lookup in Twisted's thread pool would delay the exit until the name server answers.
    share_lookups(reactor)
    # Without an observer, Twisted prints tracebacks of what it logs as critical.
    globalLogBeginner.beginLoggingTo((), redirectStandardIO=False)

    status = INTERRUPTED
    stopping = False

    def stop() -> None:
        nonlocal stopping
        stopping = True

    def done(result: int | Failure) -> None:
        nonlocal status
        if not stopping:  # after an interrupt, a failure only reflects the shutdown
            status = _report_failure(result) if isinstance(result, Failure) else result
            status = _flush_output(status)

    def start(running: Any) -> Deferred[None]:
        running.addSystemEventTrigger("before", "shutdown", stop)
        return Deferred.fromCoroutine(command.run(running, given)).addBoth(done)

    try:
        react(start, (), reactor)
    except SystemExit:
        return status


def _report_failure(failure: Failure) -> int:
    """Report in one line why there is no result.

    Of an internal error it prints the type alone: the text may quote a secret.
    """
    error = failure.value
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    # Errors of files and networks arrive as CommandError, so an OSError comes from the output.
    if isinstance(error, OSError):
        return _output_failed(error)
    if isinstance(error, CommandError):
        return print_error(str(error))
    return print_error(f"internal error: {type(error).__name__}")


def _flush_output(status: int) -> int:
    """Flush standard output, and return ``status`` unless that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return _output_failed(error)
    return status


def _output_failed(error: OSError) -> int:
    """Discard further output and return the status; report the error unless it is a broken pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    return print_error(f"the output could not be written: {error.strerror}")
