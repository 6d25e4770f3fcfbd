"""This router's own measurements of each model."""

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
        """Nothing is said of less than twenty answers."""
        known = LatencyStats()
        self.assertIsNone(known.p95("m"))
        for second in range(19):
            known.started("m", second, 1)
        self.assertIsNone(known.p95("m"))
        known.started("m", 19, 1)
        self.assertEqual(known.p95("m"), 18)
        self.assertEqual(known.p95("m"), 18)

    def test_old_ones_go(self) -> None:
        """After 128 further answers nothing is left of those before, be they equal or not."""
        known = LatencyStats()
        for second in (900.0, 900.0, *range(500, 400, -1)):
            known.started("m", second, 1)
        for second in range(128):
            known.started("m", second, 1)
        self.assertEqual(known.p95("m"), 121)

    @given(st.lists(_SECONDS, min_size=20, max_size=150))
    def test_nearest_rank(self, samples: list[float]) -> None:
        """The smallest of the last samples that is not below 95 of a hundred of them."""
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
        """A sample at once weighs a quarter; the longer the pause, the more it weighs."""
        known = LatencyStats()
        known.started("m", 4.0, 5)
        known.started("m", 8.0, 5)
        self.assertAlmostEqual(known.first_content(5)["m"], 5.0)
        known.started("m", 9.0, 5 + 1700)
        self.assertGreater(known.first_content(1705)["m"], 7.5)

    def test_clock_that_stands(self) -> None:
        """Samples of one moment, even of time zero, are still averaged."""
        known = LatencyStats()
        known.started("m", 4.0, 0)
        known.started("m", 8.0, 0)
        self.assertAlmostEqual(known.first_content(0)["m"], 5.0)

    def test_forgotten(self) -> None:
        """What nobody confirmed for half an hour says nothing any more."""
        known = LatencyStats()
        known.started("m", 4.0, 10)
        known.record_rate("m", 4.0, 10)
        self.assertEqual(known.first_content(1810), {})
        self.assertEqual(known.throughput(1810), {})
        self.assertEqual(known.throughput(1809), {"m": 4.0})

    @given(st.lists(st.tuples(_SECONDS, st.floats(0, 4000)), min_size=1, max_size=20))
    def test_between_extremes(self, samples: list[tuple[float, float]]) -> None:
        """An average lies between the least and the greatest sample, whatever the pauses."""
        known, now = LatencyStats(), 0.0
        for sample, pause in samples:
            now += pause
            known.record_rate("m", sample, now)
        values = [sample for sample, _ in samples]
        average = known.throughput(now)["m"]
        self.assertTrue(min(values) - 1e-6 <= average <= max(values) + 1e-6)

    def test_bounded(self) -> None:
        """Made-up names cannot fill the memory; the least recently measured is forgotten."""
        known = LatencyStats()
        with patch.object(latency, "_MAX_MODELS", 2):
            for name in ("a", "b", "a", "c"):
                known.started(name, 1.0, 1)
        self.assertEqual(set(known.first_content(1)), {"a", "c"})
