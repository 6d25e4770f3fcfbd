"""Follow the records of a router's requests, one line each.

They come from standard input if something is piped into it, in either LOG_FORMAT; with --file from
the end of a log file, and from the one that replaces it; else from a running router, which tells
its last 50 requests about once a second. Times are those of the log, in UTC.

A line shows: the time, the status, the model, why it was tried, the time to the first byte, the
whole time, bytes, the endpoint, stream or plain; then the outcome with its code or reason unless
the answer is complete, the failed attempts, and the request's id. A line that holds no record is
shown dimmed.

With --json each record is one JSON object in a line. Exit status: 0 at the end of the input, 2
invalid input or no router to ask.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from autopilot.cli.console import CommandError, Console, add_output_arguments, console_of
from autopilot.cli.platform import add_env_file_argument, platform_settings, verified_agent
from autopilot.cli.router import router_url
from autopilot.cli.watch_record import SeenRecord, record_of_line
from autopilot.cli.watch_sources import (
    DescriptorReader,
    FileTail,
    Lines,
    RouterTail,
    is_piped,
    pause,
)
from autopilot.cli.watch_text import Filter, line_of
from autopilot.http.fetch import Fetcher
from autopilot.routing.suggest import printable
from autopilot.routing.why import Why

NAME: Final = "watch"
HELP: Final = "follow the records of a router's requests"
EXAMPLES: Final = """\
  autopilot watch --failures
  docker logs -f router 2>&1 | autopilot watch --model acme
  journalctl -o cat -f -u chutes-autopilot.service | autopilot watch --min-ms 10000
  autopilot watch --file /var/log/autopilot.log --failovers
  zcat log.2.gz | autopilot watch --json --outcome refused
"""

_DEFAULT: Final = "http://127.0.0.1:8081"
_STANDARD_INPUT: Final = "-"
_TIMEOUT: Final = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sources and the filters."""
    sources = parser.add_mutually_exclusive_group()
    sources.add_argument(
        "input",
        metavar="-",
        nargs="?",
        choices=(_STANDARD_INPUT,),
        help="read standard input, also if nothing is piped into it",
    )
    sources.add_argument(
        "--file", metavar="FILE", help="follow a log file, also when it is rotated"
    )
    sources.add_argument(
        "--router", metavar="URL", help=f"the address of a router's /status page [{_DEFAULT}]"
    )
    parser.add_argument("--failures", action="store_true", help="all but complete answers")
    parser.add_argument(
        "--failovers", action="store_true", help="only requests with failed attempts"
    )
    parser.add_argument(
        "--model", metavar="TEXT", default="", help="a part of the name of a model that was tried"
    )
    parser.add_argument("--endpoint", metavar="TEXT", default="", help="a part of the path")
    parser.add_argument(
        "--why", choices=[str(each) for each in Why], default="", help="why the model was tried"
    )
    parser.add_argument("--outcome", metavar="NAME", default="", help="how the request ended")
    parser.add_argument(
        "--min-ms", metavar="N", type=int, default=0, help="only requests that took so long"
    )
    parser.add_argument(
        "--only-records", action="store_true", help="leave out lines that hold no record"
    )
    add_env_file_argument(parser)
    add_output_arguments(parser)


def standard_input() -> int | None:
    """Return the descriptor of standard input; None if it is closed."""
    return None if sys.stdin is None else sys.stdin.fileno()


async def run(reactor: Any, given: argparse.Namespace) -> int:
    """Print records until the input ends. Raises `CommandError`."""
    shown = _Shown(console_of(given), _filter(given), given)
    descriptor = standard_input()
    if given.input == _STANDARD_INPUT or (
        given.file is None
        and given.router is None
        and descriptor is not None
        and is_piped(descriptor)
    ):
        await _follow_input(reactor, descriptor, shown)
    elif given.file is not None:
        await _follow_file(reactor, FileTail(Path(given.file)), shown)
    else:
        base = router_url(_DEFAULT if given.router is None else given.router)
        settings = platform_settings({}, path=given.env_file)
        fetcher = Fetcher(verified_agent(reactor, settings), reactor, _TIMEOUT)
        await _follow_router(reactor, RouterTail(fetcher, base), shown)
    return 0


def _filter(given: argparse.Namespace) -> Filter:
    return Filter(
        failures=given.failures,
        failovers=given.failovers,
        model=given.model,
        endpoint=given.endpoint,
        why=given.why,
        outcome=given.outcome,
        min_ms=given.min_ms,
    )


class _Shown:
    """Prints what the filter admits, and flushes: the reader of a pipe waits for it."""

    def __init__(self, console: Console, admitted: Filter, given: argparse.Namespace) -> None:
        self._console = console
        self._filter = admitted
        self._json: bool = given.json
        self._only_records: bool = given.json or given.only_records

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines of a log."""
        for line in lines:
            record = record_of_line(line)
            if record is not None:
                self._record(record)
            elif line and not self._only_records:
                self._console.say(self._console.painted(printable(line), "faint"))
        sys.stdout.flush()

    def records(self, records: Iterable[SeenRecord]) -> None:
        """Print records."""
        for record in records:
            self._record(record)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print a remark on the records, on standard error."""
        print(f"autopilot: {printable(text)}", file=sys.stderr, flush=True)  # noqa: T201

    def _record(self, record: SeenRecord) -> None:
        if not self._filter.admits(record):
            return
        if self._json:
            # In ASCII, as a name may hold half of a surrogate pair.
            self._console.say(_encoded(record))
        else:
            self._console.say(line_of(record, self._console.painted))


def _encoded(record: SeenRecord) -> str:
    return json.dumps(msgspec.to_builtins(record), separators=(",", ":"))


async def _follow_input(reactor: Any, descriptor: int | None, shown: _Shown) -> None:
    if descriptor is None:
        raise CommandError("standard input is closed")
    lines = Lines()
    await DescriptorReader(reactor, descriptor, lambda data: shown.lines(lines.feed(data))).ended
    shown.lines(lines.close())


async def _follow_file(reactor: Any, tail: FileTail, shown: _Shown) -> None:
    try:
        while True:
            shown.lines(tail.read())
            await pause(reactor)
    finally:
        tail.close()


async def _follow_router(reactor: Any, tail: RouterTail, shown: _Shown) -> None:
    """Print the router's records; once it has responded, wait for it whenever it does not."""
    shown.records(await tail.read())
    lost = False
    while True:
        await pause(reactor)
        try:
            records = await tail.read()
        except CommandError as error:
            if not lost:
                shown.note(f"{error}; still trying")
            lost = True
            continue
        lost = False
        if tail.missed:
            shown.note("more requests ended than the router keeps; its log has them all")
        shown.records(records)
