"""Tests of a control plane that keeps the bodies for others."""

from __future__ import annotations

from unittest.mock import patch

from autopilot.feeds import control_plane
from autopilot.feeds.polling import CATALOG, UTILIZATION
from autopilot.feeds.snapshot_service import SnapshotService
from autopilot.http.fetch_error import NETWORK, OK, FetchError
from tests.unit.feeds.planes import MODELS_EVERY, UTILIZATION_EVERY, PlaneTestCase
from tests.unit.feeds.records import MEASURED, catalog_body, entry, record, utilization_body


class KeptBodyTests(PlaneTestCase):
    """The bodies of a plane whose feeds others read too."""

    def setUp(self) -> None:
        """Build a plane that keeps bodies."""
        super().setUp()
        self.plane = SnapshotService(
            self.clock,
            self.models.fetch,
            self.utilization.fetch,
            MODELS_EVERY,
            UTILIZATION_EVERY,
            lambda: 0.0,
            lambda *event: self.seen.append(event),
            lambda: MEASURED + 1800.0 + self.clock.seconds(),
            keeps_bodies=True,
        )
        self.plane.start()

    def test_nothing_yet(self) -> None:
        """Before the first fetch there is a head, but no version and no body."""
        head, body = self.plane.publication(CATALOG)
        self.assertEqual((head.name, head.version, head.size, head.age), (CATALOG, "", 0, None))
        self.assertIsNone(body)

    def test_publication(self) -> None:
        """The body is the one that was fetched; the head has its age, and when the next is due."""
        fetched = utilization_body(record())
        self.utilization.gives(fetched)
        self.clock.advance(4.0)
        head, body = self.plane.publication(UTILIZATION)
        self.assertIs(body, fetched)
        self.assertEqual((head.version, head.size, head.age), ("1", len(fetched), 4.0))
        self.assertEqual((head.due_in, head.outcome), (11.0, OK))

    def test_same_body(self) -> None:
        """The same body again counts as fetched, keeps its version, and is not parsed."""
        self.models.gives(catalog_body(entry("a"), 5))
        self.utilization.gives(utilization_body(record("a")))
        before = self.plane.snapshot
        with patch.object(control_plane, "catalog_steps", side_effect=AssertionError):
            self.clock.advance(MODELS_EVERY)
        self.assertEqual(self.plane.snapshot.catalog_at, MODELS_EVERY)
        self.assertIs(self.plane.snapshot.catalog, before.catalog)
        status = self.plane.statuses[0]
        self.assertEqual((status.fetched_at, status.size, status.rejected), (300.0, 1, 1))
        self.assertEqual(self.seen[-1], (CATALOG, OK, 1))
        self.assertEqual(self.plane.publication(CATALOG)[0].version, "1")
        with patch.object(control_plane, "utilization_steps", side_effect=AssertionError):
            self.clock.advance(UTILIZATION_EVERY)
        after = self.plane.snapshot
        self.assertEqual((after.utilization_at, after.measured_at), (315.0, before.measured_at))

    def test_other_body(self) -> None:
        """Another body has another version."""
        self.models.gives(catalog_body(entry("a")))
        self.models.gives(catalog_body(entry("b")))
        self.clock.advance(MODELS_EVERY)
        self.assertEqual(self.plane.publication(CATALOG)[0].version, "2")
        assert self.plane.snapshot.catalog is not None
        self.assertEqual(list(self.plane.snapshot.catalog.models), ["b"])

    def test_failed(self) -> None:
        """A failed refresh keeps the body, and its reason is published."""
        fetched = catalog_body(entry("a"))
        self.models.gives(fetched)
        self.models.fails(FetchError(NETWORK, "connection refused"))
        self.clock.advance(MODELS_EVERY)
        self.models.gives(b"{}")
        self.clock.advance(5.0)
        head, body = self.plane.publication(CATALOG)
        self.assertIs(body, fetched)
        self.assertEqual((head.version, head.age, head.failing_for), ("1", 305.0, 5.0))
        self.assertEqual((head.last_error, head.outcome), ("connection refused", NETWORK))


class ForgottenBodyTests(PlaneTestCase):
    """The bodies of a plane that has no readers."""

    def test_not_kept(self) -> None:
        """A process without readers keeps no body, and reads each one."""
        self.models.gives(catalog_body(entry("a")))
        self.plane.start()
        self.assertIsNone(self.plane.publication(CATALOG)[1])
        before = self.plane.snapshot.catalog
        self.clock.advance(MODELS_EVERY)
        self.assertIsNot(self.plane.snapshot.catalog, before)
