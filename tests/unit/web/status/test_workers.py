"""Tests of the section of the workers, and of the requests' column."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.history import FinishedRequest
from autopilot.observability.workers import WorkerNow, WorkersNow
from autopilot.web.status.requests import Shown, requests
from autopilot.web.status.sections import sections
from autopilot.web.status.workers import alone, workers
from tests.unit.observability.records import record
from tests.unit.web.status.test_page import Reading, data, read
from tests.unit.web.status.values import facts, finished


def worker(number: int, state: str = "ready", **members: Any) -> WorkerNow:
    """Return a worker that has run for two minutes."""
    return WorkerNow(
        **{
            "worker": number,
            "pid": 4000 + number,
            "state": state,
            "uptime_seconds": 125.0,
            "requests_active": 10 + number,
            "connections": 20 + number,
            "received": 1000 + number,
            **members,
        }
    )


class SectionTests(SynchronousTestCase):
    """The section."""

    def test_single(self) -> None:
        """A router without workers has neither section nor column nor members."""
        report = facts("a", recent=finished(record()))
        self.assertEqual(str(workers(None)), '<section id="workers" hidden></section>')
        self.assertEqual(str(alone(None)), '<section id="alone" role="status" hidden></section>')
        self.assertNotIn("Worker", read(report).text)
        self.assertFalse({"workers", "worker_alone"} & data(report).keys())
        self.assertNotIn("worker", data(report)["recent"][0])

    def test_rows(self) -> None:
        """Each worker has its figures; what only it knows may not be known."""
        known = worker(1, cpu_seconds=33.0, resident_bytes=51.4e6, report_age_seconds=1.0)
        text = Reading(str(workers(WorkersNow(2, 2, processes=(worker(0), known))))).text
        self.assertIn("2 of 2 workers ready", text)
        self.assertIn("None has ended unexpectedly", text)
        self.assertIn("0servesno report yet10201,000––2 min4000", text)
        self.assertIn("1serves11211,00133 s51 MB2 min4001", text)

    def test_states(self) -> None:
        """The states have words; a report that is not fresh has its age."""
        now = WorkersNow(
            3,
            1,
            deaths=1,
            holds=2,
            restarts=1,
            processes=(
                worker(0, "held", report_age_seconds=42.0),
                worker(1, "draining"),
                worker(1),
                worker(2, "starting"),
            ),
        )
        shown = str(workers(now))
        text = Reading(shown).text
        self.assertIn("1 of 3 workers ready", text)
        self.assertIn(
            "1 worker ended unexpectedly, one was held 2 times, all were restarted 1 time", text
        )
        self.assertIn("held: runs nothinglast report 42 s ago", text)
        for badge in ("badge bad", "badge good", "badge cooling"):
            self.assertIn(badge, shown)

    def test_many(self) -> None:
        """Of 64 workers a part is in a disclosure."""
        now = WorkersNow(64, 64, processes=tuple(map(worker, range(64))))
        first, rest = str(workers(now)).split("<details")
        self.assertEqual((first.count("<tr>"), rest.count("<tr>")), (17, 49))

    def test_on_the_page(self) -> None:
        """The section is on the page, and in /status.json."""
        now = WorkersNow(1, 1, processes=(worker(0),))
        report = facts("a", workers=now)
        self.assertIn("1 of 1 worker ready", read(report).text)
        self.assertEqual(data(report)["workers"]["wanted"], 1)
        self.assertEqual(data(report)["workers"]["processes"][0]["requests_active"], 10)

    def test_requests(self) -> None:
        """The last requests have a column with their worker."""
        now = WorkersNow(2, 2)
        recent = (FinishedRequest(1.0, record(), 1), FinishedRequest(0.0, record()))
        report = facts("a", workers=now, recent=recent, failed=recent)
        for shown in Shown:
            table = str(requests(report, shown))
            self.assertIn('<th scope="col" class="num">Worker</th>', table)
            self.assertIn('<td class="num">1</td></tr>', table)
            self.assertIn('<td class="num">&ndash;</td></tr>', table)
        self.assertEqual(data(report)["recent"][0]["worker"], 1)

    def test_alone(self) -> None:
        """A worker whose parent did not answer says that it shows itself."""
        report = facts("a", alone=3)
        self.assertIn("the figures of worker 3 alone", read(report).text)
        self.assertEqual(data(report)["worker_alone"], 3)
        self.assertNotIn("hidden", str(sections(report)["alone"]))
