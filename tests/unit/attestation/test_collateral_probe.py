"""Tests of the probe of Intel's service."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.collateral_probe import PERIOD, CollateralProbe
from autopilot.http.fetch import FetchedResponse
from autopilot.http.fetch_error import NETWORK, FetchError


class CollateralProbeTests(SynchronousTestCase):
    """`CollateralProbe`."""

    def setUp(self) -> None:
        """Start a probe."""
        self.clock = Clock()
        self.fetches: list[Deferred[FetchedResponse]] = []
        self.cancelled: list[object] = []
        self.has_data = False
        self.probe = CollateralProbe(self.clock, self.fetch, lambda: self.has_data)
        self.probe.start()
        self.addCleanup(self.probe.stop)

    def fetch(self) -> Deferred[FetchedResponse]:
        """Begin a fetch."""
        self.fetches.append(Deferred(self.cancelled.append))
        return self.fetches[-1]

    def test_reached(self) -> None:
        """Once is enough."""
        self.assertFalse(self.probe.failed)
        self.fetches[0].callback(FetchedResponse(200, b""))
        self.clock.pump([PERIOD] * 3)
        self.assertFalse(self.probe.failed)
        self.assertEqual(len(self.fetches), 1)

    def test_failed(self) -> None:
        """A failure is said once, and tried again; what a bug says is not passed on."""
        with capturedLogs() as logs:
            self.fetches[0].callback(FetchedResponse(503, b""))
            self.assertTrue(self.probe.failed)
            for error in (FetchError(NETWORK, "connection refused"), ZeroDivisionError("canary")):
                self.clock.advance(PERIOD)
                self.fetches[-1].errback(error)
                self.assertTrue(self.probe.failed)
        self.assertEqual(len(logs), 2)
        self.assertIn("(status 503)", formatEvent(logs[0]) or "")
        self.assertNotIn("canary", repr(logs))
        self.clock.advance(PERIOD)
        self.fetches[-1].callback(FetchedResponse(200, b""))
        self.assertFalse(self.probe.failed)

    def test_needless(self) -> None:
        """With data it does not matter, and is not tried."""
        self.fetches[0].callback(FetchedResponse(503, b""))
        self.has_data = True
        self.assertFalse(self.probe.failed)
        self.clock.advance(PERIOD)
        self.assertEqual(len(self.fetches), 1)

    def test_stop(self) -> None:
        """Stopping ends the fetch, which is no failure."""
        self.probe.stop()
        self.assertEqual(len(self.cancelled), 1)
        self.assertFalse(self.probe.failed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
