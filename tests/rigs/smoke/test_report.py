"""The report: a smoke run with a failure must say so, above all by its exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.smoke import report, run
from tests.rigs.smoke.processes import DiedError, RouterProcess, StubProcess
from tests.rigs.smoke.replay import Replay
from tests.rigs.smoke.scenario import Result, Scenario, play
from tests.rigs.smoke.stage import Bench, Stage
from tests.rigs.smoke.transcripts import Transcripts, Vault


def _good(stage: Stage) -> None:
    stage.status, stage.attempts = 200, 1
    stage.expect("one", 1, 1)


def _bad(stage: Stage) -> None:
    stage.expect("one", 1, 1)
    stage.expect("two", 3, 2)


def _broken(stage: Stage) -> None:
    stage.expect("one", 1, 1)
    raise OSError("no such thing")


def _empty(stage: Stage) -> None:
    del stage


class ReportTests(SynchronousTestCase):
    """From a scenario to the exit status."""

    def setUp(self) -> None:
        """Prepare a bench whose processes are never started."""
        folder = Path(self.mktemp())
        folder.mkdir()
        stub = StubProcess("stub", folder, ())
        router = RouterProcess("router", folder, stub.port, {})
        self.bench = Bench(folder, stub, router, Replay(stub.arguments), Vault())

    def results(self, *plays: Callable[[Stage], None]) -> list[Result]:
        """Run the scenarios; return their results."""
        return [play(Scenario("a name", each), self.stage()) for each in plays]

    def stage(self) -> Stage:
        """Return a stage for one scenario."""
        return Stage(self.bench, Transcripts(self.bench.folder / "t", self.bench.vault))

    def test_all_passed(self) -> None:
        """The exit status is 0 if every check holds."""
        self.assertEqual(report.exit_status(self.results(_good, _good)), 0)

    def test_one_failed(self) -> None:
        """One failed check makes the exit status non-zero."""
        results = self.results(_good, _bad, _good)
        self.assertEqual(report.exit_status(results), 1)
        self.assertEqual(report.closing(results), "2 passed, 1 failed")

    def test_an_exception_is_a_failure(self) -> None:
        """A scenario that raises fails, and the next one still runs."""
        results = self.results(_broken, _good)
        self.assertEqual([each.passed for each in results], [False, True])
        self.assertEqual(results[0].error, "OSError: no such thing")
        self.assertEqual(report.exit_status(results), 1)

    def test_checking_nothing_is_a_failure(self) -> None:
        """A scenario without a check fails, and so does a run without a scenario."""
        self.assertEqual(report.exit_status(self.results(_empty)), 1)
        self.assertEqual(report.exit_status([]), 1)

    def test_a_run_that_cannot_start(self) -> None:
        """Every scenario fails if the router does not start, and the run reports why."""
        said: list[str] = []

        def no_bench(_folder: Path) -> Bench:
            raise DiedError("the router ended with status 1")

        with patch.object(run, "bench", no_bench):
            status = run.run([Scenario("a name", _good)], self.bench.folder / "logs", said.append)
        self.assertEqual((status, said[-1]), (1, "0 passed, 1 failed"))
        self.assertIn("the run was aborted: the router ended with status 1", said)

    def test_table(self) -> None:
        """A row has the verdict; below it are the expected and the actual value."""
        good, bad = self.results(_good, _bad)
        self.assertRegex(report.row(good, 8), r"\Aa name +ok +200 +1 +\d+\Z")
        first, second = report.row(bad, 8).splitlines()
        self.assertRegex(first, r"\Aa name +FAILED +- +- +\d+\Z")
        self.assertEqual(second.strip(), "two: expected 2, got 3")

    def test_files(self) -> None:
        """The report is written beside its transcripts and, identically, as ``latest.json``."""
        folder = self.bench.folder / "logs" / "now"
        results = self.results(_good, _bad)
        latest = report.write(report.as_json(results, datetime.now(UTC), 1.0), folder)
        self.assertEqual(latest, folder.parent / "latest.json")
        self.assertEqual(latest.read_text(), (folder / "report.json").read_text())
        written = json.loads(latest.read_text())
        self.assertEqual((written["passed"], written["failed"]), (1, 1))
        verdicts = [each["verdict"] for each in written["scenarios"]]
        self.assertEqual(verdicts, ["passed", "failed"])
