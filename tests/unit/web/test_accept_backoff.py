"""Tests of a port without a free descriptor for a client."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.web.accept_backoff import MOST_ACCEPTED, accept_in_turns, pause_when_exhausted


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


class TurnTests(SynchronousTestCase):
    """The number of clients accepted in one turn."""

    def test_bounded(self) -> None:
        """However many have come before, a turn accepts no more than the limit."""
        accepted: list[int] = []

        class Port:
            numberAccepts = 100  # noqa: N815  Twisted's name

            def doRead(self) -> None:
                accepted.append(self.numberAccepts)
                self.numberAccepts += 20

        port = Port()
        accept_in_turns(port)
        for _ in range(3):
            port.doRead()
        port.numberAccepts = 1
        port.doRead()
        self.assertEqual(accepted, [MOST_ACCEPTED] * 3 + [1])

    def test_other_ports(self) -> None:
        """A port of another kind is left as it is."""
        port = _Port(Logger())
        accept_in_turns(port)
        self.assertFalse(hasattr(port, "doRead"))
