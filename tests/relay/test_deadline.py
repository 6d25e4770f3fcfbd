"""One resettable point in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.deadline import Deadline


class DeadlineTests(SynchronousTestCase):
    """Set, put back, brought forward, rested and cleared."""

    def setUp(self) -> None:
        """A deadline that notes when it expires."""
        self.clock = Clock()
        self.expired: list[float] = []
        self.deadline = Deadline(self.clock, lambda: self.expired.append(self.clock.seconds()))

    def advance(self, seconds: int) -> None:
        """Second by second."""
        for _ in range(seconds):
            self.clock.advance(1)

    def test_expires_once(self) -> None:
        """When its time has passed, and never again."""
        self.deadline.set(3)
        self.advance(10)
        self.assertEqual(self.expired, [3])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_put_back(self) -> None:
        """Only the last time counts, and pushing it back schedules nothing."""
        self.deadline.set(3)
        scheduled = self.clock.getDelayedCalls()
        self.advance(2)
        self.deadline.set(5)
        self.assertEqual(self.clock.getDelayedCalls(), scheduled)
        self.advance(10)
        self.assertEqual(self.expired, [7])

    def test_brought_forward(self) -> None:
        """A nearer time counts at once."""
        self.deadline.set(9)
        self.deadline.set(2)
        self.advance(10)
        self.assertEqual(self.expired, [2])

    def test_passed_already(self) -> None:
        """A time that has passed expires in the next turn, never within the call."""
        for scheduled in (False, True):
            if scheduled:
                self.deadline.set(5)
            self.deadline.set(-1)
            self.assertEqual(self.expired, [])
            self.clock.advance(0)
            self.assertEqual(len(self.expired), 1)
            self.expired.clear()

    def test_rest(self) -> None:
        """Resting keeps it from expiring until it is set again."""
        self.deadline.set(2)
        self.deadline.rest()
        self.advance(5)
        self.assertEqual(self.expired, [])
        self.deadline.set(1)
        self.advance(5)
        self.assertEqual(self.expired, [6])

    def test_clear(self) -> None:
        """Clearing leaves no timer behind, in whatever state."""
        self.deadline.clear()
        for times in ([], [1], [1, 9], [9, 1]):
            for resting in (False, True):
                for seconds in times:
                    self.deadline.set(seconds)
                if resting:
                    self.deadline.rest()
                self.deadline.clear()
                self.assertEqual(self.clock.getDelayedCalls(), [])
        self.advance(20)
        self.assertEqual(self.expired, [])

    def test_set_within(self) -> None:
        """What happens when it expires may set it anew."""
        deadline = Deadline(self.clock, lambda: deadline.set(2))
        deadline.set(1)
        self.advance(1)
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [3])
        deadline.clear()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(
        st.lists(st.tuples(st.sampled_from(["set", "rest", "clear", "wait"]), st.integers(0, 9)))
    )
    def test_any_order(self, steps: list[tuple[str, int]]) -> None:
        """It expires exactly when a plain note of the due time says so, with at most one timer."""
        self.setUp()
        due, expected = None, []
        for step, seconds in steps:
            if step == "set":
                due = self.clock.seconds() + seconds
                self.deadline.set(seconds)
            elif step == "wait":
                for _ in range(seconds):
                    self.clock.advance(1)
                    if due is not None and due <= self.clock.seconds():
                        expected.append(self.clock.seconds())
                        due = None
            else:
                due = None
                (self.deadline.rest if step == "rest" else self.deadline.clear)()
            self.assertLessEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertEqual(self.expired, expected)
        self.deadline.clear()
        self.assertEqual(self.clock.getDelayedCalls(), [])
