"""What one exchange leaves behind."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.records import RequestRecord
from autopilot.relay.journal import Journal, Memory
from autopilot.state.affinity import Key, SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.latency import LatencyStats

KEY: Key = (b"client", "auto")


class JournalTests(SynchronousTestCase):
    """What counts for a model, what against it, and the record at the end."""

    def setUp(self) -> None:
        """A memory in which one failure is enough to cool."""
        self.memory = Memory(
            SessionAffinity(ttl=100, max_entries=10, list_retry=10),
            CircuitBreaker(threshold=1, period=10),
            LatencyStats(),
        )
        self.records: list[RequestRecord] = []
        self.journal = self.open(KEY)

    def open(self, key: Key | None) -> Journal:
        """A journal that begins at second 5."""
        return Journal(
            self.memory,
            key,
            request_id="r1",
            mode="alias",
            candidates=3,
            snapshot_age=1.5,
            catalog_age=None,
            started=5.0,
            record=self.records.append,
        )

    def cooling(self) -> frozenset[str]:
        """The models that cool at second 6."""
        return self.memory.cooldown.cooling(6)

    def test_failures_that_count(self) -> None:
        """Lost connections, deadlines, 5xx and a 2xx that broke count against the model."""
        for status in (None, 500, 503, 200):
            self.setUp()
            self.journal.failed("m", "some_reason", status, 6)
            self.assertEqual(self.cooling(), {"m"}, status)

    def test_refusals_do_not_count(self) -> None:
        """A 4xx says nothing against the model, though this client has to go elsewhere."""
        self.memory.stickiness.served(KEY, "m", 5)
        self.journal.failed("m", "capacity_429", 429, 6)
        self.assertEqual(self.cooling(), frozenset())
        self.assertIsNone(self.memory.stickiness.remembered(KEY, 6))
        self.assertEqual(self.memory.stickiness.failed_recently(KEY, 6), {"m"})

    def test_success(self) -> None:
        """A 2xx ends the cooling and is remembered; another committed response does neither."""
        self.memory.cooldown.failed("m", 5)
        for status in (400, 503, 302):
            self.journal.committed("m", status, 6)
            self.assertEqual(self.cooling(), {"m"})
            self.assertIsNone(self.memory.stickiness.remembered(KEY, 6))
        self.journal.committed("m", 200, 6)
        self.assertEqual(self.cooling(), frozenset())
        self.assertEqual(self.memory.stickiness.remembered(KEY, 6), "m")

    def test_probe(self) -> None:
        """An attempt on a model whose time is over is its one probe."""
        self.memory.cooldown.failed("m", -5)
        self.journal.attempting("m", 5)
        self.assertEqual(self.cooling(), {"m"})

    def test_without_key(self) -> None:
        """Where the client named one model nothing is remembered of the client."""
        journal = self.open(None)
        journal.failed("m", "status_503", 503, 6)
        journal.committed("m", 200, 7)
        self.assertEqual(len(self.memory.stickiness), 0)

    def test_experience(self) -> None:
        """Time to the answer and rate are noted; a few events make no rate."""
        self.journal.answered("m", 2.0, 7)
        self.journal.streamed("m", 7, 1.0, 8)
        self.journal.streamed("m", 100, 0.0, 8)
        self.assertEqual(self.memory.experience.first_content(8), {"m": 2.0})
        self.assertEqual(self.memory.experience.throughput(8), {})
        self.journal.streamed("m", 8, 2.0, 9)
        self.assertEqual(self.memory.experience.throughput(9), {"m": 4.0})

    def test_record(self) -> None:
        """The whole story, with times since the request began."""
        self.journal.attempting("a", 5)
        self.journal.failed("a", "status_503", 503, 6)
        self.journal.attempting("b", 6)
        self.journal.committed("b", 200, 7)
        self.journal.close("completed", 42, False, 9)
        self.assertEqual(
            self.records,
            [
                RequestRecord(
                    request_id="r1",
                    mode="alias",
                    candidates=3,
                    model="b",
                    attempts=2,
                    failovers=("status_503",),
                    status=200,
                    snapshot_age=1.5,
                    catalog_age=None,
                    first_byte=2.0,
                    duration=4.0,
                    sent=42,
                    outcome="completed",
                    terminated=False,
                )
            ],
        )

    def test_refused(self) -> None:
        """A refusal has a status and no model, unless one was tried."""
        self.journal.refused(400, 6)
        self.journal.close("refused", 0, True, 6)
        self.journal.attempting("m", 6)
        self.journal.close("client_gone", 0, True, 6)
        first, second = self.records
        self.assertEqual((first.model, first.status, first.first_byte), (None, 400, 1.0))
        self.assertEqual(second.model, "m")

    def test_long_names(self) -> None:
        """Of a name the client made up, a record keeps only the beginning."""
        self.journal.attempting("m" * 100_000, 5)
        self.journal.close("client_gone", 0, True, 6)
        self.assertEqual(self.records[0].model, "m" * 256)
