"""Tests of feeds that replicas share, with one of them fetching."""

from __future__ import annotations

from autopilot.feeds.polling import CATALOG, UTILIZATION
from autopilot.http.fetch_error import OK
from tests.unit.feeds.replicas import MODELS_EVERY, ReplicasTestCase


class SharingTests(ReplicasTestCase):
    """Replicas whose store is well."""

    def test_one_fetches(self) -> None:
        """Of three replicas one fetches, at the usual intervals, and all have its data."""
        for _ in range(3):
            self.replica()
        self.run_for(2 * MODELS_EVERY + 1.0)
        self.assertEqual(self.roles(), ["holder", "reader", "reader"])
        self.assertEqual(len(self.fetches()), 41)
        self.assertEqual(len(self.fetches(CATALOG)), 3)
        first, *others = (each.plane.snapshot for each in self.replicas)
        for other in others:
            self.assertEqual((other.catalog, other.ranking), (first.catalog, first.ranking))
            assert other.utilization_at is not None
            assert first.utilization_at is not None
            self.assertLess(abs(other.utilization_at - first.utilization_at), 0.2)

    def test_observed(self) -> None:
        """A reader's refreshes are those of the holder, unreadable records included."""
        one = self.replica(started=False)
        one.gives(utilization=b'[{"name":"a","active_instance_count":1},5]')
        one.plane.start()
        two = self.replica()
        self.run_for(1.0)
        self.assertIn((UTILIZATION, OK, 1), two.seen)
        self.assertEqual(two.status().rejected, 1)
        self.assertEqual(two.plane.refreshed_in(), one.plane.refreshed_in())

    def test_late_reader(self) -> None:
        """One that starts later counts the age from the fetch, not from its own start."""
        self.replica()
        self.run_for(7.0)
        late = self.replica()
        self.run_for(1.0)
        fetched_at = late.status().fetched_at
        assert fetched_at is not None
        self.assertLess(abs(late.clock.seconds() - fetched_at - 8.0), 0.2)
        self.assertEqual(late.utilization.started, [])
        self.run_for(2.0)
        self.assertEqual(late.plane.snapshot.utilization_at, fetched_at)

    def test_workers(self) -> None:
        """What a reader has read it can pass on to its workers, as the holder can."""
        self.replica()
        self.replica()
        self.run_for(1.0)
        for each in self.replicas:
            head, body = each.plane.publication(UTILIZATION)
            assert body is not None
            self.assertEqual((head.version, head.size), ("1", len(body)))

    def test_unchanged(self) -> None:
        """A body that does not change is written once, and kept for as long as it is read."""
        one, two = self.replica(), self.replica()
        self.run_for(3 * MODELS_EVERY + 5.0)
        self.assertEqual(len(self.fetches(CATALOG)), 4)
        self.assertEqual(two.plane.publication(CATALOG)[0].version, "1")
        late = self.replica()
        self.run_for(MODELS_EVERY)
        self.assertEqual(late.plane.snapshot.catalog, one.plane.snapshot.catalog)
        self.assertLess(late.clock.seconds() - (late.status(CATALOG).fetched_at or 0.0), 301.0)

    def test_other_urls(self) -> None:
        """Routers that fetch from other URLs, or have another hash key, do not read these feeds."""
        self.replica()
        others = [
            self.replica(url="https://b.test", started=False),
            self.replica(key=b"other", started=False),
        ]
        for each in others:
            each.plane.start()
        self.run_for(20.0)
        self.assertEqual(self.roles(), ["holder"] * 3)
        self.assertEqual(len(self.fetches()), 6)

    def test_stop(self) -> None:
        """A holder that stops gives the lease up, and another takes over within two seconds."""
        one, two = self.replica(), self.replica()
        self.run_for(1.0)
        stopped = one.plane.stop()
        self.run_for(0.1)
        self.successResultOf(stopped)
        self.successResultOf(one.plane.stop())
        one.moves = False
        self.assertEqual(one.clock.getDelayedCalls(), [])
        self.run_for(2.0)
        self.assertEqual(two.role(), "holder")
        self.assertEqual(len(self.fetches()), 1)
        self.run_for(14.0)
        self.assertEqual(len(two.utilization.started), 1)

    def test_stop_without_reply(self) -> None:
        """A stop waits a second for a store that does not answer, and leaves nothing behind."""
        one = self.replica()
        self.run_for(1.0)
        one.store.silent = True
        stopped = one.plane.stop()
        self.assertNoResult(stopped)
        self.run_for(1.1)
        self.successResultOf(stopped)
        self.assertEqual(one.clock.getDelayedCalls(), [])
