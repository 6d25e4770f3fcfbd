"""One input as data: the bytes of a client, an upstream or the feeds, and their limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
MB: Final = 1_000_000

HOLD_MS: Final = 50.0
LARGE_BODY: Final = 4 * MB
HOLD_MS_PER_MB: Final = 12.0
"""The limits of a hold: 50 ms; for a body over 4 MB, 12 ms for each MB."""

MEMORY_UNIT: Final = 10 * KIB
"""As many bytes of a client may cost `MIB` of memory."""

Wire = Callable[[], bytes]


class Port(StrEnum):
    """The router's ports."""

    API = "api"
    ADMIN = "admin"


class Reads(StrEnum):
    """What a client does with the responses."""

    ALL = "all"
    NOTHING = "nothing"


class Leaves(StrEnum):
    """How a client ends its connections: after the responses, or all at once without them."""

    AFTER = "after"
    FIN = "fin"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class FeedBodies:
    """The bodies of both feeds; None stands for the usual one."""

    catalog: Wire | None = None
    utilization: Wire | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input.

    Each of ``connections`` clients connects, all within ``spread`` seconds, and sends ``request``,
    in writes of ``piece`` bytes (0: as many as the socket takes), and waits ``stay`` seconds before
    it leaves. The upstream sends ``response`` to each request, and closes the connection unless it
    ``upstream_stays``. ``answers``: the statuses that a client may receive first; if there are
    none, any, also none. ``memory``: the limit of the growth in bytes, if it is not the one for
    bytes of clients. ``work``: the milliseconds that each client's own request may take, which
    others wait for in turn. ``setups``: the routers that the input is played against, by name.
    ``foreign``: those of them in which Twisted does the work, before the router sees the request.
    """

    family: str
    name: str
    request: Wire
    connections: int = 1
    piece: int = 0
    reads: Reads = Reads.ALL
    leaves: Leaves = Leaves.AFTER
    spread: float = 0.0
    stay: float = 0.0
    to: Port = Port.API
    answers: frozenset[int] = frozenset()
    response: Wire | None = None
    upstream_stays: bool = False
    feeds: FeedBodies | None = None
    memory: int | None = None
    work: float = 0.0
    setups: tuple[str, ...] = ("own",)
    foreign: tuple[str, ...] = ()
    seconds: float = field(default=20.0)
    """Time after which the input is given up."""

    @property
    def title(self) -> str:
        """The family and the name."""
        return f"{self.family}: {self.name}"


def hold_limit(body: int, work: float = 0.0) -> float:
    """Return the longest permitted hold in milliseconds for a body of this size.

    ``work`` is the time that all requests of a crowd may take together.
    """
    limit = max(HOLD_MS, HOLD_MS_PER_MB * body / MB) if body > LARGE_BODY else HOLD_MS
    return limit + work


def memory_limit(sent: int, connections: int) -> int:
    """Return the permitted growth in bytes for as many bytes of clients on these connections."""
    return MIB * max(connections, -(-sent // MEMORY_UNIT))
