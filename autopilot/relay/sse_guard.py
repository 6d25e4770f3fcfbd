"""Guards of committed event streams, which keep a broken answer from looking complete.

SSE parsers silently ignore two ways in which upstreams break a stream: a bare JSON error after the
last event, and a second generation spliced in behind the first, which only the strict guard
detects. A guard inspects each chunk as little as possible and passes it on unchanged (contract §7).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from autopilot.http.dialect import Dialect
from autopilot.relay.dialect import ANSWER_MEMBERS, error_text, is_error
from autopilot.relay.sse import Event, Events

_TAIL = 64
_MAX_BARE = 65536
_MAX_EVENT = 262144
_BRACE = 0x7B
_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_DONE_LINES = (b"\ndata: [DONE]", b"\ndata:[DONE]", b"\rdata: [DONE]", b"\rdata:[DONE]")


class GuardLevel(StrEnum):
    """The faults that end a stream: none, bare errors, or also a second generation."""

    OFF = "off"
    ON = "on"
    STRICT = "strict"


class StreamGuard(Protocol):
    """Inspects an upstream's bytes before they are relayed."""

    @property
    def fault(self) -> str | None:
        """The reason to end the stream now although bytes still arrive, or ``None``."""

    @property
    def spliced(self) -> bool:
        """Whether the fault is a second generation in the stream."""

    @property
    def at_boundary(self) -> bool:
        """Whether the bytes relayed so far end with a complete event."""

    @property
    def done(self) -> bool:
        """Whether the bytes relayed so far end with the terminator ``[DONE]``."""

    @property
    def said_done(self) -> bool:
        """Whether the bytes relayed so far end with the whole event ``[DONE]``.

        Nothing may follow it, and nothing that breaks behind it takes anything from the answer.
        """

    def feed(self, data: bytes) -> bytes:
        """Return the bytes to relay now; none after a fault."""

    def end(self) -> bytes:
        """Return the bytes still held at a clean end of the response; may set :attr:`fault`."""


class Passthrough:
    """Relays every byte: for responses other than event streams, and for ``SSE_GUARD=off``."""

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
    """Holds a line of bare JSON until it is complete, and ends the stream if it reports an error.

    Lines over 64 KiB pass unparsed. Only chat and text completions have a terminator; streams of
    the other dialects count as terminated.
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
        if not (self._terminator and self.at_boundary):
            return False
        return self._tail.rstrip().endswith(_DONE_LINES)

    def feed(self, data: bytes) -> bytes:
        """See `StreamGuard`."""
        # The hot path of every guarded chunk: one search, one slice. No line of a valid event
        # begins with a brace, so a brace at the start of a line is suspicious.
        if self._bare or b"\n{" in data or (data[0] == _BRACE and self._tail.endswith(b"\n")):
            return self._inspect(data)
        self._tail = data[-_TAIL:] if len(data) >= _TAIL else (self._tail + data)[-_TAIL:]
        return data

    def end(self) -> bytes:
        """See `StreamGuard`."""
        if self.fault is not None or not self._bare or self._is_fault(self._bare):
            return b""
        return self._relayed(self._bare)

    def _inspect(self, data: bytes) -> bytes:
        """Return the bytes before an error or an incomplete line; none after an error."""
        if self.fault is not None:
            return b""
        text, self._bare = self._bare + data, b""
        at = 0 if text[0] == _BRACE and self._tail.endswith(b"\n") else text.find(b"\n{") + 1
        # In each iteration, `at` is the offset of a brace that begins a line.
        while True:
            end = text.find(b"\n", at) + 1
            if not end and len(text) - at <= _MAX_BARE:
                self._bare = text[at:]
                return self._relayed(text[:at])
            if end and self._is_fault(text[at:end]):
                self._bare = text[at:end]
                return self._relayed(text[:at])
            if not end or (at := text.find(b"\n{", end - 1) + 1) == 0:
                return self._relayed(text)

    def _relayed(self, data: bytes) -> bytes:
        """Keep the tail of bytes to relay, and return them."""
        self._tail = (self._tail + data[-_TAIL:])[-_TAIL:]
        return data

    def _is_fault(self, line: bytes) -> bool:
        """Return whether ``line`` reports an error, and set the fault if so."""
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
    """Also ends a stream at a second generation, seen by a new ``id`` or a repeated ``role``."""

    def __init__(self) -> None:
        self._inner = BareErrorGuard()
        self._events = Events(_MAX_EVENT)
        self._chunk = msgspec.json.Decoder(_Chunk)
        self._id: str | None = None
        self._opening = b""
        self._with_content: set[int] = set()
        self._with_role: set[int] = set()
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
        if self._continues(data):
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

    def _continues(self, data: bytes) -> bool:
        """Return whether all events certainly continue the known answer, without parsing them.

        True for nearly all chunks: each event begins with the known id, none has a role, and all
        belong to the first choice, which already has content.
        """
        return (
            0 in self._with_content
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
        if chunk.id:  # some servers leave it empty in chunks that the model did not produce
            if self._id is not None and chunk.id != self._id:
                return True
            self._remember_id(chunk.id, event.data)
        return any(self._restarts(choice) for choice in chunk.choices)

    def _remember_id(self, identity: str, data: bytes) -> None:
        """Remember the id of the stream, and the bytes with which an event of this id begins."""
        if self._id is None:
            self._id = identity
            opening = b'{"id":"%b",' % identity.encode("utf-8", "surrogatepass")
            # Without the id in front, no event takes the short way: `_continues` rejects any CR.
            self._opening = b"data: " + opening if data.startswith(opening) else b"\r"

    def _restarts(self, choice: _Choice) -> bool:
        """Return whether a choice with content begins again with a role.

        Some servers send the role in every delta; for their choices a repeated role proves nothing.
        """
        delta = choice.delta or {}
        role = bool(delta.get("role"))
        if any(map(delta.get, ANSWER_MEMBERS)):
            (self._with_role if role else self._with_content).add(choice.index)
            return False
        again = choice.index in self._with_content and choice.index not in self._with_role
        return role and again and choice.finish_reason is None


def stream_guard(level: GuardLevel, *, is_stream: bool, dialect: Dialect) -> StreamGuard:
    """Return the guard for one response."""
    if level is GuardLevel.OFF or not is_stream:
        return Passthrough()
    if level is GuardLevel.STRICT and dialect is Dialect.COMPLETIONS:
        return SpliceGuard()
    return BareErrorGuard(dialect)
