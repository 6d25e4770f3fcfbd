"""Error responses of the platform and its edge, and invalid heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from stub_backend.answers.breaks import NO_TARGETS
from stub_backend.answers.errors import AT_CAPACITY
from stub_backend.answers.pages import front_end_page, nginx_page
from tests.rigs.soak.acts import HTML, JSON, LAST_CHUNK, Act, Ending, Step, chunk, cut, head, raw
from tests.rigs.soak.generation import Generation

_EVIL: Final = b"4\r\nevil\r\n0\r\n\r\n"
MALFORMED: Final[Sequence[bytes]] = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    b"SSH-2.0-soak\r\n",
    b"HTTP/1.1 2x0 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 099 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nevil!",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + _EVIL,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + _EVIL,
    b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nevil",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4e0\r\n\r\nevil",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nNo colon here\r\n\r\nevil",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Nul: a\x00b\r\n\r\nevil",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: soak\r\nConnection: Upgrade\r\n\r\nevil",
    b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 80_000,
    b"HTTP/1.1 200 OK\r\n" + b"X-Many: x\r\n" * 400 + b"Content-Length: 4\r\n\r\nevil",
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The weight of an error response, of about a thousand in all, and a function that makes it."""

    weight: int
    make: Callable[[Generation, bool, Random], Act]


def _whole(
    kind: str, status: int, body: bytes, generation: Generation, rng: Random
) -> tuple[Step, ...]:
    if rng.random() < 0.7:
        return (head(generation, status, kind, len(body)), raw(body))
    return (head(generation, status, kind), chunk(body), LAST_CHUNK)


def _row(
    weight: int, status: int, text: str | bytes, reason: str = "", *, turns: bool | None = None
) -> Refusal:
    """Return an error in JSON, or as an HTML page of the edge."""
    reasons = frozenset({reason} if reason else ())

    def make(generation: Generation, stream: bool, rng: Random) -> Act:
        kind = HTML if isinstance(text, bytes) else JSON
        body = text if isinstance(text, bytes) else generation.error(text)
        return Act(
            f"{status} {reason or 'final'}",
            _whole(kind, status, body, generation, rng),
            status,
            reasons=reasons,
            turns=bool(reason) if turns is None else turns,
        )

    return Refusal(weight, make)


def _broken(generation: Generation, stream: bool, rng: Random) -> Act:
    """Send an error that is itself truncated or falls silent; its content must not matter."""
    status, text = rng.choice(((429, AT_CAPACITY), (500, NO_TARGETS), (400, "No.")))
    steps = _whole(JSON, status, generation.error(text), generation, rng)
    size = Act("", steps).wire_size
    ending = rng.choice((Ending.CLOSE, Ending.RESET, Ending.HANG))
    return Act(
        "broken error",
        cut(steps, rng.randrange(1, size)),
        status,
        ending=ending,
        whole=False,
        # If only the last chunk is missing, the content is complete and may be classified.
        reasons=frozenset({"connection_lost", "capacity", "status_500"}),
    )


REFUSALS: Final[Sequence[Refusal]] = (
    _row(40, 503, "No healthy instances.", "status_503"),
    _row(10, 503, nginx_page("503 Service Temporarily Unavailable"), "status_503"),
    _row(40, 429, AT_CAPACITY, "capacity"),
    _row(15, 429, nginx_page("429 Too Many Requests")),
    _row(10, 429, "Rate limit exceeded for this account."),
    _row(25, 500, NO_TARGETS, "status_500"),
    _row(15, 500, "Internal error.", "status_500"),
    _row(10, 502, nginx_page("502 Bad Gateway"), "status_502"),
    _row(10, 504, front_end_page(504, "Gateway Timeout", "Too late."), "status_504"),
    _row(10, 404, "model not found: soak", "not_found", turns=False),
    _row(10, 400, "Invalid request: no."),
    _row(5, 402, "Quota exceeded."),
    Refusal(15, _broken),
)
