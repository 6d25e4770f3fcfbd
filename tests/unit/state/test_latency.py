"""Tests of the measurements of each model."""

from __future__ import annotations

from math import ceil
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state import latency
from autopilot.state.latency import LONGEST_PAUSE, PAUSE_STEP, LatencyStats, Pauses

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

    def test_plain_answers_are_apart(self) -> None:
        """Answers that are no streams have a percentile of their own, and no average."""
        known = LatencyStats()
        self.assertIsNone(known.plain_p95("m"))
        for second in range(20):
            known.answered("m", second)
        self.assertEqual((known.plain_p95("m"), known.p95("m")), (18, None))
        for _ in range(20):
            known.started("m", 1.0, 1)
        self.assertEqual((known.plain_p95("m"), known.p95("m")), (18, 1.0))
        known = LatencyStats()
        known.answered("m", 1.0)
        self.assertEqual(known.first_content(1), {})


class PauseTests(SynchronousTestCase):
    """The 99th percentile of the pauses."""

    def known(self, *pauses: float) -> LatencyStats:
        """Statistics of one model, with an answer that paused so."""
        known = LatencyStats()
        answer = Pauses()
        for pause in pauses:
            answer.add(pause)
        known.paused("m", answer)
        return known

    def test_needs_a_hundred(self) -> None:
        """Below a hundred pauses there is no percentile."""
        self.assertIsNone(LatencyStats().p99_pause("m"))
        self.assertIsNone(self.known(*[3.0] * 99).p99_pause("m"))
        self.assertEqual(self.known(*[3.0] * 100).p99_pause("m"), 3.0)

    def test_one_in_a_hundred_is_above(self) -> None:
        """One long pause in a hundred does not count, two do."""
        self.assertEqual(self.known(*[0.02] * 99, 20.0).p99_pause("m"), 0.1)
        self.assertEqual(self.known(*[0.02] * 98, 20.0, 21.0).p99_pause("m"), 20.0)
        self.assertEqual(self.known(*[0.02] * 198, 20.0, 21.0).p99_pause("m"), 0.1)
        self.assertEqual(self.known(*[0.02] * 197, 19.0, 20.0, 21.0).p99_pause("m"), 19.0)

    def test_over_several_answers(self) -> None:
        """The pauses of all answers of a model count together."""
        known = LatencyStats()
        for _ in range(50):
            answer = Pauses()
            answer.add(2.0)
            answer.add(0.01)
            known.paused("m", answer)
        self.assertAlmostEqual(known.p99_pause("m") or 0.0, 2.0)
        self.assertIsNone(known.p99_pause("other"))

    def test_longest(self) -> None:
        """Beyond the longest that matters pauses are alike, whatever an answer does."""
        self.assertEqual(self.known(*[1e9] * 100).p99_pause("m"), LONGEST_PAUSE)
        answer = Pauses()
        for tenth in range(5000):
            answer.add(tenth / 10)
        self.assertLessEqual(len(answer.long), LONGEST_PAUSE / PAUSE_STEP)

    def test_new_ones_outweigh_old_ones(self) -> None:
        """A model that has become fast loses the time of its slow days."""
        with patch.object(latency, "_MAX_PAUSES", 1000):
            known = self.known(*[20.0] * 1000)
            self.assertEqual(known.p99_pause("m"), 20.0)
            for _ in range(16):
                known.paused("m", Pauses(count=600))
            self.assertEqual(known.p99_pause("m"), PAUSE_STEP)

    @given(st.lists(st.floats(0, 23), min_size=100, max_size=400))
    def test_nearest_rank(self, pauses: list[float]) -> None:
        """The percentile is that by nearest rank, rounded up to a step."""
        found = self.known(*pauses).p99_pause("m")
        exact = sorted(pauses)[ceil(0.99 * len(pauses)) - 1]
        assert found is not None
        self.assertGreaterEqual(found, exact - 1e-6)
        self.assertLessEqual(found, exact + PAUSE_STEP + 1e-6)


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
        with patch.object(latency, "MAX_MODELS", 2):
            for name in ("a", "b", "a", "c"):
                known.started(name, 1.0, 1)
        self.assertEqual(set(known.first_content(1)), {"a", "c"})
