"""Tests of the measurements of each model."""

from __future__ import annotations

from math import ceil
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state import latency
from autopilot.state.latency import LatencyStats

_SECONDS = st.floats(0, 600, allow_nan=False)


class PercentileTests(SynchronousTestCase):
    """The 95th percentile of the time to the first content."""

    def test_needs_twenty(self) -> None:
        """Below twenty answers there is no percentile."""
        known = LatencyStats()
        self.assertIsNone(known.p95("m"))
        for second in range(19):
            known.started("m", second, 1)
        self.assertIsNone(known.p95("m"))
        known.started("m", 19, 1)
        self.assertEqual(known.p95("m"), 18)
        self.assertEqual(known.p95("m"), 18)

    def test_old_ones_go(self) -> None:
        """After 128 further answers the earlier ones do not count, even if equal."""
        known = LatencyStats()
        for second in (900.0, 900.0, *range(500, 400, -1)):
            known.started("m", second, 1)
        for second in range(128):
            known.started("m", second, 1)
        self.assertEqual(known.p95("m"), 121)

    @given(st.lists(_SECONDS, min_size=20, max_size=150))
    def test_nearest_rank(self, samples: list[float]) -> None:
        """The percentile is by nearest rank over the last samples."""
        known = LatencyStats()
        for sample in samples:
            known.started("m", sample, 0)
        last = samples[-128:]
        found = known.p95("m")
        assert found in last and found is not None
        self.assertGreaterEqual(sum(s <= found for s in last), ceil(0.95 * len(last)))
        self.assertLess(sum(s < found for s in last), 0.95 * len(last))


class AverageTests(SynchronousTestCase):
    """Moving averages."""

    def test_first(self) -> None:
        """The first sample is the average, also at time zero."""
        known = LatencyStats()
        known.started("m", 2.0, 0)
        known.record_rate("n", 50.0, 0)
        self.assertEqual(known.first_content(1), {"m": 2.0})
        self.assertEqual(known.throughput(1), {"n": 50.0})

    def test_weight(self) -> None:
        """An immediate sample weighs a quarter; a longer pause increases the weight."""
        known = LatencyStats()
        known.started("m", 4.0, 5)
        known.started("m", 8.0, 5)
        self.assertAlmostEqual(known.first_content(5)["m"], 5.0)
        known.started("m", 9.0, 5 + 1700)
        self.assertGreater(known.first_content(1705)["m"], 7.5)

    def test_clock_that_stands(self) -> None:
        """Samples at one instant, even at time zero, are averaged."""
        known = LatencyStats()
        known.started("m", 4.0, 0)
        known.started("m", 8.0, 0)
        self.assertAlmostEqual(known.first_content(0)["m"], 5.0)

    def test_forgotten(self) -> None:
        """An average without a new sample for half an hour expires."""
        known = LatencyStats()
        known.started("m", 4.0, 10)
        known.record_rate("m", 4.0, 10)
        self.assertEqual(known.first_content(1810), {})
        self.assertEqual(known.throughput(1810), {})
        self.assertEqual(known.throughput(1809), {"m": 4.0})

    @given(st.lists(st.tuples(_SECONDS, st.floats(0, 4000)), min_size=1, max_size=20))
    def test_between_extremes(self, samples: list[tuple[float, float]]) -> None:
        """An average lies between the smallest and the largest sample, whatever the pauses."""
        known, now = LatencyStats(), 0.0
        for sample, pause in samples:
            now += pause
            known.record_rate("m", sample, now)
        values = [sample for sample, _ in samples]
        average = known.throughput(now)["m"]
        self.assertTrue(min(values) - 1e-6 <= average <= max(values) + 1e-6)

    def test_bounded(self) -> None:
        """Invented names cannot exhaust memory: the least recently measured model is evicted."""
        known = LatencyStats()
        with patch.object(latency, "_MAX_MODELS", 2):
            for name in ("a", "b", "a", "c"):
                known.started(name, 1.0, 1)
        self.assertEqual(set(known.first_content(1)), {"a", "c"})
