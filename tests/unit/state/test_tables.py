"""What an event means to the tables together."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.why import FAILED
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.latency import LatencyStats, Pauses
from autopilot.state.tables import GivenUp, StateTables

CLIENT = b"client"
KEY = (CLIENT, b"auto", b"talk")


class StateTablesTests(SynchronousTestCase):
    """Failures, successes and rates."""

    def setUp(self) -> None:
        """Make tables whose breaker opens at the first failure."""
        self.tables = StateTables(
            SessionAffinity(ttl=100.0, max_entries=10, list_retry=10.0),
            CircuitBreaker(threshold=1, period=10.0, max_entries=10),
            LatencyStats(),
        )

    def cooling(self) -> frozenset[str]:
        """The models that cool at second 6."""
        return self.tables.breaker.cooling(None, 6)

    def test_failures_that_count(self) -> None:
        """Whatever leads to another model counts against this one, a 4xx too."""
        for reason in set(FailureReason) - {FailureReason.CONTEXT}:
            self.setUp()
            self.tables.failed(CLIENT, KEY, "m", reason, 6, 0.0)
            self.assertEqual(self.cooling(), {"m"}, reason)

    def test_context_does_not_count(self) -> None:
        """A long prompt says nothing against the model, though this client has to go elsewhere."""
        self.tables.affinity.served(KEY, "m", 5)
        self.tables.failed(CLIENT, KEY, "m", FailureReason.CONTEXT, 6, 0.0)
        self.assertEqual(self.cooling(), frozenset())
        self.assertIsNone(self.tables.affinity.remembered(KEY, 6))
        self.assertEqual(self.tables.affinity.failed_recently(KEY, 6), {"m"})

    def test_committed(self) -> None:
        """A 2xx that may still break is remembered, but ends no cooling before it succeeds."""
        self.tables.breaker.failed(CLIENT, "m", 5, 0.0)
        self.tables.committed(KEY, "m", 6)
        self.assertEqual(self.cooling(), {"m"})
        self.assertEqual(self.tables.affinity.remembered(KEY, 6), "m")

    def test_broke(self) -> None:
        """An answer that broke after commit counts as a failure, and is marked as broken."""
        self.tables.committed(KEY, "m", 5)
        self.tables.broke(CLIENT, KEY, "m", 6, 0.0)
        self.assertEqual(self.cooling(), {"m"})
        self.assertEqual(self.tables.affinity.look_up(KEY, 6), (None, {"m"}, "m", FAILED))

    def test_slow_failures(self) -> None:
        """A failure that took long counts for longer, in either table."""
        for fail in (
            lambda: self.tables.failed(CLIENT, KEY, "m", FailureReason.CUT, 6, 3.0),
            lambda: self.tables.broke(CLIENT, KEY, "m", 6, 3.0),
        ):
            self.setUp()
            fail()
            self.assertEqual(self.tables.breaker.cooling(None, 35.9), {"m"})
            self.assertEqual(self.tables.breaker.cooling(None, 36), frozenset())
            self.assertEqual(self.tables.affinity.failed_recently(KEY, 35.9), {"m"})
            self.assertEqual(self.tables.affinity.failed_recently(KEY, 36), frozenset())

    def test_given_up_for_a_quicker_one(self) -> None:
        """An attempt that gave way is a failure if another answered within its time."""
        for answered_in in (0.0, 12.0):
            self.setUp()
            given_up = GivenUp("m", FailureReason.HEADER_TIMEOUT, 12.0)
            self.tables.given_up(CLIENT, KEY, given_up, answered_in, 6)
            self.assertEqual(self.tables.breaker.cooling(None, 125.9), {"m"})
            self.assertEqual(self.tables.affinity.failed_recently(KEY, 6), {"m"})
            self.assertEqual(self.tables.latency.first_content(6), {})

    def test_given_up_for_no_quicker_one(self) -> None:
        """Otherwise its time is one of the model's, of the kind that it waited for."""
        for answered_in in (None, 180.1):
            self.setUp()
            for _ in range(20):
                self.tables.given_up(
                    CLIENT, KEY, GivenUp("m", FailureReason.HEADER_TIMEOUT, 12.0), answered_in, 6
                )
                plain = GivenUp("m", FailureReason.PLAIN_TIMEOUT, 180.0, plain=True)
                self.tables.given_up(CLIENT, KEY, plain, answered_in, 6)
            for _ in range(100):
                stalled = GivenUp("m", FailureReason.STALLED, 12.0, paused=9.0)
                self.tables.given_up(CLIENT, KEY, stalled, answered_in, 6)
            known = self.tables.latency
            self.assertEqual((known.p95("m"), known.plain_p95("m")), (12.0, 180.0))
            self.assertEqual(known.p99_pause("m"), 9.0)
            self.assertEqual(self.cooling(), frozenset())
            self.assertEqual(self.tables.affinity.failed_recently(KEY, 6), frozenset())

    def test_pauses(self) -> None:
        """The pauses of an answer are remembered with its other times."""
        pauses = Pauses()
        for _ in range(100):
            pauses.add(2.0)
        self.tables.ended("m", None, 0, 0.0, 8, pauses)
        self.assertEqual(self.tables.latency.p99_pause("m"), 2.0)

    def test_without_key(self) -> None:
        """If the client named one model, nothing is remembered of the client."""
        self.tables.failed(CLIENT, None, "m", FailureReason.CUT, 6, 0.0)
        self.tables.broke(CLIENT, None, "m", 6, 0.0)
        self.tables.committed(None, "m", 7)
        self.assertEqual(len(self.tables.affinity), 0)

    def test_measured(self) -> None:
        """A few tokens, or no time, make no rate."""
        self.tables.ended("m", None, 7, 1.0, 8)
        self.tables.ended("m", None, 100, 0.0, 8)
        self.assertEqual(self.tables.latency.throughput(8), {})
        self.assertEqual(self.tables.latency.first_content(8), {})
        self.tables.ended("m", 0.5, 8, 2.0, 9)
        self.assertEqual(self.tables.latency.throughput(9), {"m": 4.0})
        self.assertEqual(self.tables.latency.first_content(9), {"m": 0.5})
