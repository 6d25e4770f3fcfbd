"""Measurements of several replicas as one."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.events import Measured
from autopilot.state.latency import FORGET_AFTER, Pauses
from autopilot.state.sharing.latency import LONGEST_BETWEEN, MOST_REPLICAS, SharedLatency, _join
from autopilot.state.sharing.outbox import Outbox


class SharedLatencyTests(SynchronousTestCase):
    """Two replicas that send each other summaries."""

    def setUp(self) -> None:
        """Make two tables without measurements."""
        self.one, self.other = SharedLatency(Outbox(1)), SharedLatency(Outbox(2))

    def exchange(self, now: float) -> None:
        """Send the summaries of both ways, twice, and back again."""
        both = [(self.one, self.other), (self.other, self.one)]
        told = [(to, source.summaries(now)) for source, to in both]
        for to, events in told * 2:
            for event in events:
                to.apply(event, now)
        for source, (_, events) in zip((self.one, self.other), told, strict=True):
            for event in events:
                source.apply(event, now)

    def test_averages(self) -> None:
        """Both replicas' averages count, each once, however often a summary arrives."""
        self.one.started("m", 1.0, 100)
        self.other.started("m", 3.0, 100)
        self.other.record_rate("m", 50.0, 100)
        for _ in range(5):
            self.exchange(100)
            for each in (self.one, self.other):
                self.assertEqual(each.first_content(102), {"m": 2.0})
                self.assertEqual(each.throughput(102), {"m": 50.0})
            self.one._news["m"] = self.other._news["m"] = None

    def test_an_old_average(self) -> None:
        """It weighs less the older it is, and nothing in the end."""
        self.one.started("m", 1.0, 100)
        self.exchange(100)
        self.other.started("m", 3.0, 1000)
        self.assertTrue(2.0 < self.other.first_content(1000)["m"] < 3.0)
        self.assertEqual(self.other.first_content(101 + FORGET_AFTER), {"m": 3.0})
        self.assertEqual(self.one.first_content(101 + FORGET_AFTER), {})

    def test_a_late_summary(self) -> None:
        """The later version counts, not the later arrival."""
        self.one.started("m", 1.0, 100)
        (early,) = self.one.summaries(100)
        for _ in range(50):
            self.one.started("m", 3.0, 101)
        (late,) = self.one.summaries(101)
        self.other.apply(late, 101)
        self.other.apply(early, 102)
        self.assertGreater(self.other.first_content(103)["m"], 2.9)

    def test_percentiles(self) -> None:
        """They are computed over the answers of both, to a tenth."""
        for _ in range(10):
            self.one.started("m", 1.0, 100)
            self.other.started("m", 20.0, 100)
            self.one.answered("m", 2.0)
            self.other.answered("m", 60.0)
        self.assertIsNone(self.one.p95("m"))
        self.exchange(100)
        for each in (self.one, self.other):
            first, plain = each.p95("m"), each.plain_p95("m")
            assert first is not None and plain is not None
            self.assertTrue(20.0 <= first <= 22.0, first)
            self.assertTrue(60.0 <= plain <= 66.0, plain)
        self.assertEqual((self.one.p95("n"), self.one.plain_p95("n")), (None, None))

    def test_the_nearest_rank(self) -> None:
        """One of twenty answers is above the percentile, and two of twenty-one are not."""
        for _ in range(19):
            self.one.started("m", 1.0, 100)
        self.exchange(100)
        self.other.started("m", 50.0, 100)
        found = self.other.p95("m")
        assert found is not None
        self.assertTrue(1.0 <= found <= 1.1, found)
        self.other.started("m", 50.0, 100)
        self.assertEqual(self.other.p95("m"), 50.0)

    def test_percentiles_follow(self) -> None:
        """A later summary, and what is measured here, count from then on."""
        for expected in (1.0, 20.0):
            for _ in range(60):
                self.one.ended("m", expected, None, None, 100)
            self.exchange(100)
            found = self.other.p95("m")
            assert found is not None
            self.assertTrue(expected <= found <= 1.1 * expected, found)
        for _ in range(20):
            self.other.started("m", 50.0, 101)
        self.assertEqual(self.other.p95("m"), 50.0)

    def test_percentiles_at_once(self) -> None:
        """If many attempts ask, the histograms of all replicas are joined once."""
        for replica in range(3, 3 + MOST_REPLICAS):
            self.one.apply(measured(replica, "m"), 100)
        with patch("autopilot.state.sharing.latency._join", wraps=_join) as joining:
            for _ in range(100):
                self.one.p95("m")
                self.one.plain_p95("m")
                self.one.p99_pause("m")
            self.assertEqual(joining.call_count, 3)
            self.one.apply(measured(99, "m"), 101)
            self.one.p95("m")
            self.assertEqual(joining.call_count, 6)

    def test_pauses(self) -> None:
        """The pauses of both count."""
        for each, seconds in ((self.one, 0.05), (self.other, 4.0)):
            pauses = Pauses()
            for _ in range(60):
                pauses.add(seconds)
            each.ended("m", None, None, pauses, 100)
        self.assertIsNone(self.one.p99_pause("m"))
        self.exchange(100)
        self.assertEqual([each.p99_pause("m") for each in (self.one, self.other)], [4.0, 4.0])

    def test_the_longest_pauses(self) -> None:
        """One pause of two hundred that is longer than the others is above the percentile."""
        for each, longest in ((self.one, 9.0), (self.other, 4.0)):
            pauses = Pauses()
            for _ in range(99):
                pauses.add(4.0)
            pauses.add(longest)
            each.paused("m", pauses)
        self.exchange(100)
        self.assertEqual([each.p99_pause("m") for each in (self.one, self.other)], [4.0, 4.0])

    def test_a_table_that_changes_while_it_is_told(self) -> None:
        """A model that was dropped meanwhile is left out."""
        for model in "abc":
            self.one.started(model, 1.0, 100)
        telling = self.one.events(100)
        next(telling)
        with patch("autopilot.state.latency.MAX_MODELS", 3):
            for model in "de":
                self.one.started(model, 1.0, 100)
        self.assertEqual([event.model for event in telling], ["c"])

    def test_few_pauses(self) -> None:
        """Below a hundred in all there is no percentile; without long ones it is the shortest."""
        pauses = Pauses()
        for _ in range(40):
            pauses.add(0.05)
        for expected in (None, 0.1):
            self.one.paused("m", pauses)
            self.other.paused("m", pauses)
            self.exchange(100)
            self.assertEqual(self.other.p99_pause("m"), expected)

    def test_of_a_model_that_only_others_know(self) -> None:
        """Their measurements suffice."""
        for _ in range(20):
            self.one.ended("m", 1.0, 10.0, None, 100)
            self.one.answered("m", 0.0)
        for event in self.one.summaries(100):
            self.other.apply(event, 100)
        self.assertEqual(self.other.first_content(100), {"m": 1.0})
        self.assertEqual(self.other.throughput(100), {"m": 10.0})
        self.assertIsNotNone(self.other.p95("m"))
        self.assertEqual(self.other.plain_p95("m"), 0.001)

    def test_warm_start(self) -> None:
        """What was heard of a third replica is passed on, as old as it is."""
        self.one.started("m", 1.0, 100)
        for event in self.one.summaries(100):
            self.other.apply(event, 100)
        late = SharedLatency(Outbox(3))
        for event in self.other.events(400):
            late.apply(event, 5000 - event.age / 1000)
        self.assertEqual(late.first_content(5000), {"m": 1.0})
        self.assertEqual(late.first_content(5000 + FORGET_AFTER - 301), {"m": 1.0})
        self.assertEqual(late.first_content(5000 + FORGET_AFTER - 299), {})

    def test_many_replicas(self) -> None:
        """The more replicas send summaries, the more rarely each does."""
        self.assertEqual(self.one.interval(100), 1.0)
        for replica in range(3, 3 + 159):
            self.one.apply(measured(replica, "m"), 100)
        self.assertEqual(self.one.interval(150), 20.0)
        for replica in range(3, 3 + 2000):
            self.one.apply(measured(replica, "m"), 160)
        self.assertLessEqual(len(self.one._heard), 1024)
        self.assertEqual(self.one.interval(170), LONGEST_BETWEEN)
        self.assertEqual(self.one.interval(300), 1.0)

    def test_bounded(self) -> None:
        """Neither many replicas nor many models fill the memory."""
        for replica in range(3, 3 + MOST_REPLICAS + 5):
            self.one.apply(measured(replica, "m"), 100)
        self.assertEqual(sum(1 for _ in self.one.events(100)), MOST_REPLICAS)
        for each in range(1100):
            self.one.apply(measured(3, f"model {each}"), 100)
        self.assertEqual(sum(1 for _ in self.one.events(100)), 1024)


def measured(replica: int, model: str) -> Measured:
    """Return a summary of a replica."""
    return Measured((replica, replica), 0, model, (1_000_000, 0), None, (), (), 0, ())
