"""Tests of the recent requests."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.history import FinishedRequest, History
from autopilot.observability.records import FAILURES, Outcome
from tests.unit.observability.records import record, refused


class RecentTests(SynchronousTestCase):
    """The kept records."""

    def setUp(self) -> None:
        """Keep records at the times of a simulated wall clock."""
        self.clock = Clock()
        self.recent = History(self.clock.seconds, self.clock.seconds)

    def test_newest_first(self) -> None:
        """The last fifty records are kept, newest first."""
        self.assertEqual(self.recent.latest(), ())
        for number in range(60):
            self.recent.add(record(model=f"m{number}"))
        models = [each.record.model for each in self.recent.latest()]
        self.assertEqual(models, [f"m{number}" for number in range(59, 9, -1)])

    def test_times(self) -> None:
        """Each record has the time at which its request ended."""
        first, second = record(req_id="1"), record(req_id="2")
        self.recent.add(first)
        self.clock.advance(2.5)
        self.recent.add(second)
        expected = (FinishedRequest(2.5, second), FinishedRequest(0.0, first))
        self.assertEqual(self.recent.latest(), expected)

    def test_failures(self) -> None:
        """Successes displace no failure; of failures, too, the last fifty are kept."""
        for number in range(60):
            self.recent.add(refused(req_id=str(number)))
        for _ in range(60):
            self.recent.add(record())
        self.assertTrue(all(each.record.model for each in self.recent.latest()))
        kept = [each.record.req_id for each in self.recent.latest_failures()]
        self.assertEqual(kept, [str(number) for number in range(59, 9, -1)])

    def test_every_outcome(self) -> None:
        """What is logged as a failure is listed as one."""
        for outcome in Outcome:
            recent = History(self.clock.seconds, self.clock.seconds)
            recent.add(record(outcome=outcome))
            self.assertEqual(len(recent.latest_failures()), outcome in FAILURES, outcome)
