"""The records of requests that are refused at their head."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.records import Outcome, RequestRecord
from autopilot.observability.refusals import MOST_A_MINUTE, Refusals, ignore
from autopilot.routing.router_error import RouterError
from autopilot.routing.snapshot import Snapshot

_NO_KEY = RouterError(401, "missing_key", "No key.")
_TOO_LARGE = RouterError(413, "request_too_large", "Too large.")


class RefusalsTests(SynchronousTestCase):
    """What is written, and what is counted."""

    def setUp(self) -> None:
        """Start at some time, with data of the feeds."""
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.records: list[RequestRecord] = []
        snapshot = Snapshot(utilization_at=990.0)
        self.refusals = Refusals(self.clock.seconds, lambda: snapshot, self.records.append)
        self.logged = EventLoggingObserver()
        globalLogPublisher.addObserver(self.logged)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged)

    def lines(self) -> list[str]:
        """Return the lines logged so far."""
        return [formatEvent(event) for event in self.logged]

    def test_key(self) -> None:
        """A refusal for the limit of a key has the key's name."""
        error = RouterError(429, "key_rate_limited", "Too many.", key="alice")
        self.refusals.add("/v1/messages", error, "r")
        self.assertEqual(self.records[-1].key, "alice")

    def flood(self, count: int, error: RouterError = _NO_KEY) -> int:
        """Refuse so many requests; return the number of new records."""
        before = len(self.records)
        for number in range(count):
            self.refusals.add("/v1/completions", error, f"id-{number}")
        return len(self.records) - before

    def test_record(self) -> None:
        """A record says which request was refused, and why."""
        self.refusals.add("/v1/completions", _NO_KEY, "mine")
        (record,) = self.records
        self.assertEqual((record.req_id, record.endpoint), ("mine", "/v1/completions"))
        self.assertEqual((record.status, record.code), (401, "missing_key"))
        self.assertEqual((record.outcome, record.mode), (Outcome.REFUSED, "none"))
        self.assertEqual((record.snapshot_age_ms, record.catalog_age_ms), (10_000.0, None))
        self.refusals.add("", RouterError(500, "internal_error", "A bug."), "other")
        self.assertEqual(self.records[-1].outcome, Outcome.FAILED)
        ignore("", _NO_KEY, "mine")

    def test_flood(self) -> None:
        """Beyond some a minute they are counted, and the counts are logged ever more rarely."""
        self.assertEqual(self.flood(MOST_A_MINUTE), MOST_A_MINUTE)
        self.assertEqual(self.lines(), [])
        self.assertEqual(self.flood(500), 0)
        self.assertEqual(self.flood(2, _TOO_LARGE), 0)
        said = "More than 60 requests a minute are refused at their head: "
        self.assertEqual(
            self.lines(),
            [
                f"{said}1 with 401 missing_key left no record",
                f"{said}1 with 413 request_too_large left no record",
            ],
        )
        self.clock.advance(60.0)
        self.assertEqual(self.flood(MOST_A_MINUTE + 1), MOST_A_MINUTE)
        self.assertEqual(self.lines()[2:], [f"{said}500 with 401 missing_key left no record"])

    def test_next_minute(self) -> None:
        """A minute after the first one there are records again."""
        self.flood(MOST_A_MINUTE + 1)
        self.clock.advance(59.9)
        self.assertEqual(self.flood(1), 0)
        self.clock.advance(0.1)
        self.assertEqual(self.flood(1), 1)
