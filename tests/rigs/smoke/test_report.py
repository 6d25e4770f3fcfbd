"""A smoke run that finds something wrong has to say so, above all by its exit status."""

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
        """A bench whose processes are never started."""
        folder = Path(self.mktemp())
        folder.mkdir()
        stub = StubProcess("stub", folder, ())
        router = RouterProcess("router", folder, stub.port, {})
        self.bench = Bench(folder, stub, router, Replay(stub.arguments), Vault())

    def results(self, *plays: Callable[[Stage], None]) -> list[Result]:
        """What comes of playing these."""
        return [play(Scenario("a name", each), self.stage()) for each in plays]

    def stage(self) -> Stage:
        """A stage for one scenario."""
        return Stage(self.bench, Transcripts(self.bench.folder / "t", self.bench.vault))

    def test_all_passed(self) -> None:
        """Nothing wrong is exit status 0."""
        self.assertEqual(report.exit_status(self.results(_good, _good)), 0)

    def test_one_failed(self) -> None:
        """One scenario with one failed check makes the exit status non-zero."""
        results = self.results(_good, _bad, _good)
        self.assertEqual(report.exit_status(results), 1)
        self.assertEqual(report.closing(results), "2 passed, 1 failed")

    def test_an_exception_is_a_failure(self) -> None:
        """A scenario that cannot be played fails, and the next one is played all the same."""
        results = self.results(_broken, _good)
        self.assertEqual([each.passed for each in results], [False, True])
        self.assertEqual(results[0].error, "OSError: no such thing")
        self.assertEqual(report.exit_status(results), 1)

    def test_checking_nothing_is_a_failure(self) -> None:
        """Neither a scenario without a check nor a run without a scenario has shown anything."""
        self.assertEqual(report.exit_status(self.results(_empty)), 1)
        self.assertEqual(report.exit_status([]), 1)

    def test_a_run_that_cannot_start(self) -> None:
        """With no router to play on every scenario has failed, and the run says so."""
        said: list[str] = []

        def no_bench(_folder: Path) -> Bench:
            raise DiedError("the router ended with status 1")

        with patch.object(run, "bench", no_bench):
            status = run.run([Scenario("a name", _good)], self.bench.folder / "logs", said.append)
        self.assertEqual((status, said[-1]), (1, "0 passed, 1 failed"))
        self.assertIn("the run could not go on: the router ended with status 1", said)

    def test_table(self) -> None:
        """A row has the verdict, and below it what was expected and what was found."""
        good, bad = self.results(_good, _bad)
        self.assertRegex(report.row(good, 8), r"\Aa name +ok +200 +1 +\d+\Z")
        first, second = report.row(bad, 8).splitlines()
        self.assertRegex(first, r"\Aa name +FAILED +- +- +\d+\Z")
        self.assertEqual(second.strip(), "two: expected 2, got 3")

    def test_files(self) -> None:
        """The report lies beside its transcripts and, the same, as ``latest.json``."""
        folder = self.bench.folder / "logs" / "now"
        results = self.results(_good, _bad)
        latest = report.write(report.as_json(results, datetime.now(UTC), 1.0), folder)
        self.assertEqual(latest, folder.parent / "latest.json")
        self.assertEqual(latest.read_text(), (folder / "report.json").read_text())
        written = json.loads(latest.read_text())
        self.assertEqual((written["passed"], written["failed"]), (1, 1))
        verdicts = [each["verdict"] for each in written["scenarios"]]
        self.assertEqual(verdicts, ["passed", "failed"])
