"""Tests of which process fetches the feeds, and which receives them."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.polling import CATALOG
from autopilot.feeds.received_snapshots import ReceivedSnapshots
from autopilot.feeds.snapshot_service import SnapshotService
from autopilot.http.fetch_error import OK
from autopilot.routing.steps import result_of
from autopilot.settings import Settings
from autopilot.wiring.parts import Parts
from autopilot.wiring.role import Place, Role
from tests.unit.feeds.records import catalog_body, entry

BODY = catalog_body(entry("a"))


class Pulled(StringTransport):
    """A transport that takes what is written at once."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """See `ITransport`."""
        super().registerProducer(producer, streaming)
        while self.producer is not None:
            self.producer.resumeProducing()


class FeedsByRoleTests(SynchronousTestCase):
    """The control plane of each process of a router."""

    def parts(self, place: Place) -> Parts:
        """Return the parts of a process."""
        role = replace(Role.first(None), place=place)
        return Parts(Settings(), MemoryReactorClock(), role=role)

    def test_single(self) -> None:
        """A process on its own fetches, and keeps nothing for others."""
        parts = self.parts(Place.SINGLE)
        self.assertIsInstance(parts.control, SnapshotService)
        self.assertIsNone(parts.publisher)
        result_of(parts.control.read(CATALOG, BODY))
        self.assertEqual(parts.control._bodies, {})

    def test_parent_and_worker(self) -> None:
        """A worker has what its parent fetched, and neither counts nor fetches anything itself."""
        parent, worker = self.parts(Place.PARENT), self.parts(Place.WORKER)
        assert isinstance(parent.control, SnapshotService)
        assert isinstance(worker.control, ReceivedSnapshots)
        assert parent.publisher is not None
        self.assertIsNone(worker.publisher)
        worker.control.start()
        self.assertEqual(worker._reactor.getDelayedCalls(), [])
        pipe = Pulled()
        parent.publisher.join(worker.control.frame, pipe)
        polling = parent.control._polls[CATALOG]
        polling._succeeded(result_of(parent.control.read(CATALOG, BODY)))
        parent._reactor.advance(0.0)
        self.assertEqual(worker.control.snapshot.catalog, parent.control.snapshot.catalog)
        self.assertEqual(worker.readiness().feeds[0], parent.readiness().feeds[0])
        self.assertEqual(parent.metrics._refreshes.values[(CATALOG, OK)], 1)
        self.assertEqual(worker.metrics._refreshes.values[(CATALOG, OK)], 0)
        parent.publisher.stop()
