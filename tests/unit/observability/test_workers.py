"""Tests of the metrics of the workers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.merge import Totals
from autopilot.observability.metrics import Metrics
from autopilot.observability.workers import WorkerNow, WorkersNow, worker_instruments
from tests.unit.observability.test_merge import series


class WorkerInstrumentsTests(SynchronousTestCase):
    """The samples."""

    def test_samples(self) -> None:
        """Each is read at the scrape; two processes of one worker have one sample."""
        processes = (
            WorkerNow(0, 11, "ready", 1.0, 4, 40, 400),
            WorkerNow(0, 10, "draining", 9.0, 1, 2, 900),
            WorkerNow(1, 12, "held", 9.0, 5, 6, 7),
        )
        metrics = Metrics("1.2.3")
        metrics.instruments += worker_instruments(lambda: WorkersNow(2, 1, 3, 4, 5, processes))
        text = metrics.text(Totals())
        found = series(text)
        for name, labels, value in (
            ("workers_wanted", (), 2),
            ("workers", (("state", "ready"),), 1),
            ("workers", (("state", "starting"),), 0),
            ("workers", (("state", "draining"),), 1),
            ("workers", (("state", "held"),), 1),
            ("worker_deaths_total", (), 3),
            ("worker_holds_total", (), 4),
            ("worker_restarts_total", (), 5),
            ("worker_requests_active", (("worker", "0"),), 5),
            ("worker_requests_active", (("worker", "1"),), 5),
            ("worker_connections", (("worker", "0"),), 42),
        ):
            self.assertEqual(found[name, labels], value, name)
        self.assertIn(b"# TYPE chutes_autopilot_worker_deaths_total counter\n", text)
        self.assertIn(b"# TYPE chutes_autopilot_workers gauge\n", text)
