"""Tests of the report of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.report import markdown, terminal
from benchmarks.results import Results
from tests.benchmarks.runs import run


class ReportTests(SynchronousTestCase):
    """The report of a small run."""

    def setUp(self) -> None:
        """Create the report."""
        self.results = run(
            direct=(0.0,), autopilot=(0.08, 0.09, 0.095), caddy=(0.1,), nginx=(0.02,)
        )
        self.notes = Path(self.mktemp())

    def row(self, subject: str) -> str:
        """Return the line of a subject in the scenario's table."""
        table = markdown(self.results, self.notes).partition("## closed loop")[2]
        (line,) = (line for line in table.splitlines() if line.startswith(f"| {subject}"))
        return line

    def test_row(self) -> None:
        """A row has the median with its spread, the ratios, and the added latency."""
        self.assertEqual(
            self.row("autopilot"),
            "| autopilot, alias | 90.0 (80.0–95.0) | 4.50 | 0.90 | 500"
            " | 0 µs | 0 µs | 0 µs | 30% |",
        )
        self.assertIn("| (200 µs) | (250 µs) | (400 µs) |", self.row("no proxy"))

    def test_marks(self) -> None:
        """A row with errors or an overloaded load is marked."""
        one = self.results.measurements[-1]
        self.results.measurements[-1] = replace(one, errors=3)
        self.assertTrue(self.row("nginx").startswith("| nginx ⚠ 3 errors |"))
        self.results.measurements[-1] = replace(one, load_share=0.8, upstream_share=0.06)
        self.assertTrue(self.row("nginx").startswith("| nginx ⚠ |"))

    def test_whole(self) -> None:
        """The report has the machine, every target, the failures and the notes."""
        self.notes.write_text("## Why\n\nBecause.\n")
        self.results.problems.append("caddy is not installed here")
        self.results.probes["stall"] = [5.0, 7.0, 12.0]
        text = markdown(self.results, self.notes)
        for part in (
            "- CPU: some",
            "| CPU per unary request, plain upstream |",
            "## Why",
            "| stall | 7 | 5–12 |",
        ):
            self.assertIn(part, text)
        self.assertIn("- caddy is not installed here", text)
        self.assertIn("**missed**", text)
        self.assertIn("MISSED CPU per unary request", terminal(self.results))

    def test_saved(self) -> None:
        """Results loaded from a file equal those saved."""
        path = Path(self.mktemp()) / "results.json"
        self.results.save(path)
        self.assertEqual(Results.load(path), self.results)
