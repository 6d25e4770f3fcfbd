"""The steps of a response on the wire, as values.

A behaviour of the stub is an iterator of these steps, which `Player` executes. It decides what
happens and when without a socket or a clock, so it can be read and tested as a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Head:
    """Send the response head at once. Without a Content-Length the body is chunked."""

    status: int
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Send:
    """Send body bytes, framed as the head declares."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Raw:
    """Write bytes to the connection unchanged, outside any HTTP framing."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait; zero seconds means until the reactor's next iteration."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Close:
    """Send FIN after the pending data, without finishing the body."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Send RST, discarding the pending data."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Send nothing more until the client disconnects."""


class End(StrEnum):
    """How a response ended: whole, cut by a step, or left by its client."""

    FINISHED = "finished"
    BROKEN = "broken"
    CANCELLED = "cancelled"


Step: TypeAlias = Head | Send | Raw | Wait | Close | Abort | Hang
# After the last step the player finishes the response, or closes if there was no head.
Steps: TypeAlias = Iterator[Step]
