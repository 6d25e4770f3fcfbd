"""Tests of the control plane of a worker; test_feed_publisher.py compares it with its parent's."""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet.task import Clock

from autopilot.feeds.polling import CATALOG
from autopilot.feeds.received_snapshots import ReceivedSnapshots
from autopilot.feeds.shared_snapshot import FeedHead, pieces
from autopilot.http.fetch_error import OK
from autopilot.routing.steps import STEP
from tests.unit.feeds.planes import PlaneTestCase
from tests.unit.feeds.test_snapshot_steps import catalog


class ReceivedSnapshotsTests(PlaneTestCase):
    """A plane that is sent frames."""

    make_clock = Clock

    def setUp(self) -> None:
        """Build a plane."""
        super().setUp()
        self.worker = ReceivedSnapshots(self.clock, lambda: 0.0, self.activity)
        self.clock.advance(50.0)

    def send(self, body: bytes) -> None:
        """Send a catalog that was fetched 3 seconds ago."""
        head = FeedHead(CATALOG, "1", len(body), 3.0, None, None, OK, 200.0)
        for piece in pieces(head, body):
            self.worker.frame(piece)

    def test_nothing_yet(self) -> None:
        """Before the first frame there is no data, and nothing to do."""
        self.worker.start()
        self.assertIsNone(self.worker.snapshot.catalog)
        self.assertEqual(self.worker.refreshed_in(), 1)
        self.assertEqual([status.fetched_at for status in self.worker.statuses], [None, None])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_in_steps(self) -> None:
        """Thousands of records are read in many turns of the reactor."""
        many = 4 * STEP
        self.send(catalog(many))
        self.assertIsNone(self.worker.snapshot.catalog)
        with patch.object(self.clock, "callLater", wraps=self.clock.callLater) as later:
            self.clock.advance(0.0)
        self.assertGreater(later.call_count, many // STEP)
        assert self.worker.snapshot.catalog is not None
        self.assertEqual(len(self.worker.snapshot.catalog), many)
        self.assertEqual(self.worker.snapshot.catalog_at, 47.0)
        self.assertEqual(self.worker.refreshed_in(CATALOG), 201)

    def test_nonsense(self) -> None:
        """What is not a frame of a feed is refused."""
        with self.assertRaises(ValueError):
            self.worker.frame(b"nonsense")

    def test_stop(self) -> None:
        """A stop leaves nothing behind."""
        self.send(catalog(4 * STEP))
        self.successResultOf(self.worker.stop())
        self.send(catalog(4 * STEP))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.worker.snapshot.catalog)
