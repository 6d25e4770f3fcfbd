"""Tests of the snapshot made from both feeds."""

from __future__ import annotations

import dataclasses

from twisted.internet.defer import Deferred

from autopilot.http.fetch_error import OK
from tests.unit.feeds.planes import MODELS_EVERY, UTILIZATION_EVERY, PlaneTestCase
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body


class SnapshotTests(PlaneTestCase):
    """The snapshot, refresh by refresh."""

    def test_before_any_fetch(self) -> None:
        """Before the first success the snapshot is empty."""
        self.plane.start()
        snapshot = self.plane.snapshot
        self.assertEqual((snapshot.catalog, snapshot.ranking), (None, ()))
        self.assertEqual((snapshot.catalog_at, snapshot.utilization_at), (None, None))
        self.assertEqual(
            [status.name for status in self.plane.statuses], ["catalog", "utilization"]
        )

    def test_both_arrive(self) -> None:
        """Each feed is stamped with the time of its arrival; the status counts its records."""
        self.plane.start()
        self.clock.advance(1.0)
        self.models.gives(catalog_body(entry("a"), entry("b"), 5))
        self.clock.advance(2.0)
        self.utilization.gives(utilization_body(record("a"), record("other-TEE")))
        snapshot = self.plane.snapshot
        self.assertEqual([ranked.name for ranked in snapshot.ranking], ["a"])
        self.assertEqual((snapshot.catalog_at, snapshot.utilization_at), (1.0, 3.0))
        catalog, utilization = self.plane.statuses
        self.assertEqual((catalog.size, catalog.rejected, catalog.fetched_at), (2, 1, 1.0))
        self.assertEqual((utilization.size, utilization.rejected), (2, 0))
        self.assertEqual(self.seen, [("catalog", OK, 1), ("utilization", OK, 0)])

    def test_measured(self) -> None:
        """The feed's own times are set on the router's clock; one to come counts as now."""
        self.plane.start()
        self.clock.advance(5.0)
        self.utilization.gives(utilization_body(record("a")))
        self.assertEqual(self.plane.snapshot.measured_at, 5.0 - 1805.0)
        self.models.gives(catalog_body(entry("a")))
        self.assertEqual(self.plane.snapshot.measured_at, 5.0 - 1805.0)
        self.utilization.gives(utilization_body(record("a", timestamp="2100-01-01T00:00:00")))
        self.clock.advance(15.0)
        self.assertEqual(self.plane.snapshot.measured_at, 20.0)
        self.utilization.gives(utilization_body(record("a", timestamp=None)))
        self.clock.advance(15.0)
        self.assertIsNone(self.plane.snapshot.measured_at)

    def test_catalog_change_ranks_again(self) -> None:
        """A new catalog re-ranks the current loads at once, without changing their age."""
        self.utilization.gives(utilization_body(record("a"), record("b"), record("c-TEE")))
        self.plane.start()
        before = self.plane.snapshot
        self.assertEqual([ranked.name for ranked in before.ranking], ["c-TEE"])
        self.clock.advance(1.0)
        self.models.gives(catalog_body(entry("a"), entry("b")))
        self.assertEqual([ranked.name for ranked in self.plane.snapshot.ranking], ["a", "b"])
        self.models.gives(catalog_body(entry("b")))
        self.utilization.answer = Deferred
        self.clock.advance(300.0)
        after = self.plane.snapshot
        self.assertEqual([ranked.name for ranked in after.ranking], ["b"])
        self.assertEqual((after.catalog_at, after.utilization_at), (301.0, 0.0))
        self.assertEqual([ranked.name for ranked in before.ranking], ["c-TEE"])

    def test_replaced_whole(self) -> None:
        """An earlier snapshot does not change."""
        self.plane.start()
        with self.assertRaises(dataclasses.FrozenInstanceError):
            self.plane.snapshot.catalog_at = 5.0  # type: ignore[misc]

    def test_refreshed_in(self) -> None:
        """Whole seconds until a feed, or the sooner of both, has been refreshed."""
        self.assertEqual(self.plane.refreshed_in(), 1)
        self.plane.start()
        self.assertEqual(self.plane.refreshed_in(), 1)
        self.models.gives(catalog_body(entry()))
        self.utilization.gives(utilization_body(record()))
        self.assertEqual(self.plane.refreshed_in(), 16)
        self.assertEqual(self.plane.refreshed_in("catalog"), 301)
        self.clock.advance(12.5)
        self.assertEqual(self.plane.refreshed_in("utilization"), 3)
        self.assertEqual(self.plane.refreshed_in("catalog"), 288)
        self.utilization.answer = None
        self.clock.advance(2.5)
        self.assertEqual(self.plane.refreshed_in("utilization"), 1)
        self.clock.advance(100)
        self.assertEqual(self.plane.refreshed_in(), 1)
        self.assertEqual(self.plane.refreshed_in("catalog"), 186)
        self.successResultOf(self.plane.stop())
        self.assertEqual(self.plane.refreshed_in(), 1)

    def test_empty_catalog(self) -> None:
        """An empty catalog is an answer: it was fetched, and has no content."""
        self.models.gives(catalog_body())
        self.plane.start()
        snapshot = self.plane.snapshot
        assert snapshot.catalog is not None
        self.assertEqual((snapshot.catalog_at, len(snapshot.catalog)), (0.0, 0))
        self.assertIsNone(self.plane.statuses[0].last_error)

    def test_utilization_without_records(self) -> None:
        """A utilization feed without a readable record is a failed refresh; the last data ages."""
        self.models.gives(catalog_body(entry()))
        self.utilization.gives(utilization_body(record()))
        self.plane.start()
        good = self.plane.snapshot
        for body, why in ((b"[]", "no records"), (b"[{}]", "1 of 1 records unreadable")):
            self.utilization.gives(body)
            self.clock.advance(UTILIZATION_EVERY)
            self.assertIs(self.plane.snapshot, good)
            status = self.plane.statuses[1]
            self.assertEqual((status.last_error, status.fetched_at, status.size), (why, 0.0, 1))
        self.assertEqual(self.plane.snapshot.utilization_at, 0.0)
        # A changed catalog is ranked by the last good loads.
        self.models.gives(catalog_body(entry(), entry("b")))
        self.clock.advance(MODELS_EVERY)
        self.assertEqual(self.plane.snapshot.ranking, good.ranking)
        self.utilization.gives(utilization_body(record()))
        self.clock.advance(UTILIZATION_EVERY)
        self.assertIsNone(self.plane.statuses[1].last_error)

    def test_no_records_yet(self) -> None:
        """A first utilization feed without records is no data, so the snapshot stays missing."""
        self.utilization.gives(b"[]")
        self.plane.start()
        self.assertIsNone(self.plane.snapshot.utilization_at)
