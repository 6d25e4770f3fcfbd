"""Tests of the share of requests that may have a second attempt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.hedging import SHARE, HedgeBudget


class HedgeBudgetTests(SynchronousTestCase):
    """Counts of the last minute."""

    def test_share(self) -> None:
        """One of twenty requests may be hedged, and a minute later none of them counts."""
        budget = HedgeBudget()
        for _ in range(19):
            budget.request(1000.0)
        self.assertFalse(budget.draw(1000.0))
        budget.request(1030.5)
        self.assertTrue(budget.draw(1031.0))
        self.assertFalse(budget.draw(1059.9))
        budget.request(1060.0)
        # One hedge is left in the minute, and two requests.
        self.assertFalse(budget.draw(1060.0))
        for _ in range(38):
            budget.request(1060.0)
        self.assertTrue(budget.draw(1060.0))
        self.assertFalse(budget.draw(1060.0))

    @given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 20)), max_size=8))
    def test_workers(self, workers: list[tuple[int, int]]) -> None:
        """Worker processes count apart; together they have no more than the share of all."""
        hedges = 0
        for requests, slow in workers:
            budget = HedgeBudget()
            for _ in range(requests):
                budget.request(1000.0)
            hedges += sum(budget.draw(1000.0) for _ in range(slow))
        self.assertLessEqual(hedges, SHARE * sum(requests for requests, _ in workers))

    @given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=200))
    def test_never_more(self, steps: list[tuple[float, bool]]) -> None:
        """However requests and hedges come, no minute has more than its share."""
        budget, now = HedgeBudget(), 5000.0
        requests: list[float] = []
        hedges: list[float] = []
        for passes, draws in steps:
            now += passes
            if not draws:
                for _ in range(20):
                    budget.request(now)
                    requests.append(now)
            elif budget.draw(now):
                hedges.append(now)
            counted = sum(int(each) > int(now) - 60 for each in requests)
            drawn = sum(int(each) > int(now) - 60 for each in hedges)
            if hedges and hedges[-1] == now:
                self.assertLessEqual(drawn, SHARE * counted)
