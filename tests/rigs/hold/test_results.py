"""The stored rows of the hold suite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.hold.__main__ import main
from tests.rigs.hold.families import INPUTS
from tests.rigs.hold.judge import Row, Verdict
from tests.rigs.hold.report import BEGIN, END, Machine
from tests.rigs.hold.results import MixedError, Results, in_order, this_commit
from tests.rigs.hold.run import cases

_MACHINE = Machine("CPU", 2, "3.11.7", 1.25)


def _row(title: str, held: float = 5.0, setup: str = "own") -> Row:
    return Row(title, setup, 10, held, 50.0, 0, 1, "200", 1, Verdict.OK, 1.3)


class ResultsTests(SynchronousTestCase):
    """What is kept, and what is refused."""

    def setUp(self) -> None:
        """Have an empty folder."""
        self.folder = Path(self.mktemp())
        self.results = Results(self.folder, "one")

    def test_parts(self) -> None:
        """Several runs of one commit are one table; a row replaces the earlier one of its input."""
        self.assertRaises(MixedError, self.results.load)
        for row in (_row("b: x"), _row("a: y"), _row("b: z", setup="TLS"), _row("b: x", 9.0)):
            self.results.add(row, _MACHINE)
        another = Results(self.folder, "one")
        another.add(_row("a: w"), replace(_MACHINE, noise=3.0))
        stored = another.load()
        self.assertEqual((stored.commit, stored.machine.noise), ("one", 3.0))
        keys = [("a: y", "own"), ("b: x", "own"), ("b: x", "TLS"), ("a: w", "own")]
        rows = in_order(stored.rows, keys)
        self.assertEqual(rows, [_row("a: y"), _row("b: x", 9.0), _row("a: w")])
        self.assertEqual(another.done(), {row.key for row in stored.rows})

    def test_commits(self) -> None:
        """Rows of another commit are not mixed in unless that is asked for."""
        self.results.add(_row("a: y"), _MACHINE)
        other = Results(self.folder, "two")
        self.assertEqual(other.done(), set())
        self.assertRaises(MixedError, other.load)
        other.add(_row("b: x"), _MACHINE)
        self.assertRaises(MixedError, other.load)
        mixed = other.load(mixed=True)
        self.assertEqual((mixed.commit, len(mixed.rows)), ("one, two", 2))
        other.add(_row("a: z"), _MACHINE)
        self.assertEqual([row.title for row in other.load().rows], ["a: z", "b: x"])

    def test_table(self) -> None:
        """The command writes the section from what is stored, and runs nothing."""
        page = self.folder.with_suffix(".md")
        page.write_text(f"{BEGIN}\n{END}\n")
        arguments = ["--table", "--results", str(self.folder), "--page", str(page)]
        self.results.add(replace(_row(INPUTS[0].title), setup=INPUTS[0].setups[0]), _MACHINE)
        self.assertEqual(main(arguments), 2)
        self.assertEqual(page.read_text(), f"{BEGIN}\n{END}\n")
        self.assertEqual(main([*arguments, "--any-commit"]), 0)
        self.assertIn(" at one, 2 × CPU", page.read_text())
        self.assertIn(f"{len(cases(INPUTS, bool)) - 1} inputs were not played", page.read_text())

    def test_resume(self) -> None:
        """Inputs with a row of this commit are left out."""
        results = Results(self.folder, this_commit())
        for case in cases(INPUTS, bool):
            if case.given.family == "pages":
                results.add(replace(_row(case.given.title), setup=case.setup.name), _MACHINE)
        arguments = ["--family", "pages", "--resume", "--results", str(self.folder)]
        self.assertEqual(main(arguments), 0)
