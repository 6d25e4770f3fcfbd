"""The values of the account's governor: its rules, one key, and one request's permit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from autopilot.routing.token_bucket import FULL, TokenBucket
from autopilot.state.fair_queue import FairQueue

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from autopilot.routing.edge_circuit import EdgeBan

ADDRESS: Final = b""
"""Stands for the router's address, to which calls without a key count."""

USUAL_RATE: Final = 60.0
"""Calls a minute that the edge permits a key for which nothing was stated (wire §5.1)."""


ASKING: Final = 0.5
"""Seconds for which a first call waits at least where the governor has to ask for its token."""


class Admission(Enum):
    """What a request may do: be sent now, wait for its token, or be refused during a ban."""

    SENT = "sent"
    WAITS = "waits"
    BANNED = "banned"


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """The rules: ``most`` calls a minute for each key, infinite for no cap.

    ``usual``: those of a key for which nothing was stated. ``burst`` is the share of a minute's
    calls that may be made at once.
    """

    most: float = inf
    usual: float = USUAL_RATE
    burst: float = 1.0


class KeyStanding(NamedTuple):
    """What a page shows of one key or of the address, whose ``key`` is then empty.

    ``per_minute`` is the limit of the key, whoever uses it, and ``share`` the part of it that this
    router has. ``banned_for`` are the seconds that its ban lasts from now on, 0 if there is none.
    """

    key: bytes
    per_minute: float
    available: float
    waiting: int
    banned_for: float
    share: float = 1.0


class EdgeAccount:
    """One key: its bucket, what was stated of its limit, its ban, and the requests that wait.

    ``stated`` is in calls a minute. ``ban`` is the last one; it is kept after its end, because the
    next one is measured by it. ``prober`` is the request that shows whether it is over. ``call`` is
    due when there is a token for the first that waits. ``lent`` calls are kept for workers, which
    may yet make them: they are not there for others, and the bucket does not fill in their place.
    """

    __slots__ = (
        "ban",
        "bucket",
        "call",
        "is_banned",
        "key",
        "lent",
        "prober",
        "queue",
        "stated",
        "stated_at",
    )

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.bucket: TokenBucket = FULL
        self.lent = 0
        self.stated: float | None = None
        self.stated_at = -inf
        self.ban: EdgeBan | None = None
        self.is_banned = False
        self.prober: EdgePermit | None = None
        self.queue: FairQueue[EdgePermit] = FairQueue()
        self.call: IDelayedCall | None = None

    def banned_until(self, now: float) -> float:
        """Return until when nothing is sent; minus infinity if anything may be, or one probe."""
        ban = self.ban
        return ban.until if self.is_banned and ban is not None and ban.until > now else -inf

    def is_free_for(self, permit: EdgePermit | None) -> bool:
        """Return whether no other request is finding out whether the ban is over."""
        return not self.is_banned or self.prober is None or self.prober is permit


class EdgePermit:
    """What the governor knows of one request.

    ``resolved`` is called when a request that waits may be sent, or is refused because of a ban:
    then ``banned`` is true. ``waits_since`` is None unless it waits, in the queue of its
    ``conversation``.
    """

    __slots__ = ("account", "banned", "conversation", "resolved", "waits_since")

    def __init__(self, account: EdgeAccount, resolved: Callable[[], None]) -> None:
        self.account = account
        self.conversation = b""
        self.resolved = resolved
        self.waits_since: float | None = None
        self.banned = False
