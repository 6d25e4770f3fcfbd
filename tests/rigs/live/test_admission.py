"""Admission of calls: count, pace and closing."""

from __future__ import annotations

from collections.abc import Awaitable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.live.admission import HARD_CAP, CallAdmission, ClosedError


class AdmissionTests(SynchronousTestCase):
    """Calls that last as long as the test wants."""

    def setUp(self) -> None:
        """Start with no call."""
        self.clock = Clock()
        self.begun: list[float] = []
        self.running: list[Deferred[str]] = []

    def call(self) -> Awaitable[str]:
        """Make a call that lasts until the test ends it."""
        self.begun.append(self.clock.seconds())
        self.running.append(Deferred())
        return self.running[-1]

    def take(self, turns: CallAdmission) -> Deferred[str]:
        """Request admission."""
        return Deferred.fromCoroutine(turns.run(self.call))

    def end(self) -> None:
        """End the current call."""
        self.running.pop().callback("said")

    def test_pace(self) -> None:
        """The pause runs from the end of a call to the beginning of the next."""
        turns = CallAdmission(self.clock, pace=2.0)
        first, second = self.take(turns), self.take(turns)
        self.clock.advance(10.0)
        self.assertEqual(self.begun, [0.0])
        self.end()
        self.assertEqual(self.successResultOf(first), "said")
        self.clock.advance(1.9)
        self.assertEqual(self.begun, [0.0])
        self.clock.advance(0.1)
        self.assertEqual(self.begun, [0.0, 12.0])
        self.end()
        self.successResultOf(second)

    def test_a_late_call_does_not_wait(self) -> None:
        """A request for admission after the pause is admitted at once."""
        turns = CallAdmission(self.clock, pace=2.0)
        self.take(turns)
        self.end()
        self.clock.advance(5.0)
        self.take(turns)
        self.assertEqual(self.begun, [0.0, 5.0])

    def test_never_two_at_once(self) -> None:
        """A call never begins before the previous one has ended."""
        turns = CallAdmission(self.clock, pace=0.0)
        waiting = [self.take(turns) for _ in range(3)]
        self.clock.advance(100.0)
        self.assertEqual(len(self.begun), 1)
        self.end()
        self.assertEqual(len(self.begun), 2)
        self.assertNoResult(waiting[2])

    def test_a_failed_call_counts(self) -> None:
        """A failed call is counted, delays the next, and admits it afterwards."""
        turns = CallAdmission(self.clock, pace=2.0)
        failed = self.take(turns)
        self.running.pop().errback(OSError("broken"))
        self.failureResultOf(failed, OSError)
        self.take(turns)
        self.assertEqual((turns.taken, self.begun), (1, [0.0]))
        self.clock.advance(2.0)
        self.assertEqual((turns.taken, self.begun), (2, [0.0, 2.0]))

    def test_cap(self) -> None:
        """No call is admitted beyond the cap."""
        turns = CallAdmission(self.clock, pace=0.0, calls=2)
        for _ in range(2):
            self.take(turns)
            self.end()
        refused = self.failureResultOf(self.take(turns), ClosedError)
        self.assertEqual(str(refused.value), "the cap of 2 calls is reached")
        self.assertEqual((turns.taken, len(self.begun)), (2, 2))

    def test_no_one_raises_the_hard_cap(self) -> None:
        """A larger number is limited to the hard cap."""
        turns = CallAdmission(self.clock, pace=0.0, calls=10 * HARD_CAP)
        for _ in range(HARD_CAP):
            self.take(turns)
            self.end()
        self.failureResultOf(self.take(turns), ClosedError)
        self.assertEqual(len(self.begun), HARD_CAP)

    def test_closing_stops_those_who_wait(self) -> None:
        """Once closed, no waiting call is admitted."""
        turns = CallAdmission(self.clock, pace=2.0)
        self.take(turns)
        in_the_pause, in_the_queue = self.take(turns), self.take(turns)
        self.end()
        self.clock.advance(1.0)
        turns.close("the edge")
        turns.close("something else")
        self.clock.advance(10.0)
        for each in (in_the_pause, in_the_queue, self.take(turns)):
            self.assertEqual(str(self.failureResultOf(each, ClosedError).value), "the edge")
        self.assertEqual(self.begun, [0.0])

    def test_time(self) -> None:
        """No call is admitted after the time limit of the run."""
        turns = CallAdmission(self.clock, pace=2.0, seconds=10.0)
        self.take(turns)
        self.clock.advance(8.5)
        self.end()
        late = self.failureResultOf(self.take(turns), ClosedError)
        self.assertEqual(str(late.value), "the run's time is up")
        self.assertEqual(turns.closed, "the run's time is up")
