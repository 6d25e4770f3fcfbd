"""The rate limit of repeated messages: the first is logged, then ever fewer."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import Logger, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.log_rate_limit import (
    FIRST_PAUSE,
    MAX_PAUSE,
    FailureLog,
    LogRateLimit,
    failure_kind,
)


def _failure(error: type[Exception], *, other_place: bool = False) -> Failure:
    try:
        if other_place:
            raise error("here")
        raise error("there")
    except error:
        return Failure()


class RepeatsTests(SynchronousTestCase):
    """The rate limit with given times."""

    def setUp(self) -> None:
        """Create a rate limit."""
        self.repeats = LogRateLimit()

    def told(self, kind: str, *moments: float) -> list[tuple[float, int]]:
        """Return the times and numbers of the admitted messages."""
        counts = ((moment, self.repeats.admit(kind, moment)) for moment in moments)
        return [(moment, count) for moment, count in counts if count is not None]

    def test_an_hour(self) -> None:
        """A message every fifteen seconds for an hour is logged nine times, with full counts."""
        told = self.told("a", *(15.0 * n for n in range(240)))
        self.assertEqual([moment for moment, _ in told[:5]], [0.0, 60.0, 180.0, 420.0, 900.0])
        self.assertEqual([count for _, count in told[:5]], [1, 4, 8, 16, 32])
        self.assertEqual(len(told), 9)
        gaps = {later - earlier for (earlier, _), (later, _) in pairwise(told)}
        self.assertEqual(max(gaps), MAX_PAUSE)

    def test_kinds(self) -> None:
        """Another kind is logged at once, without resetting the first."""
        self.assertEqual(self.told("a", 0.0), [(0.0, 1)])
        self.assertEqual(self.told("b", 1.0), [(1.0, 1)])
        self.assertEqual(self.told("a", 2.0, 59.9), [])
        self.assertEqual(self.told("b", 61.0), [(61.0, 1)])
        self.assertEqual(self.told("a", 62.0), [(62.0, 3)])

    def test_quiet(self) -> None:
        """A kind is new after a long pause."""
        self.told("a", 0.0, 30.0, 60.0)
        self.assertEqual(self.told("a", 60.0 + MAX_PAUSE + 1, 62.0 + MAX_PAUSE), [(661.0, 1)])

    def test_over(self) -> None:
        """Every kind is new after a reset."""
        self.told("a", 0.0, 30.0)
        self.repeats.reset()
        self.assertEqual(self.told("a", 31.0), [(31.0, 1)])

    def test_clock_set_back(self) -> None:
        """A clock that is set back suppresses no message."""
        self.told("a", 1e9)
        self.assertEqual(self.told("a", 5.0, 6.0, 5.0 + FIRST_PAUSE), [(5.0, 1), (65.0, 2)])

    def test_bounded(self) -> None:
        """The number of kinds is bounded, and an active kind is kept."""
        for number in range(10_000):
            self.repeats.admit(f"kind {number}", 0.0)
            self.repeats.admit("a", 0.0)
        self.assertIsNone(self.repeats.admit("a", 1.0))
        self.assertLessEqual(len(self.repeats._kinds), 64)

    @given(st.lists(st.floats(min_value=0.0, max_value=MAX_PAUSE), min_size=1, max_size=200))
    def test_counts(self, pauses: list[float]) -> None:
        """The admitted counts and the suppressed messages add up to all messages."""
        repeats, now, told = LogRateLimit(), 0.0, 0
        for pause in pauses:
            now += pause
            told += repeats.admit("a", now) or 0
        self.assertEqual(told + repeats._kinds["a"].suppressed, len(pauses))

    def test_failure_kind(self) -> None:
        """Failures of one type and place are of one kind, whatever their message."""
        self.assertEqual(failure_kind(_failure(KeyError)), failure_kind(_failure(KeyError)))
        self.assertNotEqual(failure_kind(_failure(KeyError)), failure_kind(_failure(IndexError)))
        self.assertNotEqual(
            failure_kind(_failure(KeyError)), failure_kind(_failure(KeyError, other_place=True))
        )
        self.assertEqual(failure_kind(Failure(KeyError())), failure_kind(Failure(KeyError())))


class FailureLogTests(SynchronousTestCase):
    """The log of callbacks' exceptions."""

    def test_limited(self) -> None:
        """The first failure of a kind is logged, then a count; another kind is logged at once."""
        events = EventLoggingObserver()
        clock = Clock()
        failures = FailureLog(Logger(observer=events), clock.seconds)

        def meet(text: str, error: type[Exception]) -> None:
            try:
                raise error("secret")
            except error:
                failures.report(text)

        for _ in range(30):
            meet("A callback failed", KeyError)
            clock.advance(2.5)
        meet("A callback failed", OSError)
        meet("Another callback failed", KeyError)
        self.assertEqual(
            [formatEvent(each) for each in events],
            [
                "A callback failed",
                "A callback failed (24 times since the last such message)",
                "A callback failed",
                "Another callback failed",
            ],
        )
        self.assertEqual({each["log_level"] for each in events}, {LogLevel.critical})
        self.assertIs(events[0]["log_failure"].type, KeyError)

    def test_run(self) -> None:
        """A call is made with its arguments; what it raises is logged, and the caller goes on."""
        events = EventLoggingObserver()
        failures = FailureLog(Logger(observer=events), Clock().seconds)
        made: list[tuple[object, ...]] = []

        def call(*arguments: object) -> None:
            made.append(arguments)
            if arguments:
                raise KeyError("secret")

        failures.run("A callback failed", call)
        self.assertEqual(list(events), [])
        failures.run("A callback failed", call, 1, "two")
        self.assertEqual(made, [(), (1, "two")])
        self.assertEqual([formatEvent(each) for each in events], ["A callback failed"])
        self.assertIs(events[0]["log_failure"].type, KeyError)
