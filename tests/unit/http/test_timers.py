"""Resettable points in time, alone and many on one schedule."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from autopilot.http.timers import Deadline, TimerQueue


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


class ScheduleTests(SynchronousTestCase):
    """Many deadlines on one call of the clock."""

    def setUp(self) -> None:
        """A schedule, and a note of what expired when."""
        self.clock = Clock()
        self.schedule = TimerQueue(self.clock)
        self.expired: list[tuple[str, float]] = []

    def deadline(self, name: str, seconds: float | None = None) -> Deadline:
        """A deadline that notes its name and the time when it expires."""
        deadline = Deadline(
            self.schedule, lambda: self.expired.append((name, self.clock.seconds()))
        )
        if seconds is not None:
            deadline.set(seconds)
        return deadline

    def test_clock(self) -> None:
        """It is a clock itself: time, calls and the list of calls are the clock's."""
        verifyObject(IReactorTime, self.schedule)
        called: list[int] = []
        call = self.schedule.callLater(2, called.append, 7)
        self.assertEqual(list(self.schedule.getDelayedCalls()), [call])
        self.clock.advance(2)
        self.assertEqual((called, self.schedule.seconds()), ([7], 2))

    def test_one_call(self) -> None:
        """However many are set there is one call, for the nearest; with the last one it goes."""
        all_of_them = [self.deadline(str(seconds), seconds) for seconds in (5, 3, 9)]
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [3])
        for deadline in all_of_them:
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
            deadline.clear()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(20)
        self.assertEqual(self.expired, [])

    def test_order(self) -> None:
        """Those due at one instant expire in the order in which they were set."""
        for name in "ba":
            self.deadline(name, 4)
        self.deadline("c", 2)
        self.clock.pump([1] * 5)
        self.assertEqual(self.expired, [("c", 2), ("b", 4), ("a", 4)])

    def test_failure(self) -> None:
        """What fails when it expires is logged, and the others expire all the same."""

        def fail() -> None:
            raise ZeroDivisionError

        Deadline(self.schedule, fail).set(1)
        self.deadline("other", 1)
        self.deadline("later", 2)
        self.clock.pump([1, 1])
        self.assertEqual(self.expired, [("other", 1), ("later", 2)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clears_others(self) -> None:
        """What happens when one expires may clear one that is due in the same instant."""
        other = self.deadline("other")
        Deadline(self.schedule, other.clear).set(1)
        other.set(1)
        self.deadline("third", 1)
        self.clock.advance(1)
        self.assertEqual(self.expired, [("third", 1)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_sets_others(self) -> None:
        """What happens when one expires may set any, nearer than all that are set."""
        other = self.deadline("other", 9)
        Deadline(self.schedule, lambda: other.set(1)).set(2)
        self.deadline("far", 8)
        self.clock.pump([1] * 9)
        self.assertEqual(self.expired, [("other", 3), ("far", 8)])

    def test_many_cleared_within(self) -> None:
        """One that expires may clear so many that the schedule sweeps in the middle of its look."""
        many = [self.deadline(str(number), 2) for number in range(1000)]

        def clear_all_but_two() -> None:
            for each in many[2:]:
                each.clear()
            many[0].set(0.5)

        Deadline(self.schedule, clear_all_but_two).set(1)
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.expired, [("0", 1.5), ("1", 2)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_sweeps_after_many(self) -> None:
        """When many have expired at once, what had been cleared long before them is swept too."""
        for number in range(100):
            self.deadline(str(number), 1)
        self.deadline("last", 5)
        for _ in range(150):
            self.deadline("cleared", 9).clear()
        self.clock.advance(1)
        self.assertLessEqual(len(self.schedule._heap), 66)

    def test_put_back_counts_as_later(self) -> None:
        """One that was put back expires after those that were set for that instant before."""
        put_back = self.deadline("put back", 1)
        put_back.set(3)
        self.deadline("other", 3)
        self.clock.pump([1] * 3)
        self.assertEqual(self.expired, [("other", 3), ("put back", 3)])

    def test_next_turn(self) -> None:
        """One that sets itself to a time in the past leaves the reactor its turn in between."""
        times: list[float] = []

        class Ticking(Clock):
            def seconds(self) -> float:
                self.rightNow += 1e-6
                return self.rightNow

        def again() -> None:
            times.append(self.clock.rightNow)
            if len(times) < 9:
                deadline.set(-1)

        self.clock = Ticking()
        deadline = Deadline(TimerQueue(self.clock), again)
        deadline.set(-1)
        for turn in (1, 2):
            self.clock.calls.pop().func()
            self.assertEqual(len(times), turn)

    def test_no_rounding(self) -> None:
        """A call that is made anew comes when the nearest is due, never a rounding error later."""
        for nearer, due in ((1.7, 3.9), (2.9, 7.2), (0.1, 0.7), (1e-9, 1e9 + 0.3)):
            self.setUp()
            self.deadline("nearer", nearer)
            self.deadline("due", due)
            self.clock.advance(nearer)
            self.assertLessEqual(self.clock.getDelayedCalls()[0].getTime(), due)
            self.clock.rightNow = due
            self.clock.advance(0)
            self.assertEqual(self.expired[1:], [("due", due)])

    def test_any_steps(self) -> None:
        """A few deadlines on one schedule do what a plain note of their due times says."""
        run_state_machine_as_test(
            ManyDeadlinesMachine, settings=settings(max_examples=60, stateful_step_count=40)
        )

    def test_keeps_nothing_alive(self) -> None:
        """A deadline that was cleared is not kept, though its place is not swept yet."""

        class Owner:
            def expired(self) -> None:
                """Never called."""

        owner = Owner()
        deadline = Deadline(self.schedule, owner.expired)
        self.deadline("other", 1)
        deadline.set(5)
        deadline.clear()
        gone = weakref.ref(owner)
        del owner, deadline
        gc.collect()
        self.assertIsNone(gone())


class ManyDeadlinesMachine(RuleBasedStateMachine):
    """Any number of steps on a few deadlines, against a plain note of when each is due."""

    some = st.integers(0, 5)
    seconds = st.one_of(st.integers(0, 9), st.floats(-0.5, 4))

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.schedule = TimerQueue(self.clock)
        self.expired: list[tuple[int, float]] = []
        self.due: dict[int, float] = {}
        self.kept: set[int] = set()  # set and not cleared since, or not looked at since
        self.deadlines = [self.deadline(number) for number in range(6)]

    def deadline(self, number: int) -> Deadline:
        """One that notes when it expires."""
        return Deadline(self.schedule, lambda: self.expired.append((number, self.clock.seconds())))

    @rule(number=some, seconds=seconds)
    def set(self, number: int, seconds: float) -> None:
        """Set, put back or brought forward."""
        self.due[number] = self.clock.seconds() + seconds
        self.kept.add(number)
        self.deadlines[number].set(seconds)

    @rule(number=some)
    def rest(self, number: int) -> None:
        """Not due any more, but it may keep its place."""
        self.due.pop(number, None)
        self.deadlines[number].rest()

    @rule(number=some)
    def clear(self, number: int) -> None:
        """Gone."""
        self.due.pop(number, None)
        self.kept.discard(number)
        self.deadlines[number].clear()

    @rule(number=some, times=st.integers(1, 300))
    def churn(self, number: int, times: int) -> None:
        """Set and cleared many times over."""
        for _ in range(times):
            self.deadlines[number].set(50)
            self.deadlines[number].clear()
        self.due.pop(number, None)
        self.kept.discard(number)

    @precondition(lambda self: self.due)
    @rule()
    def to_the_nearest(self) -> None:
        """Exactly to the instant at which the next one is due: that one expires, no later one."""
        self.wait(max(0.0, min(self.due.values()) - self.clock.seconds()))

    @rule(seconds=st.one_of(st.integers(0, 3), st.floats(0, 3)))
    def wait(self, seconds: float) -> None:
        """Time passes; each deadline that is due expires once, at its time."""
        self.expired.clear()
        self.clock.advance(seconds)
        now = self.clock.seconds()
        expected = {(number, now) for number, due in self.due.items() if due <= now}
        assert set(self.expired) == expected, (self.expired, expected)
        assert len(self.expired) == len(expected)
        for number, _ in self.expired:
            del self.due[number]
            self.kept.discard(number)

    @invariant()
    def at_most_one_call(self) -> None:
        """There is a call if one is due some time, none if all were cleared, never two."""
        calls = self.clock.getDelayedCalls()
        assert bool(self.due) <= len(calls) <= bool(self.kept)
        if self.due:
            assert calls[0].getTime() <= max(min(self.due.values()), self.clock.seconds())

    @invariant()
    def little_garbage(self) -> None:
        """Dead entries are swept before they outnumber live ones by far."""
        assert len(self.schedule._heap) <= 2 * self.schedule._live + 64
