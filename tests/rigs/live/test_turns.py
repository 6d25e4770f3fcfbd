"""The one place that every call passes: it counts, it waits, it closes."""

from __future__ import annotations

from collections.abc import Awaitable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.live.turns import HARD_CAP, ClosedError, Turns


class TurnsTests(SynchronousTestCase):
    """Calls that take as long as the test wants."""

    def setUp(self) -> None:
        """Nothing called yet."""
        self.clock = Clock()
        self.begun: list[float] = []
        self.running: list[Deferred[str]] = []

    def call(self) -> Awaitable[str]:
        """A call that goes on until the test ends it."""
        self.begun.append(self.clock.seconds())
        self.running.append(Deferred())
        return self.running[-1]

    def take(self, turns: Turns) -> Deferred[str]:
        """Ask for a turn."""
        return Deferred.fromCoroutine(turns.run(self.call))

    def end(self) -> None:
        """End the call under way."""
        self.running.pop().callback("said")

    def test_pace(self) -> None:
        """From the end of a call to the beginning of the next are as many seconds as were set."""
        turns = Turns(self.clock, pace=2.0)
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
        """Who comes after the pause begins at once."""
        turns = Turns(self.clock, pace=2.0)
        self.take(turns)
        self.end()
        self.clock.advance(5.0)
        self.take(turns)
        self.assertEqual(self.begun, [0.0, 5.0])

    def test_never_two_at_once(self) -> None:
        """However long a call takes, the others wait for its end."""
        turns = Turns(self.clock, pace=0.0)
        waiting = [self.take(turns) for _ in range(3)]
        self.clock.advance(100.0)
        self.assertEqual(len(self.begun), 1)
        self.end()
        self.assertEqual(len(self.begun), 2)
        self.assertNoResult(waiting[2])

    def test_a_failed_call_counts(self) -> None:
        """It is counted, it is waited for, and it frees the way."""
        turns = Turns(self.clock, pace=2.0)
        failed = self.take(turns)
        self.running.pop().errback(OSError("broken"))
        self.failureResultOf(failed, OSError)
        self.take(turns)
        self.assertEqual((turns.taken, self.begun), (1, [0.0]))
        self.clock.advance(2.0)
        self.assertEqual((turns.taken, self.begun), (2, [0.0, 2.0]))

    def test_cap(self) -> None:
        """After so many calls there are no more."""
        turns = Turns(self.clock, pace=0.0, calls=2)
        for _ in range(2):
            self.take(turns)
            self.end()
        refused = self.failureResultOf(self.take(turns), ClosedError)
        self.assertEqual(str(refused.value), "the cap of 2 calls is reached")
        self.assertEqual((turns.taken, len(self.begun)), (2, 2))

    def test_no_one_raises_the_hard_cap(self) -> None:
        """A larger number is no more than the hard cap."""
        turns = Turns(self.clock, pace=0.0, calls=10 * HARD_CAP)
        for _ in range(HARD_CAP):
            self.take(turns)
            self.end()
        self.failureResultOf(self.take(turns), ClosedError)
        self.assertEqual(len(self.begun), HARD_CAP)

    def test_closing_stops_those_who_wait(self) -> None:
        """Nobody begins after the first reason, neither in the queue nor in the pause."""
        turns = Turns(self.clock, pace=2.0)
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
        """No call begins when the run's time is up."""
        turns = Turns(self.clock, pace=2.0, seconds=10.0)
        self.take(turns)
        self.clock.advance(8.5)
        self.end()
        late = self.failureResultOf(self.take(turns), ClosedError)
        self.assertEqual(str(late.value), "the run's time is up")
        self.assertEqual(turns.closed, "the run's time is up")
