"""The messages by which workers lease calls of a key from their parent, and share its bans."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Struct


class Want(Struct, frozen=True, tag="want"):
    """To the parent: whose calls are waited for; so many more would be kept ready.

    ``waiting`` has the hash of a conversation for each call, in the order of their turns; ``made``
    counts the granted calls that have been made since the last message of that key.
    """

    key: bytes
    waiting: tuple[bytes, ...]
    spare: int = 0
    made: int = 0


class Grant(Struct, frozen=True, tag="grant"):
    """To a worker: so many calls may be made, soon after the monotonic time ``at``.

    ``turns`` has the conversations for which some of them are. Workers and parent are on one host,
    so that they have one clock.
    """

    key: bytes
    calls: int
    at: float
    turns: tuple[bytes, ...] = ()


class Back(Struct, frozen=True, tag="back"):
    """To the parent: so many calls that were granted are not made; so many others have been."""

    key: bytes
    calls: int
    made: int = 0


class Page(Struct, frozen=True, tag="page"):
    """To the parent: the edge's page, and how long it says that the ban lasts, if it does."""

    key: bytes
    told: float | None


class Banned(Struct, frozen=True, tag="banned"):
    """To a worker: a key, or with an empty one the address, is banned for so many seconds."""

    key: bytes
    seconds: float


class Answered(Struct, frozen=True, tag="answered"):
    """To the parent: the call that was to show whether a ban is over was answered."""

    key: bytes


class Lost(Struct, frozen=True, tag="lost"):
    """To the parent: that call saw nothing of the edge."""

    key: bytes


class Stated(Struct, frozen=True, tag="stated"):
    """To the parent: the platform's limit for a key; minus one stands for none."""

    key: bytes
    limit: float


Note: TypeAlias = Want | Grant | Back | Page | Banned | Answered | Lost | Stated

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Note)


def encode(note: Note) -> bytes:
    """Return a message as bytes."""
    return _encoder.encode(note)


def decode(data: bytes) -> Note:
    """Return the message in these bytes.

    :raises ValueError: they are none.
    """
    note: Note = _decoder.decode(data)
    return note
