"""Tests of what replicas make of each other's publications; test_shared_feed.py has the roles."""

from __future__ import annotations

from autopilot.feeds.polling import UTILIZATION
from tests.unit.feeds.replicas import LEASE, STEP, UTILIZATION_EVERY, Replica, ReplicasTestCase

HOUR = 3600.0


class FeedNewsTests(ReplicasTestCase):
    """A holder and a reader."""

    def setUp(self) -> None:
        """Start both."""
        super().setUp()
        self.holder, self.reader = self.replica(), self.replica()
        self.run_for(20.0)

    def age(self, one: Replica) -> float:
        """Return the age of a replica's data."""
        return one.clock.seconds() - (one.status().fetched_at or 0.0)

    def test_clock_set_back(self) -> None:
        """A clock set back an hour makes data no older than since the last look into the store."""
        self.server.step = -HOUR
        self.run_for(UTILIZATION_EVERY)
        self.assertGreaterEqual(self.age(self.reader), self.age(self.holder))
        self.assertLess(self.age(self.reader), self.age(self.holder) + LEASE / 3)

    def test_clock_set_forward(self) -> None:
        """One that was set forward keeps publications out, as late ones, until that is known."""
        self.server.step = HOUR
        keys = [key for key in self.server.values if key.count(b":") == 3]
        before = [self.server.values[key][0] for key in keys]
        self.run_for(UTILIZATION_EVERY)
        self.assertEqual([self.server.values[key][0] for key in keys], before)
        self.assertLess(self.age(self.reader), 2 * UTILIZATION_EVERY)
        self.server.step = 0.0
        self.run_for(LEASE)
        self.assertEqual(sorted(self.roles()), ["holder", "reader"])

    def test_message_waits(self) -> None:
        """A message that waited for a reader that stood still is as old as that."""
        self.reader.moves = False
        self.run_for(UTILIZATION_EVERY / 2)
        self.reader.clock.advance(UTILIZATION_EVERY / 2)
        self.reader.moves = True
        self.run_for(STEP)
        self.assertLess(abs(self.age(self.reader) - self.age(self.holder)), 0.3)

    def test_older_again(self) -> None:
        """A server that took over, and lags behind, does not bring back old data as new."""
        before = dict(self.server.values)
        self.run_for(UTILIZATION_EVERY)
        fetched_at = self.reader.status().fetched_at
        self.server.values = {
            key: value for key, value in before.items() if not key.endswith(b":lease")
        }
        for key in [key for key in before if key.endswith(b":lease")]:
            self.server.set(key, b"replica-9", b"30000")
        self.run_for(12.0)
        self.assertEqual(self.reader.status().fetched_at, fetched_at)
        self.assertIn(UTILIZATION, self.reader.plane.roles())
