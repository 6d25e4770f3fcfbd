"""Tests of the arithmetic of shared state at scale, with the sizes of real events."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.events import Event, encode
from benchmarks.scale import (
    CHATS,
    HABITS,
    HEADROOM,
    RECEIVERS_PART,
    SENDER_BYTES,
    WORST,
    Costs,
    Habits,
    event_bytes,
    failed,
    measured,
    most_replicas,
    receiving,
    report,
    stuck,
    traffic,
)

COSTS = Costs(publish=2.0, deliver=1.0, deliver_byte=0.001, keep=0.5, apply=10.0)


class TrafficTests(SynchronousTestCase):
    """What replicas send, and what the store delivers."""

    def test_hundred_replicas(self) -> None:
        """The case of the documentation: 100 replicas with 1,000 requests a second each."""
        made = traffic(100, 1000, CHATS)
        self.assertEqual(made.events, 100 * (1000 / 20 + 1000 / 100 + 20))
        self.assertEqual(made.messages, 100 * 80)
        self.assertEqual(made.deliveries, made.messages * 100)
        self.assertEqual(made.delivered_bytes, made.published_bytes * 100)

    def test_batches(self) -> None:
        """A replica sends 100 messages a second at most, and they hold what real batches hold."""
        made = traffic(1, 1000, WORST)
        self.assertEqual(made.messages, 100)
        events: list[Event] = [stuck(), failed()] * 10
        (batch,) = encode(events)
        few = traffic(1, 1000, replace(WORST, measured_models=0))
        error = few.published_bytes / few.messages - (len(batch) + SENDER_BYTES)
        self.assertLess(abs(error), 4)

    def test_square(self) -> None:
        """Twice as many replicas are twice the events and four times the deliveries."""
        one, two = traffic(10, 500, CHATS), traffic(20, 500, CHATS)
        self.assertEqual(two.events, 2 * one.events)
        self.assertEqual(two.deliveries, 4 * one.deliveries)

    def test_bound(self) -> None:
        """No habit has more than two events for a request, beside the summaries."""
        for habits in HABITS:
            self.assertLessEqual(habits.stuck + habits.failed, 2)

    def test_sizes(self) -> None:
        """An event is small: what is sent for a request fits in a packet, twice over."""
        self.assertLess(event_bytes(stuck()) + event_bytes(failed()), 700)
        self.assertEqual(event_bytes(stuck(1)), event_bytes(stuck(2)))
        self.assertGreater(event_bytes(measured()), event_bytes(stuck()))


class CostTests(SynchronousTestCase):
    """Processor time, and how many replicas it suffices for."""

    def test_store(self) -> None:
        """Commands, deliveries and their bytes, and kept events add up."""
        made = traffic(10, 1000, Habits("", 1.0, 0.0, measured_models=0))
        expected = 1000 * 4 * 2.0 + 10_000 * 0.5 + 10_000 * 1.0 + made.delivered_bytes * 0.001
        self.assertAlmostEqual(COSTS.store(made), expected / 1e6)
        self.assertAlmostEqual(COSTS.replica(made), 9000 * 10.0 / 1e6)

    def test_most_replicas(self) -> None:
        """One more replica would exceed a limit: the store's or that of each process."""
        for costs in (COSTS, replace(COSTS, apply=0.0)):
            most = most_replicas(1000, CHATS, costs)
            self.assertGreater(most, 1)
            fits, exceeds = traffic(most, 1000, CHATS), traffic(most + 1, 1000, CHATS)
            self.assertLessEqual(costs.store(fits), HEADROOM)
            self.assertLessEqual(costs.replica(fits), RECEIVERS_PART)
            self.assertTrue(
                costs.store(exceeds) > HEADROOM or costs.replica(exceeds) > RECEIVERS_PART
            )

    def test_received(self) -> None:
        """The events that are timed are really applied."""
        self.assertGreater(receiving(100), 0)

    def test_report(self) -> None:
        """The report has a row for each habit and number of replicas."""
        text = report(COSTS, 1000, (3, 100))
        self.assertEqual(text.count("\n| "), 1 + len(HABITS) * 2)
        self.assertIn("| 100 | 8,000 |", text)
