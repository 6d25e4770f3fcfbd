"""Tests of which process fetches the feeds, and which receives them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.control_plane import ControlPlane
from autopilot.feeds.polling import CATALOG
from autopilot.feeds.received_snapshots import ReceivedSnapshots
from autopilot.feeds.shared_snapshots import SharedSnapshots
from autopilot.feeds.snapshot_service import SnapshotService
from autopilot.http.fetch_error import OK
from autopilot.process.hold_watch import Activity
from autopilot.routing.steps import result_of
from autopilot.settings import Settings
from autopilot.wiring.feeds import control_plane, role_instrument
from autopilot.wiring.parts import Parts
from autopilot.wiring.role import Place, Role
from tests.unit.feeds.records import catalog_body, entry
from tests.unit.feeds.replicas import MemoryStore, Server

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


class SharedFeedsTests(SynchronousTestCase):
    """The control plane of `FEEDS=shared`."""

    def plane(
        self, place: Place, feeds: Literal["own", "shared"], store: MemoryStore | None
    ) -> ControlPlane:
        """Return the control plane of a process."""
        settings = Settings(feeds=feeds, state_url="redis://127.0.0.1:1", sticky_hash_key=b"k" * 32)
        role = replace(Role.first(b"k" * 32), place=place)
        agent: Any = self
        return control_plane(role, settings, Clock(), agent, self.observed, Activity(), store)

    def observed(self, *_event: object) -> None:
        """Do nothing."""

    def test_by_settings(self) -> None:
        """Who polls shares if the settings say so and there is a store; a worker never does."""
        store = MemoryStore(Server(), Clock())
        for place in (Place.SINGLE, Place.PARENT):
            self.assertIsInstance(self.plane(place, "shared", store), SharedSnapshots)
            self.assertIsInstance(self.plane(place, "own", store), SnapshotService)
            self.assertIsInstance(self.plane(place, "shared", None), SnapshotService)
        self.assertIsInstance(self.plane(Place.WORKER, "shared", store), ReceivedSnapshots)

    def test_role(self) -> None:
        """The metric says what the router does for a feed, once it knows."""
        plane = self.plane(Place.SINGLE, "shared", MemoryStore(Server(), Clock()))
        instrument = role_instrument(plane)
        self.assertNotIn("{", instrument.exposition())
        with patch.object(plane, "roles", return_value={CATALOG: "holder"}):
            line = 'chutes_autopilot_feed_role{feed="catalog",role="holder"} 1'
            self.assertIn(line, instrument.exposition())
        self.assertEqual(self.plane(Place.SINGLE, "own", None).roles(), {})
