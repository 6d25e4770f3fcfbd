"""What an answer does on the wire, as values.

A behaviour of the stub is an iterator of these steps. It decides what happens and when; it knows
no socket and no clock, so that every behaviour can be read and tested as a list. The player carries
the steps out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Head:
    """The response head, sent at once. Without a Content-Length the body is chunked."""

    status: int
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Send:
    """Body bytes, framed as the head promised."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes put on the connection as they are, outside any HTTP framing."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing happens for so many seconds; zero means until the reactor's next turn."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Close:
    """FIN after what was sent; the body stays without its end."""


@dataclass(frozen=True, slots=True)
class Abort:
    """RST: whatever was not sent yet is lost too."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Silence until the client leaves."""


Step: TypeAlias = Head | Send | Raw | Wait | Close | Abort | Hang
# When the steps run out, a response with a head ends properly, one without closes.
Steps: TypeAlias = Iterator[Step]
