"""Guards of committed event streams, which tell a whole answer from a broken one.

A stream is whole once its terminator has been relayed or, in chat, each choice has a finish reason;
any end before that is a break. Some breaks do not end a stream, and SSE parsers ignore them: bare
JSON that reports an error, a finish reason by which the engine gave up, and a second generation
spliced in behind the first, which only the strict guard detects (contract §6 and §7).

A guard relays each chunk unchanged and at once, and inspects it as little as possible.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from autopilot.http.dialect import Dialect
from autopilot.relay.event_guard import EventGuard
from autopilot.relay.meaning import Meaning
from autopilot.relay.plain_answer import judge_document
from autopilot.relay.splice_guard import SpliceGuard

_MAX_DOCUMENT = 65536


class GuardLevel(StrEnum):
    """The faults that end a stream: none, breaks, or also a second generation."""

    OFF = "off"
    ON = "on"
    STRICT = "strict"


class StreamGuard(Protocol):
    """Inspects an upstream's bytes before they are relayed."""

    @property
    def ended(self) -> bool:
        """Whether nothing more may be relayed: after the terminator, or because of a fault."""

    @property
    def fault(self) -> str | None:
        """The reason to end the stream as broken although bytes still arrive, or ``None``."""

    @property
    def single(self) -> bool:
        """Whether `feed` has just passed exactly one event, so that it need not be counted."""

    @property
    def spliced(self) -> bool:
        """Whether the fault is a second generation in the stream."""

    @property
    def done(self) -> bool:
        """Whether the terminator has been relayed."""

    @property
    def whole(self) -> bool:
        """Whether the answer is complete without its terminator, so that any end is a clean one."""

    @property
    def at_boundary(self) -> bool:
        """Whether the bytes relayed so far end with a complete event."""

    @property
    def meaning(self) -> Meaning:
        """``EMPTY`` until part of an answer was relayed, then ``CONTENT``, or the error relayed."""

    def pass_held(self, held: bytes) -> bytes:
        """Return the bytes to relay of all that was held before commit; called first, if at all."""

    def feed(self, data: bytes) -> bytes:
        """Return the bytes to relay now; none after the end."""

    def end(self) -> bytes:
        """Return the bytes still held at a clean end of the response; may set :attr:`ended`."""


class Passthrough:
    """Relays every byte: for responses other than event streams, and for ``SSE_GUARD=off``."""

    ended = False
    fault = None
    single = False
    spliced = False
    done = True
    whole = False
    at_boundary = True
    meaning = Meaning.CONTENT

    def pass_held(self, held: bytes) -> bytes:
        """See `StreamGuard`."""
        return self.feed(held)

    def feed(self, data: bytes) -> bytes:
        """See `StreamGuard`."""
        return data

    def end(self) -> bytes:
        """See `StreamGuard`."""
        return b""


class PlainGuard(Passthrough):
    """Relays every byte of a JSON document, and tells what it meant once it has ended.

    A document over `_MAX_DOCUMENT` is taken for an answer.
    """

    def __init__(self) -> None:
        self._document: bytearray | None = bytearray()

    def feed(self, data: bytes) -> bytes:
        """See `StreamGuard`."""
        if self._document is not None:
            self._document += data
            if len(self._document) > _MAX_DOCUMENT:
                self._document = None
        return data

    @property
    def meaning(self) -> Meaning:  # type: ignore[override]
        """See `StreamGuard`; of a plain answer it may also be that the engine gave up."""
        return Meaning.CONTENT if self._document is None else judge_document(bytes(self._document))


def stream_guard(
    level: GuardLevel,
    *,
    is_stream: bool,
    dialect: Dialect,
    choices: int = 1,
    said: bool = False,
    is_json: bool = False,
) -> StreamGuard:
    """Return the guard for one response: an event stream, a plain answer of JSON, or any other.

    ``choices`` is how many answers the request asks for; ``said``: the commit policy has seen part
    of the answer in the bytes that it held.
    """
    if is_json:
        return PlainGuard()
    if level is GuardLevel.OFF or not is_stream:
        return Passthrough()
    if level is GuardLevel.STRICT and dialect is Dialect.COMPLETIONS:
        return SpliceGuard(choices, said)
    return EventGuard(dialect, choices, said)
