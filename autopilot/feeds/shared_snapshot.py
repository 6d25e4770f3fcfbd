"""The form in which a feed goes to those who do not fetch it: facts about the fetch, and the body.

The body goes as it was fetched, because reading it again is cheaper than any other form of the
snapshot, and checks it again. It is cut into pieces, so that neither side handles megabytes in one
turn of the reactor.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Annotated, Final

from msgspec import DecodeError, Meta, Struct
from msgspec.json import Decoder, encode

from autopilot.feeds.polling import FEEDS, FeedStatus
from autopilot.http.fetch import MAX_BYTES
from autopilot.http.fetch_error import OUTCOMES

FORMAT: Final = 1
"""The number of this form; a receiver ignores a later one."""

PIECE_BYTES: Final = 1 << 18
"""Bytes of a body in one piece."""

_MAX_HEAD_BYTES: Final = 4096

# The first byte of a piece.
_HEAD: Final = b"H"
"""A head whose body does not follow: the receiver has it, or there is none yet."""
_HEAD_OF_BODY: Final = b"B"
_PIECE: Final = b"P"

_Seconds = Annotated[float, Meta(ge=0, le=1e9)]


class FeedHead(Struct, frozen=True, gc=False):
    """What is known of a feed at the moment of sending.

    All times are relative, in seconds, because the receiver's clock is another one.
    """

    name: Annotated[str, Meta(max_length=32)]
    version: Annotated[str, Meta(max_length=64)]
    """Names the body; the same body has the same version. Empty if there was no fetch yet."""
    size: Annotated[int, Meta(ge=0, le=MAX_BYTES)]
    """Bytes of the body."""
    age: _Seconds | None
    """Time since the body was fetched, or fetched again."""
    failing_for: _Seconds | None
    """Time since the first of the current run of failures."""
    last_error: Annotated[str, Meta(max_length=300)] | None
    """Why the last refresh failed, safe to show."""
    outcome: Annotated[str, Meta(max_length=32)]
    """How the last refresh ended, one of `fetch_error.OUTCOMES`."""
    due_in: _Seconds
    """Time until the next refresh."""
    format: int = FORMAT


_decoder: Final = Decoder(FeedHead)


def head_of(status: FeedStatus, version: str, size: int, due: float | None, now: float) -> FeedHead:
    """Return the head of a feed whose status is this; ``now`` is of the clock that stamped it."""

    def since(at: float | None) -> float | None:
        return None if at is None else max(0.0, now - at)

    return FeedHead(
        name=status.name,
        version=version,
        size=size,
        age=since(status.fetched_at),
        failing_for=since(status.failing_since),
        last_error=status.last_error,
        outcome=status.outcome,
        due_in=0.0 if due is None else max(0.0, due - now),
    )


def encode_head(head: FeedHead) -> bytes:
    """Return a head as bytes."""
    return encode(head)


def decode_head(data: bytes) -> FeedHead:
    """Return a head of which these are the bytes.

    :raises ValueError: they are not of this format, or a value is not one that a head has.
    """
    if len(data) > _MAX_HEAD_BYTES:
        raise ValueError("the head of a feed is too long")
    try:
        head = _decoder.decode(data)
    except (DecodeError, RecursionError):
        raise ValueError("not the head of a feed") from None
    if head.format != FORMAT:
        raise ValueError(f"the head of a feed has the format {head.format}, not {FORMAT}")
    if head.name not in FEEDS or head.outcome not in OUTCOMES:
        raise ValueError("the head of a feed has an unknown name or outcome")
    if (head.age is None) is not (not head.version):
        raise ValueError("the head of a feed has a version without an age, or the reverse")
    # It reaches the log and the pages of operators.
    if head.last_error is not None and not head.last_error.isprintable():
        raise ValueError("the head of a feed has an error that cannot be shown")
    return head


def pieces(head: FeedHead, body: bytes | None) -> Iterator[bytes]:
    """Return the pieces in which a head goes, and behind it the body unless it is None."""
    if body is None:
        yield _HEAD + encode_head(head)
        return
    yield _HEAD_OF_BODY + encode_head(head)
    for start in range(0, len(body), PIECE_BYTES):
        yield b"%b%c%b" % (_PIECE, FEEDS.index(head.name), body[start : start + PIECE_BYTES])


class Received(Struct, frozen=True):
    """A head that arrived ``at`` a time of the receiver's clock, and the body if it came along."""

    head: FeedHead
    at: float
    body: bytes | None

    def __repr__(self) -> str:
        """Return a text without the body."""
        return f"Received({self.head!r}, at={self.at})"


class Assembly:
    """Joins the pieces of feeds, which may alternate with those of the other feed."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[FeedHead, float, BytesIO]] = {}

    def add(self, piece: bytes, now: float) -> Received | None:
        """Take the next piece; return a feed when it is whole.

        :raises ValueError: it is not a piece, or does not belong to what came before it.
        """
        kind, rest = piece[:1], piece[1:]
        if kind == _PIECE:
            return self._add_to_body(rest)
        if kind not in (_HEAD, _HEAD_OF_BODY):
            raise ValueError("not a piece of a feed")
        head = decode_head(rest)
        self._begun.pop(head.name, None)
        if kind == _HEAD:
            return Received(head, now, None)
        if not head.version:
            raise ValueError("a body of a feed without a version")
        if head.size == 0:
            return Received(head, now, b"")
        self._begun[head.name] = head, now, BytesIO()
        return None

    def _add_to_body(self, rest: bytes) -> Received | None:
        name = FEEDS[rest[0]] if rest and rest[0] < len(FEEDS) else ""
        begun = self._begun.get(name)
        if begun is None:
            raise ValueError("a piece of a body without its head")
        head, at, body = begun
        if body.tell() + len(rest) - 1 > head.size:
            del self._begun[name]
            raise ValueError("a body is longer than its head says")
        body.write(memoryview(rest)[1:])
        if body.tell() < head.size:
            return None
        del self._begun[name]
        return Received(head, at, body.getvalue())
