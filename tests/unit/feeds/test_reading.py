"""Tests of computations in steps: a turn of the reactor for each, and none after the end."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.reading import run_in_steps
from autopilot.process.hold_watch import Activity
from autopilot.routing.steps import Steps


class RunInStepsTests(SynchronousTestCase):
    """A computation of three steps."""

    def setUp(self) -> None:
        """Note the steps."""
        self.clock = Clock()
        self.activity = Activity()
        self.taken: list[int] = []

    def steps(self, fails_at: int = 0) -> Steps[str]:
        """Take three steps, or fail in one."""
        for number in (1, 2, 3):
            self.taken.append(number)
            if number == fails_at:
                raise ZeroDivisionError
            if number < 3:
                yield
        return "done"

    def run_(self, fails_at: int = 0) -> Deferred[str]:
        """Begin."""
        return run_in_steps(self.clock, self.activity, "reading", self.steps(fails_at))

    def test_turns(self) -> None:
        """The first step is taken at once, each further one in a turn of its own."""
        running = self.run_()
        self.assertEqual(self.taken, [1])
        (call,) = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime(), 0)
        self.assertNoResult(running)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(running), "done")
        self.assertEqual(self.taken, [1, 2, 3])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_between(self) -> None:
        """What is due between two steps runs between them."""
        running = self.run_()
        seen: list[int] = []
        self.clock.callLater(0, lambda: seen.extend(self.taken))
        self.clock.advance(0)
        self.assertEqual(seen, [1, 2])
        self.successResultOf(running)

    def test_noted(self) -> None:
        """Each step is noted with its time, so that a long one has a name."""
        self.clock.advance(5)
        running = self.run_()
        self.assertEqual(self.activity.latest, ("reading", 5))
        self.activity.latest = "another", 6.0
        self.clock.advance(2)
        self.assertEqual(self.activity.latest, ("reading", 7))
        self.successResultOf(running)

    def test_fails(self) -> None:
        """A step that fails ends the computation, the first one too."""
        for place in (1, 2):
            running = self.run_(fails_at=place)
            self.clock.advance(0)
            self.failureResultOf(running, ZeroDivisionError)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """Cancelling ends it before its next step."""
        running = self.run_()
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.taken, [1])
