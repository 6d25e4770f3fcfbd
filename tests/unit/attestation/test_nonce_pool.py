"""Tests of the nonce pools: no nonce twice, one discovery for all that wait, and its budget."""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.instances import DiscoveredInstance, Discovery
from autopilot.attestation.nonce_pool import (
    DISCOVERIES,
    MAX_POOLS,
    REMEMBERED,
    REST_SECONDS,
    NoncePool,
    Place,
    PoolError,
    PoolFault,
)

PLACE, OTHER = Place(b"client", "chute"), Place(b"client", "other chute")


def discovery(instances: int = 5, nonces: int = 10, run: int = 0, seconds: float = 55) -> Discovery:
    """Return what a discovery finds; ``run`` makes its nonces others."""
    return Discovery(
        tuple(
            DiscoveredInstance(
                f"id-{place}", "key", tuple(f"{run}-{place}-{each}" for each in range(nonces))
            )
            for place in range(instances)
        ),
        seconds,
    )


class PoolTestCase(SynchronousTestCase):
    """Pools, whose discoveries the test answers."""

    def setUp(self) -> None:
        """Make pools."""
        self.clock = Clock()
        self.asked: list[tuple[str, str]] = []
        self.fetches: list[Deferred[Discovery]] = []
        self.cancelled: list[int] = []
        self.pool = NoncePool(self.clock, self.fetch)

    def fetch(self, chute: str, authorization: str) -> Deferred[Discovery]:
        """Begin a discovery."""
        number = len(self.fetches)
        self.asked.append((chute, authorization))
        fetching: Deferred[Discovery] = Deferred(lambda _: self.cancelled.append(number))
        self.fetches.append(fetching)
        return fetching

    def fill(self, place: Place = PLACE, found: Discovery | None = None) -> None:
        """Discover, and answer at once."""
        waiting = self.pool.discover(place, "Bearer a")
        self.fetches[-1].callback(found or discovery(run=len(self.fetches)))
        self.successResultOf(waiting)

    def refusal(self, place: Place = PLACE) -> PoolError:
        """Return why a discovery fails at once."""
        failure = self.failureResultOf(self.pool.discover(place, "Bearer a"), PoolError)
        assert isinstance(failure.value, PoolError)
        return failure.value


class NonceTests(PoolTestCase):
    """Nonces of one pool."""

    def test_once(self) -> None:
        """Each nonce is taken once, and then there is none."""
        self.fill()
        self.assertEqual(self.pool.left(PLACE), 50)
        taken = [self.pool.take(PLACE) for _ in range(50)]
        nonces = {each.nonce for each in taken if each is not None}
        self.assertEqual(len(nonces), 50)
        self.assertIsNone(self.pool.take(PLACE))
        self.assertEqual(self.pool.left(PLACE), 0)
        self.assertEqual(len(self.pool.instances(PLACE)), 5)

    def test_repeated(self) -> None:
        """A nonce that was used is not used again, in whatever pool it comes again."""
        self.fill(found=discovery(1, 2))
        first = self.pool.take(PLACE)
        assert first is not None
        self.fill(found=discovery(1, 2))
        self.assertEqual(self.pool.left(PLACE), 1)
        second = self.pool.take(PLACE)
        assert second is not None
        self.assertNotEqual(first.nonce, second.nonce)
        self.fill(OTHER, discovery(1, 3))
        self.assertEqual(self.pool.left(OTHER), 1)

    def test_remembered(self) -> None:
        """Used nonces are remembered up to a number, so that memory is bounded."""
        self.fill(found=discovery(1, REMEMBERED + 1, seconds=1e9))
        taken = [self.pool.take(PLACE) for _ in range(REMEMBERED + 1)]
        self.assertNotIn(None, taken)
        self.fill(found=discovery(1, REMEMBERED + 1))
        self.assertEqual(self.pool.left(PLACE), 1)

    def test_spread(self) -> None:
        """Instances are used in turn, instead of one until it is drained."""
        self.fill()
        used = Counter[str]()
        for _ in range(10):
            ticket = self.pool.take(PLACE)
            assert ticket is not None
            used[ticket.instance.instance_id] += 1
        self.assertEqual(set(used.values()), {2})

    def test_usable(self) -> None:
        """Only instances that are verified are taken, if the caller names them."""
        self.fill()
        taken = [self.pool.take(PLACE, {"id-1", "absent"}) for _ in range(11)]
        ids = [each.instance.instance_id for each in taken if each is not None]
        self.assertEqual(ids, ["id-1"] * 10)
        self.assertIsNone(taken[10])
        self.assertIsNone(self.pool.take(PLACE, ()))
        self.assertEqual(self.pool.left(PLACE), 40)

    def test_expiry(self) -> None:
        """Nonces are used until their time, and not at it."""
        self.fill()
        self.clock.advance(54.9)
        self.assertIsNotNone(self.pool.take(PLACE))
        self.clock.advance(0.1)
        self.assertIsNone(self.pool.take(PLACE))
        self.assertEqual((self.pool.left(PLACE), self.pool.instances(PLACE)), (0, ()))

    def test_apart(self) -> None:
        """Another client, or chute, has another pool."""
        self.fill()
        for place in (Place(b"other", "chute"), OTHER):
            self.assertIsNone(self.pool.take(place))

    def test_dropped(self) -> None:
        """A pool that the platform refuses is forgotten, and may be filled again."""
        self.fill()
        self.pool.drop(PLACE)
        self.pool.drop(PLACE)
        self.assertIsNone(self.pool.take(PLACE))
        self.fill()
        ticket = self.pool.take(PLACE)
        assert ticket is not None
        self.assertTrue(ticket.nonce.startswith("2-"))

    def test_refused_late(self) -> None:
        """A nonce of a former pool that is refused late does not drop the present one."""
        self.fill()
        first, second = (self.pool.take(PLACE) for _ in range(2))
        assert first is not None and second is not None
        self.pool.drop(PLACE, first.nonce)
        self.assertIsNone(self.pool.take(PLACE))
        self.fill()
        self.pool.drop(PLACE, second.nonce)
        self.assertEqual(self.pool.left(PLACE), 50)

    def test_preferred(self) -> None:
        """The preferred instance is taken while it is usable and has a nonce."""
        self.fill(found=discovery(3, 2))
        taken = [self.pool.take(PLACE, prefer="id-2") for _ in range(3)]
        ids = [each.instance.instance_id for each in taken if each is not None]
        self.assertEqual(ids, ["id-2", "id-2", "id-0"])
        unusable = self.pool.take(PLACE, {"id-0", "id-1"}, prefer="id-2")
        assert unusable is not None
        self.assertEqual(unusable.instance.instance_id, "id-1")

    def test_listed_twice(self) -> None:
        """A nonce that is listed for two instances is taken once."""
        both = tuple(DiscoveredInstance(each, "key", ("same",)) for each in ("a", "b"))
        self.fill(found=Discovery(both, 55))
        self.assertIsNotNone(self.pool.take(PLACE))
        self.assertIsNone(self.pool.take(PLACE))

    def test_removed(self) -> None:
        """An instance that is gone takes its nonces with it."""
        self.fill(found=discovery(2, 3))
        self.pool.remove(PLACE, "id-0")
        self.pool.remove(OTHER, "id-0")
        self.assertEqual(self.pool.left(PLACE), 3)
        self.assertFalse(self.pool.has(OTHER, "id-0"))
        self.assertTrue(self.pool.has(PLACE, "id-1"))
        self.assertFalse(self.pool.has(PLACE, "absent"))
        self.assertEqual([each.instance_id for each in self.pool.instances(PLACE)], ["id-1"])

    def test_overview(self) -> None:
        """A client's chutes and all pools are listed until they expire."""
        self.fill()
        self.fill(OTHER)
        self.assertEqual(sorted(self.pool.chutes(b"client")), ["chute", "other chute"])
        self.pool.drop(OTHER)
        self.assertEqual(
            [(place, stock.count()) for place, stock in self.pool.stocks()], [(PLACE, 50)]
        )
        self.clock.advance(55)
        self.assertEqual(list(self.pool.stocks()), [])
        self.assertEqual(list(self.pool.chutes(b"client")), [])

    def test_bounded(self) -> None:
        """There are never more pools than the limit: the oldest gives way."""
        for number in range(MAX_POOLS + 1):
            self.clock.advance(0.001 if number % DISCOVERIES else 60)
            self.fill(Place(b"%d" % number, "chute"), discovery(1, 1, number, 1e9))
        self.assertIsNone(self.pool.take(Place(b"0", "chute")))
        for number in (1, MAX_POOLS):
            self.assertIsNotNone(self.pool.take(Place(b"%d" % number, "chute")))
        # A pool that is filled again is the youngest one.
        self.clock.advance(60)
        for number in (2, MAX_POOLS + 1, MAX_POOLS + 2):
            place = Place(b"%d" % number, "chute")
            self.fill(place, discovery(1, 1, MAX_POOLS + number, 1e9))
        self.assertEqual(self.pool.left(Place(b"2", "chute")), 1)

    def test_representations(self) -> None:
        """No representation shows a nonce or whose it is."""
        self.fill()
        ticket = self.pool.take(PLACE)
        assert ticket is not None
        for shown in (repr(ticket), repr(PLACE)):
            self.assertNotIn(ticket.nonce, shown)
            self.assertNotIn("client", shown)


class DiscoveryTests(PoolTestCase):
    """One discovery for all that wait."""

    def test_shared(self) -> None:
        """Two hundred requests at once share discoveries, and none gets another's nonce."""
        waiting = [self.pool.discover(PLACE, "Bearer a") for _ in range(200)]
        self.assertEqual(self.asked, [("chute", "Bearer a")])
        self.fetches[0].callback(discovery())
        for each in waiting:
            self.successResultOf(each)
        tickets = [self.pool.take(PLACE) for _ in range(200)]
        nonces = [each.nonce for each in tickets if each is not None]
        self.assertEqual((len(nonces), len(set(nonces))), (50, 50))

    def test_immediate(self) -> None:
        """A discovery that is answered at once fills the pool too."""
        found: Deferred[Discovery] = Deferred()
        found.callback(discovery())
        pool = NoncePool(self.clock, lambda _chute, _authorization: found)
        self.successResultOf(pool.discover(PLACE, "Bearer a"))
        self.assertEqual(pool.left(PLACE), 50)

    def test_broken_fetch(self) -> None:
        """A fetch that raises fails what waits, and does not block the pool."""
        pool = NoncePool(self.clock, lambda *_given: 1 // 0)  # type: ignore[arg-type]
        with capturedLogs() as logs:
            for _ in range(2):
                self.failureResultOf(pool.discover(PLACE, "Bearer a"), PoolError)
                self.clock.advance(REST_SECONDS)
        self.assertEqual(len(logs), 2)

    def test_again(self) -> None:
        """After a discovery, the next one is another."""
        self.fill()
        self.fill()
        self.assertEqual(len(self.asked), 2)

    def test_failure(self) -> None:
        """All that wait fail; what the platform said is neither passed on nor logged."""
        waiting = [self.pool.discover(PLACE, "Bearer a") for _ in range(3)]
        with capturedLogs() as logs:
            self.fetches[0].errback(Failure(ValueError("canary")))
        self.assertNotIn("canary", repr(logs))
        for each in waiting:
            error = self.failureResultOf(each, PoolError).value
            assert isinstance(error, PoolError)
            self.assertIs(error.fault, PoolFault.FAILED)
            self.assertNotIn("canary", str(error))

    def test_rest(self) -> None:
        """A pool whose discovery failed rests, so that it does not use up the budget of others."""
        waiting = self.pool.discover(PLACE, "Bearer a")
        self.fetches[0].errback(PoolError(PoolFault.UNAUTHORIZED, status=402))
        self.failureResultOf(waiting, PoolError)
        self.clock.advance(REST_SECONDS - 1)
        error = self.refusal()
        self.assertEqual(
            (error.fault, error.status, error.retry_after), (PoolFault.UNAUTHORIZED, 402, 1)
        )
        self.assertEqual(len(self.asked), 1)
        self.fill(OTHER)
        self.clock.advance(1)
        self.fill()

    def test_rests_are_bounded(self) -> None:
        """No more rests are remembered than there may be pools."""
        for number in range(MAX_POOLS + 1):
            self.clock.advance(0.001 if number % DISCOVERIES else 60)
            waiting = self.pool.discover(Place(b"%d" % number, "chute"), "Bearer a")
            self.fetches[-1].errback(PoolError(PoolFault.FAILED))
            self.failureResultOf(waiting, PoolError)
        self.assertEqual(len(self.pool._rests), MAX_POOLS)

    def test_own_errors(self) -> None:
        """A fetch may say itself that the platform limits discoveries."""
        waiting = self.pool.discover(PLACE, "Bearer a")
        self.fetches[0].errback(PoolError(PoolFault.LIMITED, 7))
        error = self.failureResultOf(waiting, PoolError).value
        assert isinstance(error, PoolError)
        self.assertEqual((error.fault, error.retry_after), (PoolFault.LIMITED, 7))

    def test_cancelled(self) -> None:
        """One that gives up does not disturb the others; the last one ends the discovery."""
        first, second = (self.pool.discover(PLACE, "Bearer a") for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.cancelled, [])
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.cancelled, [0])
        self.fill()

    def test_close(self) -> None:
        """Closing ends the discoveries, and those that wait fail."""
        self.fill(OTHER)
        waiting = self.pool.discover(PLACE, "Bearer a")
        self.pool.close()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.cancelled, [1])
        self.assertEqual(self.pool.left(OTHER), 0)


class BudgetTests(PoolTestCase):
    """The budget of all pools together."""

    def test_eight(self) -> None:
        """The ninth discovery within a minute is refused, with the time until it may be made."""
        for number in range(DISCOVERIES):
            self.fill(Place(b"%d" % number, "chute"))
            self.clock.advance(1)
        error = self.refusal()
        self.assertEqual((error.fault, error.retry_after), (PoolFault.LIMITED, 52))
        self.assertEqual(len(self.asked), DISCOVERIES)
        self.clock.advance(51.9)
        self.assertIs(self.refusal().fault, PoolFault.LIMITED)
        self.clock.advance(0.1)
        self.fill()
        self.assertIs(self.refusal().fault, PoolFault.LIMITED)

    def test_joining(self) -> None:
        """Joining a discovery under way needs no budget, and failures use it up."""
        for number in range(DISCOVERIES - 1):
            waiting = self.pool.discover(Place(b"%d" % number, "chute"), "Bearer a")
            self.fetches[-1].errback(ValueError())
            self.failureResultOf(waiting, PoolError)
        first, second = (self.pool.discover(PLACE, "Bearer a") for _ in range(2))
        self.assertIs(self.refusal(OTHER).fault, PoolFault.LIMITED)
        self.fetches[-1].callback(discovery())
        self.successResultOf(first)
        self.successResultOf(second)
