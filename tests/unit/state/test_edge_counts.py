"""Tests of the governor's metrics."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.edge_counts import OUTCOMES, WAITED, EdgeCounts


class EdgeCountsTests(SynchronousTestCase):
    """What is written at a scrape."""

    def test_all_outcomes(self) -> None:
        """Every outcome has a sample from the start."""
        counts = EdgeCounts()
        counts.count(WAITED)
        text = counts.instruments()[0].exposition()
        for outcome in OUTCOMES:
            number = 1.0 if outcome == WAITED else 0.0
            self.assertIn(f'edge_calls_total{{outcome="{outcome}"}} {number}\n', text)
