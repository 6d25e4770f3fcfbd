"""The guard of a committed event stream: it never lets a broken answer look whole.

Upstreams end broken streams in ways that SSE parsers drop in silence. The guard recognises two of
them, a bare JSON error behind the last event and (when strict) a second generation spliced in
behind the first. It looks at each chunk just enough for that and passes it on as it came.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from autopilot.http.dialect import Dialect
from autopilot.relay.dialect import SPEECH_MEMBERS, error_text, is_error
from autopilot.relay.sse import Event, Events

_TAIL = 64
_MAX_BARE = 65536
_MAX_EVENT = 262144
_BRACE = 0x7B
_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")


class GuardLevel(StrEnum):
    """How much the guard may change: nothing, the end of a broken stream, or also a spliced one."""

    OFF = "off"
    ON = "on"
    STRICT = "strict"


class StreamGuard(Protocol):
    """Stands between the upstream's bytes and the client's."""

    @property
    def fault(self) -> str | None:
        """Why the stream must end now although bytes still arrive, or ``None``."""

    @property
    def spliced(self) -> bool:
        """Whether the fault is a second answer behind the first."""

    @property
    def at_boundary(self) -> bool:
        """Whether the bytes relayed so far end with a whole event."""

    @property
    def done(self) -> bool:
        """Whether the bytes relayed so far end with the terminator ``[DONE]``."""

    @property
    def said_done(self) -> bool:
        """Whether ``[DONE]`` has been relayed, after which nothing may follow."""

    def feed(self, data: bytes) -> bytes:
        """The bytes to relay now; empty when there are none, as after a fault."""

    def end(self) -> bytes:
        """What was still held when the response ended cleanly; may set :attr:`fault`."""


class Passthrough:
    """No guard: for what is not an event stream, and where the operator wants bytes alone."""

    fault = None
    spliced = False
    at_boundary = True
    done = True
    said_done = False

    def feed(self, data: bytes) -> bytes:
        """See `StreamGuard`."""
        return data

    def end(self) -> bytes:
        """See `StreamGuard`."""
        return b""


class BareErrorGuard:
    """Holds back a line of bare JSON until it is known whether it reports an error.

    Lines over 64 KiB are no error reports; they pass. Only chat and text completions have a
    terminator of their own; the other dialects count as always carrying one.
    """

    spliced = False

    def __init__(self, dialect: Dialect = Dialect.COMPLETIONS) -> None:
        self._tail = b"\n\n"
        self._bare = b""
        self._terminator = b"[DONE]" if dialect is Dialect.COMPLETIONS else b""
        self.fault: str | None = None

    @property
    def at_boundary(self) -> bool:
        """See `StreamGuard`."""
        return self._tail.endswith(_ENDS)

    @property
    def done(self) -> bool:
        """See `StreamGuard`."""
        return self._tail.rstrip().endswith(self._terminator)

    @property
    def said_done(self) -> bool:
        """See `StreamGuard`."""
        return bool(self._terminator) and self.done

    def feed(self, data: bytes) -> bytes:
        """See `StreamGuard`."""
        if self._bare or b"\n{" in data or (data[0] == _BRACE and self._tail.endswith(b"\n")):
            return self._look_closely(data)
        self._tail = data[-_TAIL:] if len(data) >= _TAIL else (self._tail + data)[-_TAIL:]
        return data

    def end(self) -> bytes:
        """See `StreamGuard`."""
        if self.fault is not None or not self._bare or self._blames(self._bare):
            return b""
        return self._passed(self._bare)

    def _look_closely(self, data: bytes) -> bytes:
        """Pass what precedes an error; after one nothing passes."""
        if self.fault is not None:
            return b""
        text, self._bare = self._bare + data, b""
        at = 0 if text[0] == _BRACE and self._tail.endswith(b"\n") else text.find(b"\n{") + 1
        # Each turn begins at the brace of a line of its own.
        while True:
            end = text.find(b"\n", at) + 1
            if not end and len(text) - at <= _MAX_BARE:
                self._bare = text[at:]
                return self._passed(text[:at])
            if end and self._blames(text[at:end]):
                self._bare = text[at:end]
                return self._passed(text[:at])
            if not end or (at := text.find(b"\n{", end - 1) + 1) == 0:
                return self._passed(text)

    def _passed(self, data: bytes) -> bytes:
        self._tail = (self._tail + data[-_TAIL:])[-_TAIL:]
        return data

    def _blames(self, line: bytes) -> bool:
        """Whether ``line`` reports an error; if so, it is the fault."""
        if len(line) > _MAX_BARE or not is_error(line):
            return False
        text = (error_text(line) or "").partition("\n")[0][:200]
        self.fault = f"upstream reported an error: {text}" if text else "upstream reported an error"
        return True


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None
    delta: dict[str, object] | None = None

    def __repr__(self) -> str:
        return f"_Choice({self.index})"


class _Chunk(msgspec.Struct):
    id: str | None = None
    choices: list[_Choice] = []


class SpliceGuard:
    """Also ends a stream in which another generation follows: a new id, or a role once more."""

    def __init__(self) -> None:
        self._inner = BareErrorGuard()
        self._events = Events(_MAX_EVENT)
        self._chunk = msgspec.json.Decoder(_Chunk)
        self._id: str | None = None
        self._opening = b""
        self._spoken: set[int] = set()
        self._named: set[int] = set()
        self._fed = 0
        self.spliced = False

    @property
    def fault(self) -> str | None:
        """See `StreamGuard`."""
        if self.spliced:
            return "upstream started a second answer in the same stream"
        return self._inner.fault

    @property
    def at_boundary(self) -> bool:
        """See `StreamGuard`."""
        return self._inner.at_boundary

    @property
    def done(self) -> bool:
        """See `StreamGuard`."""
        return self._inner.done and not self.spliced

    @property
    def said_done(self) -> bool:
        """See `StreamGuard`."""
        return self._inner.said_done

    def feed(self, data: bytes) -> bytes:
        """See `StreamGuard`."""
        if self.spliced:
            return b""
        before = self._fed
        self._fed += len(data)
        if self._goes_on(data):
            self._events.skip(len(data))
            return self._inner.feed(data)
        for event in self._events.feed(data):
            if not event.bare and self._splices(event):
                kept = data[: max(0, event.start - before)]
                passed = self._inner.feed(kept) if kept else b""
                self.spliced = self._inner.fault is None
                return passed
        return self._inner.feed(data)

    def end(self) -> bytes:
        """See `StreamGuard`."""
        return b"" if self.spliced else self._inner.end()

    def _goes_on(self, data: bytes) -> bool:
        """Whether these are whole chunks that go on with the one answer known: nearly all are.

        They all open with the known id, name no role, and belong to the first choice, which has
        spoken before. So no field of them has to be read.
        """
        return (
            0 in self._spoken
            and data.startswith(self._opening)
            and data.endswith(b"\n\n")
            and b'"role"' not in data
            and data.count(b"\n\n") == data.count(self._opening)
            and data.count(b'"index":') == data.count(b'"index":0,')
            and b"\r" not in data
            and self._events.at_boundary
        )

    def _splices(self, event: Event) -> bool:
        try:
            chunk = self._chunk.decode(event.data)
        except (ValueError, RecursionError):
            return False
        if chunk.id:  # some servers leave it empty where a chunk is not the model's
            if self._id is not None and chunk.id != self._id:
                return True
            self._know(chunk.id, event.data)
        return any(self._speaks_again(choice) for choice in chunk.choices)

    def _know(self, identity: str, data: bytes) -> None:
        """Remember the id, and how a chunk opens that bears it first of all, as most do."""
        if self._id is None:
            self._id = identity
            opening = b'{"id":"%b",' % identity.encode("utf-8", "surrogatepass")
            # What never stands in a stream matches nothing.
            self._opening = b"data: " + opening if data.startswith(opening) else b"\r"

    def _speaks_again(self, choice: _Choice) -> bool:
        """Some engines name the role in every delta; of them a repeated role says nothing."""
        delta = choice.delta or {}
        role = bool(delta.get("role"))
        if any(map(delta.get, SPEECH_MEMBERS)):
            (self._named if role else self._spoken).add(choice.index)
            return False
        again = choice.index in self._spoken and choice.index not in self._named
        return role and again and choice.finish_reason is None


def stream_guard(level: GuardLevel, *, is_stream: bool, dialect: Dialect) -> StreamGuard:
    """The guard for one response."""
    if level is GuardLevel.OFF or not is_stream:
        return Passthrough()
    if level is GuardLevel.STRICT and dialect is Dialect.COMPLETIONS:
        return SpliceGuard()
    return BareErrorGuard(dialect)
