"""Tests of the watch on the reactor, by a clock of their own."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.process.hold_watch import HoldWatch, Report

MARKS = ("trial",)


class Measured:
    """A reactor that measures its own turns."""

    report_hold: Report | None = None


class HoldWatchTests(SynchronousTestCase):
    """What is counted, and what is logged."""

    def setUp(self) -> None:
        """Watch a clock."""
        self.clock = Clock()
        self.observed: list[float] = []
        self.watch = HoldWatch(self.clock, self.observed.append)
        self.logged = EventLoggingObserver()
        globalLogPublisher.addObserver(self.logged)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged)

    def lines(self) -> list[str]:
        """Return the lines logged so far."""
        return [formatEvent(event) for event in self.logged]

    def test_late_timer(self) -> None:
        """Without the reactor's help a timer's delay shows that it was held."""
        self.watch.start()
        self.watch.start()
        for seconds in (0.1, 0.1, 0.102):
            self.clock.advance(seconds)
        self.assertEqual(self.observed, [])
        self.clock.advance(0.5)
        self.assertEqual([round(each, 3) for each in self.observed], [0.4])
        self.assertEqual(self.lines(), ["The reactor was held 400 ms by unknown code"])
        self.watch.stop()
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reactor(self) -> None:
        """A reactor that measures its turns reports them, and needs no timer."""
        reactor = Measured()
        self.watch.measure(reactor)
        self.watch.start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        assert reactor.report_hold is not None
        reactor.report_hold(0.007, "timers")
        reactor.report_hold(0.051, "events of 1 x Connection")
        self.assertEqual(self.observed, [0.007, 0.051])
        self.assertEqual(self.lines(), ["The reactor was held 51 ms by events of 1 x Connection"])

    def test_two_routers(self) -> None:
        """A reactor reports to one router; another one uses its timer, until the first stops."""
        reactor, other = Measured(), HoldWatch(self.clock, lambda seconds: None)
        self.watch.measure(reactor)
        other.measure(reactor)
        other.start()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        other.stop()
        self.assertEqual(reactor.report_hold, self.watch.held)
        self.watch.stop()
        self.assertIsNone(reactor.report_hold)
        other.measure(reactor)
        self.assertEqual(reactor.report_hold, other.held)

    def test_work(self) -> None:
        """The work that began last is named, if it began in that turn."""
        self.clock.advance(10.0)
        self.watch.activity.latest = "reading a request", 9.9
        self.watch.held(0.09, "timers")
        self.clock.advance(60)
        self.watch.activity.latest = "rendering /metrics", self.clock.seconds() - 0.0705
        self.watch.held(0.07, "timers")
        self.assertEqual(
            self.lines(),
            [
                "The reactor was held 90 ms by timers",
                "The reactor was held 70 ms by timers, last rendering /metrics",
            ],
        )

    def test_work_behind_a_timer(self) -> None:
        """A timer that is late does not know when the turn began, but within its period."""
        self.watch.start()
        self.clock.advance(0.1)
        self.watch.activity.latest = "reading the catalog feed", self.clock.seconds() + 0.05
        self.clock.advance(0.3)
        self.assertEqual(
            self.lines(),
            ["The reactor was held 200 ms by unknown code, last reading the catalog feed"],
        )
        self.watch.stop()

    def test_other_reactor(self) -> None:
        """Any other reactor is watched by the timer all the same."""
        self.watch.measure(self.clock)
        self.watch.start()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_one_line_a_minute(self) -> None:
        """Within a minute the longest is kept for the next line, with the number of the others."""
        for seconds in (0.1, 0.3, 0.2, 0.01):
            self.watch.held(seconds, f"{seconds}")
        self.assertEqual(len(self.lines()), 1)
        self.clock.advance(60)
        self.watch.held(0.06, "last")
        self.assertEqual(
            self.lines()[1:], ["The reactor was held 300 ms by 0.3, and 2 times for less"]
        )
        self.assertEqual(len(self.observed), 5)
