"""What a worker and its parent tell each other about attested instances.

The parent alone discovers and verifies: one budget, and one set of pools for all workers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from autopilot.attestation.private_instances import Cause
from autopilot.attestation.verdict import Refusal, Verified


class _Message(Struct, frozen=True, tag=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"  # keys, nonces and authorizations are in some


class Hello(_Message, frozen=True):
    """To the parent: the worker wants to know whether anything is attestable."""


class Acquire(_Message, frozen=True):
    """To the parent: a request's wish, by a number that its answer has too."""

    number: int
    chute: str
    client: bytes
    authorization: str
    avoid: tuple[str, ...]
    prefer: str | None


class Cancel(_Message, frozen=True):
    """To the parent: the request has left."""

    number: int


class Event(StrEnum):
    """What a worker learns about an instance."""

    NONCE_REFUSED = "nonce_refused"
    KEY_CHANGED = "key_changed"
    VANISHED = "vanished"


class Notice(_Message, frozen=True):
    """To the parent: news of an instance, which its nonce names."""

    event: Event
    chute: str
    client: bytes
    nonce: str


class Found(_Message, frozen=True):
    """To a worker: an attested instance. ``age`` is in seconds."""

    number: int
    instance_id: str
    key: str
    nonce: str
    verified: Verified
    age: float
    word: str


class Missing(_Message, frozen=True):
    """To a worker: why there is none."""

    number: int
    cause: Cause
    refusal: Refusal | None
    retry_after: float
    status: int | None
    found: tuple[str, ...]


class Standing(_Message, frozen=True):
    """To a worker: why nothing is attestable, or None."""

    roots: str
    why_not: str | None


Question = Hello | Acquire | Cancel | Notice
Answer = Found | Missing | Standing

question: Final = msgspec.msgpack.Decoder(Question)
answer: Final = msgspec.msgpack.Decoder(Answer)
encode: Final = msgspec.msgpack.encode


def reason(text: str) -> Cause | Refusal:
    """Return what a text of `Missing.found` stands for. Raises ValueError."""
    try:
        return Refusal(text)
    except ValueError:
        return Cause(text)
