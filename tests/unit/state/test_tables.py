"""What an event means to the tables together."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.latency import LatencyStats
from autopilot.state.tables import StateTables

KEY = (b"client", "auto")


class StateTablesTests(SynchronousTestCase):
    """Failures, successes and rates."""

    def setUp(self) -> None:
        """Make tables whose breaker opens at the first failure."""
        self.tables = StateTables(
            SessionAffinity(ttl=100.0, max_entries=10, list_retry=10.0),
            CircuitBreaker(threshold=1, period=10.0),
            LatencyStats(),
        )

    def cooling(self) -> frozenset[str]:
        """The models that cool at second 6."""
        return self.tables.breaker.cooling(6)

    def test_failures_that_count(self) -> None:
        """Lost connections, deadlines, 5xx and a 2xx that broke count against the model."""
        for status in (None, 500, 503, 200):
            self.setUp()
            self.tables.failed(KEY, "m", status, 6)
            self.assertEqual(self.cooling(), {"m"}, status)

    def test_client_errors_do_not_count(self) -> None:
        """A 4xx says nothing against the model, though this client has to go elsewhere."""
        self.tables.affinity.served(KEY, "m", 5)
        self.tables.failed(KEY, "m", 429, 6)
        self.assertEqual(self.cooling(), frozenset())
        self.assertIsNone(self.tables.affinity.remembered(KEY, 6))
        self.assertEqual(self.tables.affinity.failed_recently(KEY, 6), {"m"})

    def test_served(self) -> None:
        """A whole 2xx ends the cooling and is remembered."""
        self.tables.breaker.failed("m", 5)
        self.tables.served(KEY, "m", 6)
        self.assertEqual(self.cooling(), frozenset())
        self.assertEqual(self.tables.affinity.remembered(KEY, 6), "m")

    def test_committed(self) -> None:
        """A 2xx that may still break is remembered, but ends no cooling before it succeeds."""
        self.tables.breaker.failed("m", 5)
        self.tables.committed(KEY, "m", 6)
        self.assertEqual(self.cooling(), {"m"})
        self.assertEqual(self.tables.affinity.remembered(KEY, 6), "m")
        self.tables.succeeded("m")
        self.assertEqual(self.cooling(), frozenset())

    def test_broke(self) -> None:
        """An answer that broke after commit counts as a failure, and is marked as broken."""
        self.tables.committed(KEY, "m", 5)
        self.tables.broke(KEY, "m", 6)
        self.assertEqual(self.cooling(), {"m"})
        self.assertEqual(self.tables.affinity.look_up(KEY, 6), (None, {"m"}, "m"))

    def test_without_key(self) -> None:
        """If the client named one model, nothing is remembered of the client."""
        self.tables.failed(None, "m", 503, 6)
        self.tables.broke(None, "m", 6)
        self.tables.committed(None, "m", 7)
        self.tables.served(None, "m", 7)
        self.assertEqual(len(self.tables.affinity), 0)

    def test_ended(self) -> None:
        """A stream that ended is a success if it is whole; its client may have left it."""
        self.tables.breaker.failed("m", 5)
        self.tables.ended("m", None, 0, 1.0, 6, whole=False)
        self.assertEqual(self.cooling(), {"m"})
        self.tables.ended("m", None, 0, 1.0, 6, whole=True)
        self.assertEqual(self.cooling(), frozenset())

    def test_measured(self) -> None:
        """A few tokens, or no time, make no rate."""
        self.tables.ended("m", None, 7, 1.0, 8, whole=True)
        self.tables.ended("m", None, 100, 0.0, 8, whole=True)
        self.assertEqual(self.tables.latency.throughput(8), {})
        self.assertEqual(self.tables.latency.first_content(8), {})
        self.tables.ended("m", 0.5, 8, 2.0, 9, whole=True)
        self.assertEqual(self.tables.latency.throughput(9), {"m": 4.0})
        self.assertEqual(self.tables.latency.first_content(9), {"m": 0.5})
