"""Tests of who fetches a shared feed when something fails: a replica, the store, or the feed."""

from __future__ import annotations

from autopilot.feeds.polling import CATALOG, UTILIZATION
from autopilot.feeds.shared_feed import FIRST_NEWS, GRACE, FeedRole
from autopilot.http.fetch_error import NETWORK, FetchError
from tests.unit.feeds.replicas import (
    LEASE,
    MODELS_EVERY,
    STEP,
    UTILIZATION_EVERY,
    Replica,
    ReplicasTestCase,
)


class TakeOverTests(ReplicasTestCase):
    """A holder that is gone, or stands still."""

    def holder(self, *others: Replica) -> Replica:
        """Return a holder that has renewed its lease just now, with two others beside it."""
        one = self.replica()
        self.replica()
        self.replica()
        self.run_for(40.1)
        self.assertEqual(self.roles(), ["holder", "reader", "reader"])
        return one

    def test_gone(self) -> None:
        """Before the lease and one interval have passed, another fetches."""
        one = self.holder()
        gone_at, before = one.clock.seconds(), len(self.fetches())
        one.moves = False
        self.run_for(LEASE + UTILIZATION_EVERY)
        self.assertEqual(sorted(self.roles()[1:]), ["holder", "reader"])
        self.assertGreater(len(self.fetches()), before)
        self.assertLess(self.fetches()[before], gone_at + LEASE + UTILIZATION_EVERY)
        for each in self.replicas[1:]:
            age = each.clock.seconds() - (each.status().fetched_at or 0.0)
            self.assertLess(age, UTILIZATION_EVERY + 1.0)

    def test_gone_with_catalog(self) -> None:
        """A feed with a long interval is fetched when it is due, not at once."""
        one = self.holder()
        one.moves = False
        self.run_for(LEASE + 15.0)
        self.assertEqual(sorted(self.roles(CATALOG)[1:]), ["holder", "reader"])
        self.assertEqual(len(self.fetches(CATALOG)), 1)
        self.run_for(MODELS_EVERY - LEASE - 15.0)
        self.assertEqual(len(self.fetches(CATALOG)), 2)
        self.assertLess(self.fetches(CATALOG)[1], 1.2 * MODELS_EVERY)

    def test_stands_still(self) -> None:
        """A holder that wakes after its lease does not go on: it reads what others fetch."""
        one = self.holder()
        one.moves = False
        self.run_for(LEASE + 2 * UTILIZATION_EVERY)
        before = len(one.utilization.started)
        others = [self.server.get(key) for key in self.server.values if key.count(b":") == 3]
        one.moves = True
        one.clock.advance(LEASE + 2 * UTILIZATION_EVERY)
        self.assertEqual(len(one.utilization.started), before)
        published = [self.server.get(key) for key in self.server.values if key.count(b":") == 3]
        self.assertEqual(published, others)
        self.run_for(1.0)
        self.assertEqual(one.role(), "reader")
        self.assertEqual(sorted(self.roles()), ["holder", "reader", "reader"])
        self.run_for(60.0)
        self.assertEqual(len(one.utilization.started), before)

    def test_wakes_without_a_store(self) -> None:
        """Who wakes while the store is gone as well fetches for itself; that is no failure."""
        one = self.holder()
        self.run_for(1.0)  # the next fetch is due before the next renewal
        one.moves = False
        self.run_for(LEASE + UTILIZATION_EVERY)
        one.store.go()
        one.moves = True
        before = len(one.utilization.started)
        one.clock.advance(LEASE + UTILIZATION_EVERY)
        self.run_for(1.0)
        self.assertEqual((one.role(), one.status().last_error), ("alone", None))
        self.assertEqual(len(one.utilization.started), before + 1)

    def test_wakes_in_a_fetch(self) -> None:
        """What was being fetched when the holder stood still is not published."""
        one = self.holder()
        one.utilization.answer = None
        self.run_for(UTILIZATION_EVERY)
        self.assertEqual(len(one.utilization.open), 1)
        one.moves = False
        self.run_for(LEASE + UTILIZATION_EVERY)
        one.clock.rightNow += LEASE + UTILIZATION_EVERY
        publications = self.server.commands.count(b"EVAL:publish")
        one.utilization.gives(b'[{"name":"old","active_instance_count":1}]')
        one.moves = True
        one.clock.advance(0.0)
        self.assertEqual(self.server.commands.count(b"EVAL:publish"), publications)
        self.run_for(UTILIZATION_EVERY)
        self.assertEqual(one.role(), "reader")
        for each in self.replicas:
            self.assertEqual([ranked.name for ranked in each.plane.snapshot.ranking], ["a"])

    def test_wakes_while_publishing(self) -> None:
        """The store refuses a publication by one whose lease has expired meanwhile."""
        one = self.holder()
        for key in [key for key in self.server.values if key.endswith(b":lease")]:
            self.server.set(key, b"replica-9", b"30000")
        one.utilization.gives(b'[{"name":"old","active_instance_count":1}]')
        self.run_for(UTILIZATION_EVERY)
        self.assertEqual(one.role(), "reader")
        for each in self.replicas[1:]:
            self.assertEqual([ranked.name for ranked in each.plane.snapshot.ranking], ["a"])


class ShortLeaseTests(ReplicasTestCase):
    """A lease shorter than the interval."""

    lease = 1.0

    def test_gone(self) -> None:
        """The feed is fetched in time, and no earlier than it is due."""
        one = self.replica()
        self.replica()
        self.run_for(1.0)
        one.moves = False
        self.run_for(2.0)
        self.assertEqual(self.roles()[1], "holder")
        self.run_for(UTILIZATION_EVERY)
        self.assertEqual(len(self.fetches()), 2)
        self.assertLess(self.fetches()[1], 1.0 + UTILIZATION_EVERY)

    def test_long_interval(self) -> None:
        """The fetch comes within lease and interval, although the pauses vary by a tenth."""
        one = self.replica(started=False)
        one.jitter = 1.0
        one.plane.start()
        self.run_for(STEP)
        self.replica()
        self.run_for(0.9)
        one.moves = False
        self.run_for(MODELS_EVERY)
        self.assertEqual(len(self.fetches(CATALOG)), 2)
        self.assertLess(self.fetches(CATALOG)[1], 1.0 + self.lease + MODELS_EVERY)


class StoreFaultTests(ReplicasTestCase):
    """A store that is gone, or refuses."""

    def test_never_there(self) -> None:
        """Without a store each fetches for itself, after a moment that the store had to come up."""
        one = self.replica(started=False)
        one.store.go()
        one.plane.start()
        self.run_for(GRACE - 2 * STEP)
        self.assertEqual((one.utilization.started, one.role()), ([], None))
        self.run_for(1.0)
        self.assertEqual((len(one.utilization.started), one.role()), (1, "alone"))
        self.run_for(30.0)
        self.assertEqual(len(one.utilization.started), 3)

    def test_comes_up(self) -> None:
        """A store that comes up within the moment is used at once."""
        one = self.replica(started=False)
        one.store.go()
        one.plane.start()
        self.run_for(0.5)
        one.store.come()
        self.run_for(0.1)
        self.assertEqual(one.role(), "holder")
        self.assertEqual(len(one.utilization.started), 1)
        self.assertLess(one.utilization.started[0], GRACE)

    def test_gone_and_back(self) -> None:
        """Each fetches for itself when its data is due, and one for all when the store is back."""
        for _ in range(3):
            self.replica()
        self.run_for(31.0)
        for each in self.replicas:
            each.store.go()
        before = len(self.fetches())
        self.run_for(LEASE)
        self.assertEqual(self.roles(), ["alone"] * 3)
        self.assertEqual([len(each.utilization.started) for each in self.replicas[1:]], [2, 2])
        for each in self.replicas:
            age = each.clock.seconds() - (each.status().fetched_at or 0.0)
            self.assertLess(age, UTILIZATION_EVERY + 1.0)
        self.assertLess(len(self.fetches()), before + 7)
        for each in self.replicas:
            each.store.come()
        self.run_for(1.0)
        self.assertEqual(sorted(self.roles()), ["holder", "reader", "reader"])
        before = len(self.fetches())
        self.run_for(4 * UTILIZATION_EVERY)
        self.assertEqual(len(self.fetches()), before + 4)

    def test_own_lease(self) -> None:
        """A holder that lost the store for less than its lease goes on when it is back."""
        one, two = self.replica(), self.replica()
        self.run_for(28.0)
        one.store.go()
        self.run_for(5.0)
        one.store.come()
        self.run_for(1.0)
        self.assertEqual((one.role(), two.role()), ("holder", "reader"))
        apart = (two.status().fetched_at or 0.0) - (one.status().fetched_at or 0.0)
        self.assertLess(abs(apart), 0.2)
        self.assertGreater(two.status().fetched_at or 0.0, 29.0)

    def test_short_gap(self) -> None:
        """A gap of less than a lease changes nothing for the holder."""
        one = self.replica()
        self.run_for(1.0)
        one.store.go()
        self.run_for(LEASE / 2)
        self.assertEqual(one.role(), "holder")
        one.store.come()
        self.run_for(1.0)
        self.assertEqual(one.role(), "holder")

    def test_own_data_is_published(self) -> None:
        """What one fetched for itself goes to the others when the store is back, empty."""
        one, two = self.replica(), self.replica()
        self.run_for(1.0)
        for each in self.replicas:
            each.store.go()
        two.moves = False
        self.run_for(2 * LEASE)
        self.server.values.clear()
        one.store.come()
        self.run_for(0.5)
        self.assertEqual(one.role(), "holder")
        two.moves = True
        two.clock.advance(2 * LEASE + 0.5)
        two.store.come()
        self.run_for(0.5)
        self.assertEqual(two.role(), "reader")
        apart = (two.status().fetched_at or 0.0) - (one.status().fetched_at or 0.0)
        self.assertLess(abs(apart), 0.2)

    def test_full(self) -> None:
        """A store that takes no writes: all fetch for themselves, until it takes them again."""
        for _ in range(3):
            self.replica()
        self.run_for(31.0)
        self.server.full = True
        self.run_for(LEASE + UTILIZATION_EVERY)
        self.assertEqual(self.roles(), ["alone"] * 3)
        for each in self.replicas:
            age = each.clock.seconds() - (each.status().fetched_at or 0.0)
            self.assertLess(age, 1.2 * UTILIZATION_EVERY)
        self.server.full = False
        self.run_for(LEASE / 2)
        self.assertEqual(sorted(self.roles()), ["holder", "reader", "reader"])

    def test_forgets(self) -> None:
        """A store that loses everything is filled again, by a single fetch more at most."""
        for _ in range(3):
            self.replica()
        self.run_for(31.0)
        before = len(self.fetches())
        self.server.values.clear()
        self.run_for(LEASE)
        self.assertEqual(sorted(self.roles()), ["holder", "reader", "reader"])
        self.assertLessEqual(len(self.fetches()), before + 3)
        late = self.replica()
        self.run_for(1.0)
        self.assertIsNotNone(late.status().fetched_at)

    def test_body_lost(self) -> None:
        """A reader that finds the head without the body fetches for itself."""
        self.replica()
        self.run_for(1.0)
        for key in [key for key in self.server.values if key.endswith(b":0")]:
            del self.server.values[key]
        late = self.replica()
        self.run_for(1.0)
        self.assertEqual(late.role(), "alone")
        self.assertIsNotNone(late.status().fetched_at)
        self.run_for(UTILIZATION_EVERY)
        self.assertEqual(late.role(), "reader")

    def test_late(self) -> None:
        """A publication that the store carries out late would be too young, and is refused."""
        one = self.replica()
        self.run_for(1.0)
        two = self.replica()
        self.server.delay = 10.0
        self.run_for(UTILIZATION_EVERY)
        self.assertEqual(one.role(), "alone")
        self.server.delay = 0.0
        self.run_for(LEASE)
        self.assertEqual(sorted(self.roles()), ["holder", "reader"])
        self.assertIsNotNone(two.status().fetched_at)

    def test_foreign(self) -> None:
        """What another version published is not read; the feed is fetched all the same."""
        one = self.replica()
        self.run_for(1.0)
        (key,) = {
            key for key in self.server.values if b":utilization:" in key and key.count(b":") == 3
        }
        value, expires = self.server.values[key]
        self.server.values[key] = value.replace(b'"format":1', b'"format":9'), expires
        late = self.replica()
        self.run_for(1.0)
        self.assertEqual((late.role(), one.role()), ("alone", "holder"))
        self.assertIsNotNone(late.status().fetched_at)
        self.assertEqual(late.role(CATALOG), "reader")

    def test_nonsense(self) -> None:
        """Messages that are none change nothing."""
        one, two = self.replica(), self.replica()
        self.run_for(1.0)
        for message in (b"", b"free", b"1 ", b"1 {}", b"x {}", b"9" * 20 + b" {}"):
            for key in tuple(self.server.values):
                self.server.publish(key, message)
            self.run_for(0.1)
        self.run_for(2.0)
        self.assertEqual((one.role(), two.role()), ("holder", "reader"))


class SilentHolderTests(ReplicasTestCase):
    """A lease whose holder publishes nothing."""

    def test_first_news(self) -> None:
        """One without data waits some seconds, and then fetches for itself."""
        one = self.replica(started=False)
        one.utilization.answer = None
        one.plane.start()
        self.run_for(STEP)
        two = self.replica()
        self.run_for(FIRST_NEWS - 1.0)
        self.assertEqual((two.role(), two.utilization.started), ("reader", []))
        self.run_for(1.5)
        self.assertEqual((two.role(), len(two.utilization.started)), ("alone", 1))
        one.gives()
        one.utilization.gives(b'[{"name":"a","active_instance_count":1}]')
        self.run_for(1.0)
        self.assertEqual(two.role(), "reader")

    def test_stuck(self) -> None:
        """After the lease and more than one interval without news readers fetch for themselves."""
        one, two = self.replica(), self.replica()
        self.run_for(1.0)
        one.utilization.answer = None
        self.run_for(LEASE + UTILIZATION_EVERY)
        self.assertEqual((one.role(), two.role()), ("holder", "reader"))
        self.run_for(4.0)
        self.assertEqual((one.role(), two.role()), ("holder", "alone"))
        self.assertEqual(len(two.utilization.started), 1)


class FeedFaultTests(ReplicasTestCase):
    """A feed that cannot be fetched."""

    def test_from_one_host(self) -> None:
        """What keeps one replica from the feed does not keep the others: another takes over."""
        one, two = self.replica(), self.replica()
        self.run_for(1.0)
        one.utilization.fails(FetchError(NETWORK, "connection refused"))
        self.run_for(3 * UTILIZATION_EVERY)
        self.assertEqual((one.role(), two.role()), ("reader", "holder"))
        self.assertEqual(len(one.utilization.started), 2)
        for each in self.replicas:
            status = each.status()
            self.assertIsNone(status.last_error)
            self.assertLess(each.clock.seconds() - (status.fetched_at or 0.0), 16.0)

    def test_from_all(self) -> None:
        """A feed that is down is tried once an interval, by one after the other; all say why."""
        for _ in range(3):
            self.replica()
        self.run_for(1.0)
        for each in self.replicas:
            each.utilization.fails(FetchError(NETWORK, "connection refused"))
        before = len(self.fetches())
        self.run_for(10 * UTILIZATION_EVERY)
        tries = len(self.fetches()) - before
        self.assertTrue(8 <= tries <= 11, tries)
        for each in self.replicas:
            self.assertEqual(each.status().last_error, "connection refused")
            self.assertIn((UTILIZATION, NETWORK, 0), each.seen)
            self.assertLess(abs((each.status().failing_since or 0.0) - 15.0), 1.0)
            self.assertLess(abs((each.status().fetched_at or 0.0) - 0.0), 0.5)
        self.assertLessEqual(self.roles().count("holder"), 1)

    def test_alone_on_earth(self) -> None:
        """A single replica whose feed fails keeps its pace."""
        one = self.replica()
        one.utilization.fails(FetchError(NETWORK, "connection refused"))
        self.run_for(10 * UTILIZATION_EVERY)
        self.assertTrue(9 <= len(self.fetches()) <= 11, self.fetches())
        one.gives()
        self.run_for(UTILIZATION_EVERY + 1.0)
        self.assertIsNone(one.status().last_error)
        self.assertEqual(one.role(), FeedRole.HOLDER)
