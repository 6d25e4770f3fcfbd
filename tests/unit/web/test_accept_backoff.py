"""Tests of a port without a free descriptor for a client."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.web.accept_backoff import pause_when_exhausted


class _Port:
    """A simulation of Twisted's port."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self.connected = self.reading = True
        self.disconnecting = False

    def turns_away(self) -> None:
        """Log a failed accept as Twisted does."""
        self._logger.info("Closed socket from {address}", address=("192.0.2.7", 1))

    def stopReading(self) -> None:
        """Record the pause."""
        self.reading = False

    def startReading(self) -> None:  # noqa: N802
        """Record the end of the pause."""
        self.reading = True


class ExhaustionTests(SynchronousTestCase):
    """The port's pauses and its log."""

    def setUp(self) -> None:
        """Capture the log."""
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.clock = Clock()
        self.port = _Port(Logger())
        pause_when_exhausted(self.port, self.clock)

    def test_report(self) -> None:
        """At most one line a minute is logged, without an address."""
        for _ in range(120):
            self.port.turns_away()
            self.clock.advance(1)
        self.assertEqual([event["log_level"].name for event in self.events], ["warn", "warn"])
        self.assertNotIn("192.0.2.7", str(self.events))

    def test_pause(self) -> None:
        """The port pauses once for several failures."""
        for _ in range(3):
            self.port.turns_away()
        self.assertFalse(self.port.reading)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(1)
        self.assertTrue(self.port.reading)
        self.port.turns_away()
        self.assertFalse(self.port.reading)

    def test_closed_meanwhile(self) -> None:
        """A port closed during the pause stays closed."""
        for closed in ({"connected": False}, {"disconnecting": True}):
            self.setUp()
            self.port.turns_away()
            vars(self.port).update(closed)
            self.clock.advance(1)
            self.assertFalse(self.port.reading)

    def test_other_ports(self) -> None:
        """Another kind of port is left unchanged."""
        for logger in (None, "other"):
            port = _Port(logger)
            pause_when_exhausted(port, self.clock)
            self.assertIs(port._logger, logger)
        pause_when_exhausted(object(), self.clock)
