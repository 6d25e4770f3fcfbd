"""Tests of the governor's metrics."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.edge_counts import OUTCOMES, WAITED, EdgeCounts, edge_gauges


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

    def test_gauges(self) -> None:
        """They are read at each scrape; where no key is short, there is no sample of the fewest."""
        fewest: list[int | None] = [None, 7]
        gauges = edge_gauges(lambda: 3, lambda: 1, lambda: fewest.pop())
        text = "".join(each.exposition() for each in gauges)
        for line in ("edge_waiting 3.0\n", "edge_banned_keys 1.0\n", "edge_fewest_left 7.0\n"):
            self.assertIn(f"chutes_autopilot_{line}", text)
        self.assertEqual(gauges[2].samples(), [])
