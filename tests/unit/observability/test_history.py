"""Tests of the history, with a simulated clock."""

from __future__ import annotations

from math import isclose

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.history import (
    INTERVAL,
    INTERVALS,
    History,
    HistoryWindow,
    Interval,
    merged,
)
from autopilot.observability.records import DroppedCall, Failover, Outcome
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.usage import Usage
from tests.unit.observability.records import record


class HistoryTests(SynchronousTestCase):
    """The counters of the ring."""

    def setUp(self) -> None:
        """Start in the middle of an interval, long after the clock's start."""
        self.clock = Clock()
        self.clock.advance(100_015.0)
        self.history = History(self.clock.seconds)

    def test_nothing(self) -> None:
        """Without requests every interval is empty."""
        self.assertEqual(self.history.window(), HistoryWindow(covered=1))
        self.assertEqual(len(self.history.window().intervals), INTERVALS)

    def test_covered(self) -> None:
        """The window tells the intervals in which the router was running, up to half an hour."""
        for covered in (1, 2, 3):
            self.assertEqual(self.history.window().covered, covered)
            self.clock.advance(INTERVAL)
        self.clock.advance(INTERVAL * INTERVALS)
        self.assertEqual(self.history.window().covered, INTERVALS)

    def test_counts(self) -> None:
        """Requests, failovers, outcomes and first bytes are counted."""
        self.history.add(record(ttfb_ms=200.0, failovers=("status_503", "status_429")))
        self.history.add(record(ttfb_ms=None, outcome=Outcome.REFUSED, failovers=()))
        window = self.history.window()
        now = window.intervals[-1]
        self.assertEqual((now.requests, now.failovers, now.first_bytes), (2, 2, 1))
        self.assertEqual(window.outcomes, (("completed", 1), ("refused", 1)))
        self.assertEqual(window.whole, now)
        self.assertEqual(window.intervals[:-1], (Interval(),) * (INTERVALS - 1))

    def test_tokens(self) -> None:
        """Tokens and cost are summed, those of failed and dropped attempts included."""
        failed = Failover("n", FailureReason.GAVE_UP, 200, 1.0, Usage(5, None, 1), 3)
        self.history.add(record(usage=Usage(100, 60, 20, 5), cost_picodollars=70))
        self.history.add(record(usage=Usage(None, None, 2), failovers=(failed, "cut")))
        self.clock.advance(INTERVAL)
        self.history.add(record(usage=Usage(15, 0, None, None), cost_picodollars=10**15))
        dropped = DroppedCall("n", 200, 1.0, Usage(None, None, 7), 4)
        self.history.add(record(hedged="won", dropped=dropped))
        self.history.add(record(hedged="lost", dropped=DroppedCall("n", None, 1.0)))
        *_, one, other = self.history.window().intervals
        self.assertEqual(
            [(each.prompt_tokens, each.cached_tokens) for each in (one, other)],
            [(105, 60), (15, 0)],
        )
        self.assertEqual((one.completion_tokens, one.reasoning_tokens), (23, 5))
        self.assertEqual((one.cost_picodollars, other.cost_picodollars), (73, 10**15 + 4))
        whole = self.history.window().whole
        self.assertEqual((whole.prompt_tokens, whole.cached_tokens), (120, 60))
        self.assertEqual((whole.completion_tokens, whole.reasoning_tokens), (30, 5))
        self.assertEqual(whole.cost_picodollars, 10**15 + 77)
        self.assertEqual((whole.cached_share, Interval().cached_share), (0.5, None))

    def test_quantiles(self) -> None:
        """Quantiles are off by a tenth at most, from milliseconds to minutes."""
        for value in (0.012, 0.4, 7.0, 60.0):
            history = History(self.clock.seconds)
            for step in range(100):
                history.add(record(ttfb_ms=1000 * value * (1 + step / 100)))
            whole = history.window().whole
            assert whole.median is not None and whole.p95 is not None
            self.assertTrue(isclose(whole.median, value * 1.5, rel_tol=0.1), whole)
            self.assertTrue(isclose(whole.p95, value * 1.95, rel_tol=0.1), whole)
        self.history.add(record(ttfb_ms=1e12))
        self.assertLess(self.history.window().whole.p95 or 0, 300)

    def test_moves_and_forgets(self) -> None:
        """An interval ages, leaves the window after half an hour, and does not come back."""
        self.history.add(record())
        for step in range(INTERVALS):
            intervals = self.history.window().intervals
            self.assertEqual([each.requests for each in intervals].index(1), INTERVALS - 1 - step)
            self.clock.advance(INTERVAL)
        self.assertEqual(self.history.window(), HistoryWindow())
        self.history.add(record())
        self.assertEqual(self.history.window().whole.requests, 1)

    def test_bounded(self) -> None:
        """The ring does not grow with time."""
        for _ in range(3 * INTERVALS):
            self.history.add(record())
            self.clock.advance(INTERVAL)
        self.assertEqual(self.history.window().whole.requests, INTERVALS - 1)

    def test_together(self) -> None:
        """Merging adds counts, and takes the worst quantiles."""
        one, other = Interval(1, 2, 1, 0.5, 0.9), Interval(3, 0, 2, 0.4, 1.5)
        self.assertEqual(merged([one, Interval(), other]), Interval(4, 2, 3, 0.5, 1.5))
        self.assertEqual(merged([]), Interval())
        tokens = Interval(0, 0, 0, None, None, 1, 2, 3, 4, 5)
        self.assertEqual(merged([tokens, tokens]), Interval(0, 0, 0, None, None, 2, 4, 6, 8, 10))
