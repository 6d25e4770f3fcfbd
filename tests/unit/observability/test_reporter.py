"""Tests of the reporter of request records."""

from __future__ import annotations

import json

from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from autopilot.observability.logs import json_line, text_line
from autopilot.observability.records import Failover, Outcome, RequestRecord
from autopilot.observability.reporter import NAMESPACE, Reporter, records_to_log
from autopilot.routing.failure_reason import FailureReason
from tests.unit.observability.records import record, refused


class ReporterTests(SynchronousTestCase):
    """The events of records, and their sampling."""

    def report(
        self, *records: RequestRecord, sample: float = 1.0, chance: float = 0.5
    ) -> list[LogEvent]:
        """Return the events of these records."""
        events: list[LogEvent] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            events.append(event)

        write = records_to_log(Logger(namespace=NAMESPACE, observer=observe))
        made = Reporter(sample, lambda: chance, write)
        for each in records:
            made.report(each)
        return events

    def message(self, reported: RequestRecord) -> str:
        """Return the text of the only line, without its time."""
        (event,) = self.report(reported)
        return text_line(event).partition("autopilot.requests: ")[2].rstrip("\n")

    def test_text(self) -> None:
        """The text has the facts, with times in milliseconds."""
        self.assertEqual(
            self.message(record()),
            "r1 alias model=m why=best status=200 attempts=1/3 ttfb=123.5ms duration=2000.0ms"
            " bytes=42 endpoint=/v1/chat/completions stream=true completed",
        )
        failed = Failover("org/x:THINKING", FailureReason("status_503"), 503, 12.5)
        self.assertIn(
            "attempts=2/3 failovers=status_503:503:12.5ms:org/x:THINKING,connect_error:-:1.0ms:m0 ",
            self.message(record(attempts=2, failovers=(failed, "connect_error"))),
        )
        self.assertIn(" stream=false completed", self.message(record(stream=False)))

    def test_break(self) -> None:
        """The text of a broken answer says why it broke."""
        broken = record(outcome=Outcome.UPSTREAM_BROKEN, reason=FailureReason.CUT)
        self.assertTrue(self.message(broken).endswith(" stream=true reason=cut upstream_broken"))

    def test_no_none(self) -> None:
        """Unknown facts are not in the text."""
        self.assertEqual(
            self.message(refused()),
            "r1 none status=400 code=unknown_model attempts=0/0 duration=2000.0ms bytes=0"
            " endpoint=/v1/chat/completions refused",
        )
        gone = record(status=None, ttfb_ms=None, outcome=Outcome.CLIENT_GONE, bytes=0)
        self.assertNotIn("None", self.message(gone))

    def test_braces_in_values(self) -> None:
        """A client's text is a value, never part of the format."""
        text = self.message(record(req_id="{log_source}", model="{0!r}\n\x1b[31m"))
        self.assertIn(r'{log_source} alias model="{0!r}\n\u001b[31m" why=best', text)
        self.assertNotIn("\x1b", text)

    def test_json(self) -> None:
        """The event has each fact as a field, and numbers as numbers."""
        (event,) = self.report(record())
        line = json.loads(json_line(event))
        for shared in ("time", "level", "logger", "message"):
            del line[shared]
        self.assertEqual(
            line,
            {
                "req_id": "r1",
                "mode": "alias",
                "candidates": 3,
                "model": "m",
                "attempts": 1,
                "failovers": [],
                "status": 200,
                "snapshot_age_ms": 1250.0,
                "catalog_age_ms": 60000.0,
                "ttfb_ms": 123.5,
                "duration_ms": 2000.0,
                "bytes": 42,
                "outcome": "completed",
                "terminated": True,
                "endpoint": "/v1/chat/completions",
                "code": None,
                "reason": None,
                "stream": True,
                "why": "best",
                "affinity": "miss",
                "affinity_why": "new",
                "usage": None,
                "cost_picodollars": None,
                "key": None,
                "private": False,
                "instance": None,
                "waited_ms": None,
                "backend": None,
                "hedged": None,
                "dropped": None,
            },
        )
        (event,) = self.report(refused())
        self.assertIsNone(json.loads(json_line(event))["ttfb_ms"])

    def test_sampling(self) -> None:
        """Only clean successes are sampled."""
        for wrong in (
            record(outcome=Outcome.CLIENT_GONE, status=None),
            record(outcome=Outcome.UPSTREAM_BROKEN),
            record(outcome=Outcome.SHUT_DOWN),
            record(outcome=Outcome.RELAYED_ERROR, status=503),
            record(outcome=Outcome.RELAYED_ERROR, status=429),
            record(outcome=Outcome.FAILED, status=502),
            record(outcome=Outcome.UPSTREAM_EMPTY),
            record(failovers=("status_503",), attempts=2),
            record(terminated=False),
            refused(),
        ):
            self.assertEqual(len(self.report(wrong, sample=0.0, chance=0.0)), 1, wrong)
        for sample, chance, logged in (
            (0.0, 0.0, 0),
            (0.25, 0.25, 0),
            (0.25, 0.24, 1),
            (1.0, 0.999, 1),
        ):
            self.assertEqual(len(self.report(record(), sample=sample, chance=chance)), logged)

    def test_record_has_no_secrets(self) -> None:
        """A record has no field for an address, a token, a header or a body (contract §10)."""
        self.assertEqual(
            set(RequestRecord.__struct_fields__),
            {
                "req_id",
                "mode",
                "candidates",
                "model",
                "attempts",
                "failovers",
                "status",
                "snapshot_age_ms",
                "catalog_age_ms",
                "ttfb_ms",
                "duration_ms",
                "bytes",
                "outcome",
                "terminated",
                "endpoint",
                "code",
                "reason",
                "stream",
                "why",
                "affinity",
                "affinity_why",
                "usage",
                "cost_picodollars",
                "key",
                "private",
                "instance",
                "waited_ms",
                "backend",
                "hedged",
                "dropped",
            },
        )
