"""The tables of the hold suite."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.hold.input import KIB, MB, MIB
from tests.rigs.hold.judge import Row, Verdict
from tests.rigs.hold.report import (
    BEGIN,
    END,
    Machine,
    line,
    replace_section,
    section,
    size,
    write,
)

_MACHINE = Machine("CPU", 2, "3.11.7", 1.25)
_DAY = datetime(2026, 11, 29, tzinfo=UTC)


def _row(title: str, held: float, verdict: Verdict = Verdict.OK, setup: str = "own") -> Row:
    return Row(title, setup, 2048, held, 50.0, 3 * MIB // 2, 4 * MIB, "200", 1, verdict)


_ROWS = (
    _row("bodies: a", 20.0),
    _row("bodies: b", 70.5, Verdict.HELD),
    _row("bodies: c", 10.0, setup="embedded"),
    _row("feeds: d", 30.0),
)


class ReportTests(SynchronousTestCase):
    """What is printed and written."""

    def test_line(self) -> None:
        """A line has the measures beside their limits."""
        text = " ".join(line(_ROWS[1]).split())
        self.assertEqual(text, "70.5/50 ms 1.5/4 MiB HELD own bodies: b [200]")

    def test_slowed(self) -> None:
        """A reading whose processor was slowed in every run says so."""
        row = replace(_ROWS[0], slowdown=1.4)
        self.assertIn("[200] (core 1.4 × slower than at best)", line(row))
        self.assertNotIn("slower", line(replace(row, slowdown=1.2)))
        self.assertIn(
            "The core was slowed in every run of 1 inputs.", section([row], _MACHINE, _DAY)
        )

    def test_part(self) -> None:
        """A section of several runs names their commit, and how many inputs were not played."""
        text = section(_ROWS, _MACHINE, _DAY, commit="abc", missing=7)
        self.assertIn("Measured on 2026-11-29 at abc, 2 × CPU", text)
        self.assertIn("router: 1.2 ms. 7 inputs were not played.\n", text)

    def test_size(self) -> None:
        """Sizes have the unit that suits them."""
        self.assertEqual([size(12), size(2 * KIB), size(4 * MB)], ["12 B", "2.0 KiB", "4.0 MB"])

    def test_files(self) -> None:
        """Both files have every row."""
        folder = Path(self.mktemp())
        write(_ROWS, _MACHINE, folder)
        found = json.loads((folder / "report.json").read_text())
        self.assertEqual([row["title"] for row in found["rows"]], [row.title for row in _ROWS])
        self.assertEqual(found["machine"]["noise"], 1.25)
        table = (folder / "report.md").read_text().splitlines()
        self.assertEqual(len(table), 2 + len(_ROWS))
        self.assertEqual(
            table[3], "| bodies: b | own | 2.0 KiB | 70.5 of 50 ms | 1.5 of 4 MiB | HELD |"
        )

    def test_section(self) -> None:
        """The section has a row for each family and router, and every input that exceeds."""
        lines = section(_ROWS, _MACHINE, _DAY).splitlines()
        self.assertEqual((lines[0], lines[-1]), (BEGIN, END))
        self.assertIn(
            "Measured on 2026-11-29, 2 × CPU, Python 3.11.7; an idle router: 1.2 ms.", lines
        )
        rows = [each for each in lines if each.startswith("| ")]
        self.assertEqual(
            rows[1], "| bodies, own | 2 | 70 ms (b) | 70 of 50 ms (b) | 1.5 MiB (a) | 1 |"
        )
        self.assertEqual([each.split(" | ")[0] for each in rows[2:4]], _FAMILIES)
        self.assertIn("Exceeded:", lines)
        self.assertNotIn("Exceeded:", section(_ROWS[2:], _MACHINE, _DAY))

    def test_replaced(self) -> None:
        """The section replaces the earlier one, and nothing else of the page."""
        page = Path(self.mktemp())
        page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
        for _ in range(2):
            replace_section(page, f"{BEGIN}\nnew\n{END}")
            self.assertEqual(page.read_text(), f"before\n{BEGIN}\nnew\n{END}\nafter\n")
        page.write_text("neither")
        self.assertRaises(ValueError, replace_section, page, "new")


_FAMILIES = ["| bodies, embedded", "| feeds, own"]
