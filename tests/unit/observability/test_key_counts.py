"""Tests of the counts by names of keys."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.key_counts import MOST_NAMES, KeyCounts
from autopilot.observability.records import DroppedCall, Failover
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.usage import PICODOLLARS, Usage
from tests.unit.observability.records import record, refused


class KeyCountsTests(SynchronousTestCase):
    """What is counted, and under which names."""

    def setUp(self) -> None:
        """Make counters."""
        self.counts = KeyCounts()
        self.resting: list[str] = []

    def text(self) -> str:
        """Return all samples."""
        found = self.counts.instruments(lambda: self.resting)
        return "".join(each.exposition() for each in found)

    def test_requests(self) -> None:
        """A request counts with all that it used, failed attempts included."""
        self.counts.record(record(key=None, usage=Usage(1, 0, 1)))
        self.assertNotIn('key="', self.text())
        failed = Failover("m", FailureReason.CUT, 200, 1.0, Usage(3, 0, 4), PICODOLLARS)
        self.counts.record(
            record(key="a", usage=Usage(10, 5, None), cost_picodollars=None, failovers=(failed,))
        )
        dropped = DroppedCall("b", 200, 1.0, Usage(30, 0, 0), 2 * PICODOLLARS)
        self.counts.record(record(key="b", hedged="won", dropped=dropped))
        text = self.text()
        self.assertIn('key_tokens_total{key="b"} 30.0', text)
        self.assertIn('key_cost_dollars_total{key="b"} 2.0', text)
        self.assertIn('key_requests_total{key="a",outcome="completed"} 1.0', text)
        self.assertIn('key_tokens_total{key="a"} 17.0', text)
        self.assertIn('key_cost_dollars_total{key="a"} 1.0', text)

    def test_refusals(self) -> None:
        """Those of limits are counted as they happen, those of models by their records."""
        self.counts.refused("a", "key_rate_limited")
        self.counts.record(refused(key="a", code="key_rate_limited"))
        self.counts.record(refused(key="a", code="model_not_allowed"))
        text = self.text()
        self.assertIn('key_refusals_total{code="key_rate_limited",key="a"} 1.0', text)
        self.assertIn('key_refusals_total{code="model_not_allowed",key="a"} 1.0', text)
        self.assertIn('key_requests_total{key="a",outcome="refused"} 2.0', text)

    def test_pool(self) -> None:
        """Keys of the pool count by their names as well."""
        self.counts.lent("p")
        self.counts.rested("p", "edge")
        self.resting.append("p")
        text = self.text()
        self.assertIn('pool_key_requests_total{key="p"} 1.0', text)
        self.assertIn('pool_key_rests_total{key="p",reason="edge"} 1.0', text)
        self.assertIn('pool_key_resting{key="p"} 1.0', text)

    def test_bound(self) -> None:
        """Only so many names have series of their own."""
        for number in range(MOST_NAMES + 2):
            self.counts.lent(f"k{number}")
        text = self.text()
        self.assertIn('pool_key_requests_total{key="other"} 2.0', text)
        self.assertEqual(text.count("pool_key_requests_total{"), MOST_NAMES + 1)
