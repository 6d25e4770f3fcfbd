"""Target for streams: events, commit decisions and guard do not depend on chunk boundaries.

A simple reader that parses the whole stream at once is the reference for the events. The guard must
neither lose nor add a byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from autopilot.http.dialect import Dialect
from autopilot.relay.body_kind import BodyKind
from autopilot.relay.commit import CommitDecision, CommitPolicy, commit_policy
from autopilot.relay.event_guard import GAVE_UP
from autopilot.relay.sse import Event, Events
from autopilot.relay.sse_guard import GuardLevel, StreamGuard, stream_guard
from autopilot.routing.commit import Commit
from tests.rigs.fuzz.pieces import Pieces
from tests.unit.relay.chunks import cut

_LINE_END = re.compile(rb"\r\n|\n|\r")
_MARK = b"\xef\xbb\xbf"
_BARE_GOES_ON = [b"%c" % byte for byte in b' \t"{}[],-0123456789tfn']
_LIMITS = (1 << 20, 40)
_DIALECTS = tuple(Dialect)
_COMMITS = tuple(Commit)
_LEVELS = tuple(GuardLevel)
_READINGS = len(_DIALECTS) * len(_COMMITS) * 2
WATCHES = len(_LEVELS) * len(_LIMITS)
"""Combinations of a level of the guard and a limit of events, of which each input tries one."""
# Pieces of the third way to cut a stream, as each costs some calls of instrumented code.
_MOST_PIECES = 256

Chunks = Sequence[bytes]


def events(data: bytes) -> None:
    """Use the choice as dialect, commit setting, buffer limit, guard level and limit of events.

    One of each: for all of them an input needs several times as long, and the fuzzer, which varies
    the choice, has a fraction of the inputs.
    """
    choice, pieces = Pieces.of(data)
    stream = b"".join(pieces)
    fine = cut(stream, range(0, len(stream), 1 + len(stream) // _MOST_PIECES))
    ways = [cut(stream, []), pieces, fine]
    if not stream:
        return
    dialect, watch = _DIALECTS[choice % 3], choice // _READINGS
    _check_same([_read(Events(_LIMITS[watch // len(_LEVELS) % 2]), each) for each in ways])
    assert _read(Events(1 << 20), ways[0]) == list(_plainly(stream))
    commit, room = _COMMITS[choice // 3 % 3], (1 << 20, 100)[choice // 9 % 2]
    _check_same([_decision(_commit_policy(commit, dialect, room), each) for each in ways])
    _check_guards(stream, ways, _LEVELS[watch % len(_LEVELS)], dialect)


def with_watch(data: bytes, number: int) -> bytes:
    """Return the same input with another level of the guard and limit, below `WATCHES`."""
    return bytes([data[0] % _READINGS + _READINGS * number]) + data[1:]


def _commit_policy(commit: Commit, dialect: Dialect, room: int) -> CommitPolicy:
    return commit_policy(commit, dialect, room, 1, BodyKind.STREAM, last=False)


def _check_same(results: Sequence[object]) -> None:
    assert all(each == results[0] for each in results), results


def _read(reader: Events, chunks: Chunks) -> list[Event]:
    return [event for chunk in chunks for event in reader.feed(chunk)] + list(reader.close())


def _plainly(stream: bytes) -> Iterator[Event]:
    """Parse the events of a whole stream line by line."""
    starts, name, data = list[int](), b"", list[bytes]()
    bare, bare_starts = list[bytes](), list[int]()
    for begin, line, complete in _lines(stream):
        goes_on = line[:1] in _BARE_GOES_ON if line else not starts
        if bare and not goes_on:
            yield Event(b"\n".join(bare), bare=True, start=bare_starts[0])
            bare, bare_starts = [], []
        if bare or line.lstrip(b" \t").startswith((b"{", b"[")):
            bare_starts.append(begin)
            bare.append(line)
            if sum(map(_depth, bare)) <= 0:
                yield Event(b"\n".join(bare), bare=True, start=bare_starts[0])
                bare, bare_starts = [], []
        elif complete and line:
            starts.append(begin)
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            elif field == b"event":
                name = value.removeprefix(b" ")
        elif complete:
            if data:
                yield Event(b"\n".join(data), name, start=starts[0])
            starts, name, data = [], b"", []
    yield from [Event(b"\n".join(bare), bare=True, start=bare_starts[0])] if bare else []


def _lines(stream: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Yield the offset of each line, its bytes, and whether its end is there."""
    at = 0
    while at < len(stream):
        end = _LINE_END.search(stream, at)
        stop, after = (len(stream), len(stream)) if end is None else end.span()
        yield at, stream[at:stop].removeprefix(b"" if at else _MARK), end is not None
        at = after


def _depth(line: bytes) -> int:
    """Return how many brackets a line of JSON opens, less those that it closes."""
    rest = re.sub(rb'"(?:[^"\\]|\\.)*+"', b"", line)
    return sum(rest.count(mark) for mark in (b"{", b"[")) - sum(map(rest.count, (b"}", b"]")))


def _decision(judge: CommitPolicy, chunks: Chunks) -> tuple[CommitDecision, bool]:
    for chunk in chunks:
        if (verdict := judge.feed(chunk)) is not CommitDecision.HOLD:
            return verdict, judge.answered
    verdict = judge.end()
    assert verdict is not CommitDecision.HOLD
    return verdict, judge.answered


def _check_guards(
    stream: bytes, ways: Sequence[Chunks], level: GuardLevel, dialect: Dialect
) -> None:
    """Check that the guard passes a prefix of the stream, and all of a stream without a fault."""
    results: list[tuple[object, ...]] = []
    for chunks in ways:
        watch = stream_guard(level, is_stream=True, dialect=dialect)
        passed = _passed(watch, chunks)
        assert stream.startswith(passed), (level, passed)
        assert watch.ended or passed == stream, (level, passed)
        # An event after which nothing may pass may be recognized too late. With STRICT, so may a
        # second response.
        late = level is GuardLevel.STRICT or watch.fault == GAVE_UP
        results.append((watch.fault, watch.spliced, watch.ended, None if late else passed))
        if watch.fault is None:
            results[-1] += (watch.at_boundary, watch.done)
    _check_same(results)


def _passed(watch: StreamGuard, chunks: Chunks) -> bytes:
    passed = b""
    for chunk in chunks:
        ended = watch.ended
        more = watch.feed(chunk)
        assert not (ended and more), more
        passed += more
    return passed + watch.end()
