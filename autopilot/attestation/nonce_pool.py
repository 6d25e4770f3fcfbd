"""Instances and their single-use nonces, by client's key and chute, discovered on demand.

The platform gives each discovery five random instances with ten nonces each, for a minute, and
counts the discoveries of all callers together. A nonce is bound to the key that discovered it, so
that pools are kept apart by a keyed hash of it; the router keeps no keys. Requests that wait for
the same pool share one discovery.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.attestation.bug_log import log_bug
from autopilot.attestation.instances import DiscoveredInstance, Discovery
from autopilot.attestation.shared_work import SharedWork
from autopilot.observability.private_counts import DiscoveryOutcome

DISCOVERIES: Final = 8
"""Discoveries in any minute, of all pools: fewer than the ten that the platform allows."""
MINUTE: Final = 60.0
REST_SECONDS: Final = 10.0
"""After a discovery that failed, for its pool: one that always fails must not use up the budget."""
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
    UNAUTHORIZED = "unauthorized"
    """The platform does not accept the key, or not for this chute."""


_OUTCOMES: Final = {
    PoolFault.LIMITED: DiscoveryOutcome.LIMITED,
    PoolFault.FAILED: DiscoveryOutcome.FAILED,
    PoolFault.UNAUTHORIZED: DiscoveryOutcome.UNAUTHORIZED,
}


class PoolError(Exception):
    """There is no nonce. ``retry_after`` is the time until another discovery may be made.

    ``status`` is that of the platform if it refused the key.
    """

    def __init__(
        self, fault: PoolFault, retry_after: float = 0.0, status: int | None = None
    ) -> None:
        super().__init__(fault)
        self.fault = fault
        self.retry_after = retry_after
        self.status = status


class Place(NamedTuple):
    """A pool: whose, and of which chute. ``client`` is a keyed hash of the client's key."""

    client: bytes
    chute: str

    def __repr__(self) -> str:
        return f"Place(chute={self.chute!r})"


@dataclass(frozen=True, slots=True)
class Ticket:
    """One instance, and a nonce that no other request has, or ever had."""

    instance: DiscoveredInstance
    nonce: str = field(repr=False)


class Stock:
    """What one discovery gave, until it expires. Times are the clock's."""

    __slots__ = ("_left", "_taken", "expires", "instances", "since")

    def __init__(
        self, discovery: Discovery, since: float, expires: float, used: Collection[str]
    ) -> None:
        self.since = since
        self.expires = expires
        self.instances = discovery.instances
        self._taken: set[str] = set()
        self._left = {
            each.instance_id: deque(nonce for nonce in each.nonces if nonce not in used)
            for each in discovery.instances
        }

    def count(self) -> int:
        """Return how many nonces are left."""
        return sum(len(self._left[each.instance_id]) for each in self.instances)

    def has(self, instance_id: str) -> bool:
        """Return whether an instance has a nonce left."""
        return bool(self._left.get(instance_id))

    @property
    def has_given(self) -> bool:
        """Whether any nonce was taken from here."""
        return bool(self._taken)

    def gave(self, nonce: str) -> bool:
        """Return whether a nonce was taken from here."""
        return nonce in self._taken

    def take(
        self, usable: Collection[str] | None, prefer: str | None, used: Collection[str]
    ) -> Ticket | None:
        """Take a nonce of the preferred instance if it is usable and has one.

        Else it is one of the instance that has the most left, so that none is drained first. What
        is in ``used`` was taken from another pool, or listed for two instances.
        """
        while candidates := [
            each
            for each in self.instances
            if self._left[each.instance_id] and (usable is None or each.instance_id in usable)
        ]:
            liked = (each for each in candidates if each.instance_id == prefer)
            most = max(candidates, key=lambda each: len(self._left[each.instance_id]))
            chosen = next(liked, most)
            nonce = self._left[chosen.instance_id].popleft()
            if nonce not in used:
                self._taken.add(nonce)
                return Ticket(chosen, nonce)
        return None

    def remove(self, instance_id: str) -> None:
        """Forget an instance, with its nonces."""
        self.instances = tuple(each for each in self.instances if each.instance_id != instance_id)


class NoncePool:
    """All pools. ``close`` cancels the discoveries under way, and so fails those that wait.

    ``discovered`` is called with how each discovery ends.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        discover: Discover,
        discovered: Callable[[DiscoveryOutcome], None] = lambda _outcome: None,
    ) -> None:
        self._clock = clock
        self._discover = discover
        self._discovered = discovered
        self._stocks: dict[Place, Stock] = {}
        self._chutes: dict[bytes, set[str]] = {}
        self._rests: dict[Place, tuple[PoolError, float]] = {}
        self._flights: dict[Place, SharedWork[None]] = {}
        self._recent: deque[float] = deque()
        self._used: dict[str, None] = {}

    def instances(self, place: Place) -> tuple[DiscoveredInstance, ...]:
        """Return the instances whose nonces have not expired, whether any is left or not."""
        stock = self.stock(place)
        return () if stock is None else stock.instances

    def has(self, place: Place, instance_id: str) -> bool:
        """Return whether an instance has a nonce left in a pool."""
        stock = self.stock(place)
        return stock is not None and stock.has(instance_id)

    def chutes(self, client: bytes) -> Collection[str]:
        """Return the chutes of a client's pools."""
        return tuple(self._chutes.get(client, ()))

    def stocks(self) -> Iterator[tuple[Place, Stock]]:
        """Yield all pools that have not expired."""
        self._prune()
        yield from self._stocks.items()

    def left(self, place: Place) -> int:
        """Return how many nonces are left."""
        stock = self.stock(place)
        return 0 if stock is None else stock.count()

    def take(
        self, place: Place, usable: Collection[str] | None = None, prefer: str | None = None
    ) -> Ticket | None:
        """Take a nonce, of one of the ``usable`` instances if given; None if there is none.

        It is of the instance ``prefer`` if that has one, and else of any. The nonce is gone,
        whatever happens to it: the platform consumes it before anything else.
        """
        stock = self.stock(place)
        ticket = None if stock is None else stock.take(usable, prefer, self._used)
        if ticket is not None:
            if len(self._used) >= REMEMBERED:
                del self._used[next(iter(self._used))]
            self._used[ticket.nonce] = None
        return ticket

    def drop(self, place: Place, nonce: str | None = None) -> None:
        """Forget a pool whose nonces the platform refuses.

        With the ``nonce`` that it refused, only if that is of this pool, not of a former one: of
        requests that are refused together, the last must not drop what the first has discovered.
        """
        stock = self._stocks.get(place)
        if stock is not None and (nonce is None or stock.gave(nonce)):
            self._remove(place)

    def remove(self, place: Place, instance_id: str) -> None:
        """Forget an instance of a pool."""
        stock = self._stocks.get(place)
        if stock is not None:
            stock.remove(instance_id)

    def discover(self, place: Place, authorization: str) -> Deferred[None]:
        """Fill a pool, together with all that wait for the same one.

        Fails with `PoolError`. Cancelling gives up waiting, and ends the discovery with the last
        one that waits.
        """
        flight = self._flights.get(place)
        if flight is None:
            refusal = self._refusal(place)
            if refusal is not None:
                refused: Deferred[None] = Deferred()
                refused.errback(refusal)
                return refused
            flight = self._flights[place] = SharedWork()
            waiting = flight.join()
            self._begin(place, flight, authorization)
            return waiting
        return flight.join()

    def close(self) -> None:
        """Cancel the discoveries under way, and forget everything."""
        for flight in list(self._flights.values()):
            flight.cancel()
        self._stocks.clear()
        self._chutes.clear()

    def _begin(self, place: Place, flight: SharedWork[None], authorization: str) -> None:
        self._recent.append(self._clock.seconds())
        fetching = flight.running = maybeDeferred(self._discover, place.chute, authorization)
        fetching.addCallback(self._keep, place).addBoth(self._land, place, flight)

    def _keep(self, discovery: Discovery, place: Place) -> None:
        self._prune()
        # The oldest pool gives way, as all last equally long.
        while len(self._stocks) >= MAX_POOLS:
            self._remove(next(iter(self._stocks)))
        # Taken out first: a pool that is filled again is the youngest one.
        self._stocks.pop(place, None)
        found = bool(discovery.instances)
        self._discovered(DiscoveryOutcome.FOUND if found else DiscoveryOutcome.EMPTY)
        now = self._clock.seconds()
        self._stocks[place] = Stock(discovery, now, now + discovery.seconds, self._used)
        self._chutes.setdefault(place.client, set()).add(place.chute)

    def _land(self, result: Failure | None, place: Place, flight: SharedWork[None]) -> None:
        del self._flights[place]
        if result is None:
            flight.succeed(None)
        else:
            flight.fail(self._error(place, result))

    def _error(self, place: Place, failure: Failure) -> PoolError | CancelledError:
        """Return why a discovery failed, after which its pool rests, unless it was cancelled."""
        if failure.check(CancelledError):
            return CancelledError()
        if isinstance(failure.value, PoolError):
            error = failure.value
        else:
            log_bug(self._log, "instances were discovered", failure)
            error = PoolError(PoolFault.FAILED)
        self._discovered(_OUTCOMES[error.fault])
        if error.fault is not PoolFault.LIMITED:
            error.retry_after = REST_SECONDS
            while len(self._rests) >= MAX_POOLS:
                del self._rests[next(iter(self._rests))]
            self._rests[place] = error, self._clock.seconds() + REST_SECONDS
        return error

    def _refusal(self, place: Place) -> PoolError | None:
        """Return why no discovery may be made now, or None if one may."""
        error, until = self._rests.get(place, (None, 0.0))
        rest = until - self._clock.seconds()
        if error is not None and rest > 0:
            return PoolError(error.fault, rest, error.status)
        self._rests.pop(place, None)
        wait = self._wait()
        if wait <= 0:
            return None
        self._discovered(DiscoveryOutcome.LIMITED)
        return PoolError(PoolFault.LIMITED, wait)

    def _wait(self) -> float:
        """Return the time until the budget of all pools allows another discovery."""
        now = self._clock.seconds()
        while self._recent and now - self._recent[0] >= MINUTE:
            self._recent.popleft()
        return 0.0 if len(self._recent) < DISCOVERIES else MINUTE - (now - self._recent[0])

    def stock(self, place: Place) -> Stock | None:
        """Return what is known of a pool, unless it has expired."""
        stock = self._stocks.get(place)
        if stock is None:
            return None
        if self._clock.seconds() >= stock.expires:
            self._remove(place)
            return None
        return stock

    def _prune(self) -> None:
        now = self._clock.seconds()
        for place in [place for place, stock in self._stocks.items() if now >= stock.expires]:
            self._remove(place)

    def _remove(self, place: Place) -> None:
        del self._stocks[place]
        chutes = self._chutes[place.client]
        chutes.discard(place.chute)
        if not chutes:
            del self._chutes[place.client]
