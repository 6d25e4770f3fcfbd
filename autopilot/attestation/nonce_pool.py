"""Instances and their single-use nonces, by client's key and chute, discovered on demand.

The platform gives each discovery five random instances with ten nonces each, for a minute, and
counts the discoveries of all callers together. A nonce is bound to the key that discovered it, so
that pools are kept apart by a keyed hash of it; the router keeps no keys. Requests that wait for
the same pool share one discovery.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from autopilot.attestation.instances import DiscoveredInstance, Discovery

DISCOVERIES: Final = 8
"""Discoveries in any minute, of all pools: fewer than the ten that the platform allows."""
MINUTE: Final = 60.0
MAX_POOLS: Final = 1024
"""Each has about 10 kB of keys and nonces."""
REMEMBERED: Final = 4096
"""Nonces of the last ten minutes at the most, which would not be used again if they came again."""

Discover = Callable[[str, str], Deferred[Discovery]]
"""Fetches the instances of a chute, with an authorization."""


class PoolFault(StrEnum):
    """Why there is no nonce."""

    LIMITED = "discovery_limited"
    FAILED = "discovery_failed"


class PoolError(Exception):
    """There is no nonce. ``retry_after`` is the time until another discovery may be made."""

    def __init__(self, fault: PoolFault, retry_after: float = 0.0) -> None:
        super().__init__(fault)
        self.fault = fault
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Place:
    """A pool: whose, and of which chute. ``client`` is a keyed hash of the client's key."""

    client: bytes = field(repr=False)
    chute: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """One instance, and a nonce that no other request has, or ever had."""

    instance: DiscoveredInstance
    nonce: str = field(repr=False)


class _Stock:
    """What one discovery gave, until it expires."""

    __slots__ = ("_left", "expires", "instances")

    def __init__(self, discovery: Discovery, expires: float, used: Collection[str]) -> None:
        self.expires = expires
        self.instances = discovery.instances
        self._left = {
            each.instance_id: deque(nonce for nonce in each.nonces if nonce not in used)
            for each in discovery.instances
        }

    def count(self) -> int:
        return sum(map(len, self._left.values()))

    def take(self, usable: Collection[str] | None) -> Ticket | None:
        """Take a nonce of the instance that has the most left, so that none is drained first."""
        candidates = [
            each
            for each in self.instances
            if self._left[each.instance_id] and (usable is None or each.instance_id in usable)
        ]
        if not candidates:
            return None
        chosen = max(candidates, key=lambda each: len(self._left[each.instance_id]))
        return Ticket(chosen, self._left[chosen.instance_id].popleft())


class _Flight:
    """A discovery under way, and those that wait for it."""

    __slots__ = ("fetching", "waiting")

    def __init__(self) -> None:
        self.fetching: Deferred[Discovery] | None = None
        self.waiting: list[Deferred[None]] = []


class NoncePool:
    """All pools. ``close`` cancels the discoveries under way, and so fails those that wait."""

    def __init__(self, clock: IReactorTime, discover: Discover) -> None:
        self._clock = clock
        self._discover = discover
        self._stocks: dict[Place, _Stock] = {}
        self._flights: dict[Place, _Flight] = {}
        self._recent: deque[float] = deque()
        self._used: dict[str, None] = {}

    def instances(self, place: Place) -> tuple[DiscoveredInstance, ...]:
        """Return the instances whose nonces have not expired, whether any is left or not."""
        stock = self._fresh(place)
        return () if stock is None else stock.instances

    def left(self, place: Place) -> int:
        """Return how many nonces are left."""
        stock = self._fresh(place)
        return 0 if stock is None else stock.count()

    def take(self, place: Place, usable: Collection[str] | None = None) -> Ticket | None:
        """Take a nonce, of one of the ``usable`` instances if given; None if there is none.

        The nonce is gone, whatever happens to it: the platform consumes it before anything else.
        """
        stock = self._fresh(place)
        ticket = None if stock is None else stock.take(usable)
        if ticket is not None:
            if len(self._used) >= REMEMBERED:
                del self._used[next(iter(self._used))]
            self._used[ticket.nonce] = None
        return ticket

    def drop(self, place: Place) -> None:
        """Forget a pool whose nonces the platform refuses."""
        self._stocks.pop(place, None)

    def discover(self, place: Place, authorization: str) -> Deferred[None]:
        """Fill a pool, together with all that wait for the same one.

        Fails with `PoolError`. Cancelling gives up waiting, and ends the discovery with the last
        one that waits.
        """
        flight = self._flights.get(place)
        if flight is None:
            wait = self._wait()
            if wait > 0:
                refused: Deferred[None] = Deferred()
                refused.errback(PoolError(PoolFault.LIMITED, wait))
                return refused
            flight = self._flights[place] = _Flight()
            waiting = self._joined(place, flight)
            self._begin(place, flight, authorization)
            return waiting
        return self._joined(place, flight)

    def close(self) -> None:
        """Cancel the discoveries under way, and forget everything."""
        for flight in list(self._flights.values()):
            if flight.fetching is not None:
                flight.fetching.cancel()
        self._stocks.clear()

    def _joined(self, place: Place, flight: _Flight) -> Deferred[None]:
        def cancelled(waiting: Deferred[None]) -> None:
            flight.waiting.remove(waiting)
            if not flight.waiting and flight.fetching is not None:
                flight.fetching.cancel()

        waiting: Deferred[None] = Deferred(cancelled)
        flight.waiting.append(waiting)
        return waiting

    def _begin(self, place: Place, flight: _Flight, authorization: str) -> None:
        self._recent.append(self._clock.seconds())
        flight.fetching = maybeDeferred(self._discover, place.chute, authorization)
        flight.fetching.addCallback(self._keep, place).addBoth(self._land, place, flight)

    def _keep(self, discovery: Discovery, place: Place) -> None:
        self._prune()
        # The oldest pool gives way, as all last equally long.
        while len(self._stocks) >= MAX_POOLS:
            del self._stocks[next(iter(self._stocks))]
        self._stocks.pop(place, None)
        expires = self._clock.seconds() + discovery.seconds
        self._stocks[place] = _Stock(discovery, expires, self._used)

    def _land(self, result: Failure | None, place: Place, flight: _Flight) -> None:
        """Tell all that wait. A failure is theirs, so that it is not logged as unhandled."""
        del self._flights[place]
        waiting, flight.waiting = flight.waiting, []
        for each in waiting:
            if result is None:
                each.callback(None)
            elif result.check(PoolError, CancelledError):
                each.errback(Failure(result.value))
            else:
                each.errback(PoolError(PoolFault.FAILED))

    def _wait(self) -> float:
        """Return the time until the budget of all pools allows another discovery."""
        now = self._clock.seconds()
        while self._recent and now - self._recent[0] >= MINUTE:
            self._recent.popleft()
        return 0.0 if len(self._recent) < DISCOVERIES else MINUTE - (now - self._recent[0])

    def _fresh(self, place: Place) -> _Stock | None:
        stock = self._stocks.get(place)
        if stock is None:
            return None
        if self._clock.seconds() >= stock.expires:
            del self._stocks[place]
            return None
        return stock

    def _prune(self) -> None:
        now = self._clock.seconds()
        for place in [place for place, stock in self._stocks.items() if now >= stock.expires]:
            del self._stocks[place]
