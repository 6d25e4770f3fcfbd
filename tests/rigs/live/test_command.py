"""The command line: refused options, and the hosts that receive the key."""

from __future__ import annotations

import io
import os
import re
from contextlib import redirect_stderr, redirect_stdout
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.live import __main__
from tests.rigs.live.admission import HARD_CAP
from tests.rigs.live.command import ROOT, parse
from tests.rigs.live.request import Host
from tests.rigs.live.rows import ROWS
from tests.rigs.live.table import CHECKS, FIRST, chosen

LOCAL = "http://127.0.0.1:9"


class CommandTests(SynchronousTestCase):
    """Parsing of options."""

    def refused(self, *arguments: str) -> str:
        """Return the message for an invalid command line."""
        said = io.StringIO()
        with redirect_stderr(said), self.assertRaises(SystemExit) as ended:
            parse(arguments)
        self.assertEqual(ended.exception.code, 2)
        return said.getvalue()

    def test_defaults(self) -> None:
        """The defaults are the platform's hosts, two seconds, and the cap."""
        options, dry_run = parse(())
        self.assertEqual((options.pace, options.calls, dry_run), (2.0, HARD_CAP, False))
        self.assertTrue(all(base.startswith("https://") for base in options.bases.values()))
        self.assertNotIn(Host.ROUTER, options.bases)
        self.assertEqual(options.logs.parts[-2:], ("logs", "live"))

    def test_one_base_for_all(self) -> None:
        """A given base URL replaces all hosts of the real platform."""
        options, _ = parse(("--base-url", LOCAL))
        self.assertEqual(set(options.bases.values()), {LOCAL})
        options, _ = parse(("--base-url", LOCAL, "--api-url", LOCAL + "9"))
        self.assertEqual(options.bases[Host.API], LOCAL + "9")

    def test_refused(self) -> None:
        """A pace too fast, too many calls, an unknown check and an http address are refused."""
        self.assertIn("--pace", self.refused("--pace", "1"))
        self.assertIn("--pace", self.refused("--pace", "0", "--base-url", "https://a.example"))
        self.assertIn("--pace", self.refused("--pace", "-1", "--base-url", LOCAL))
        self.assertIn("--calls", self.refused("--calls", "41"))
        self.assertIn("--calls", self.refused("--calls", "0"))
        self.assertIn("--only", self.refused("--only", "no-such-check"))
        self.assertIn("--base-url", self.refused("--base-url", "http://a.example"))

    def test_a_bad_key(self) -> None:
        """An invalid key ends the program first of all, and is not printed."""
        said = io.StringIO()
        self.patch(os, "environ", {"CHUTES_API_KEY": "not of that form"})
        with redirect_stderr(said), redirect_stdout(said):
            self.assertEqual(__main__.main([]), 2)
        self.assertIn("CHUTES_API_KEY is not of the form", said.getvalue())
        self.assertNotIn("not of that form", said.getvalue())


class TableTests(SynchronousTestCase):
    """The table of checks."""

    def test_ids(self) -> None:
        """Ids are unique and valid file names; the order of the checks is as documented."""
        ids = [each.id for each in CHECKS]
        self.assertEqual(len(set(ids)), len(ids))
        for each in ids:
            self.assertRegex(each, r"\A[a-z0-9]+(-[a-z0-9]+)*\Z")
        self.assertEqual(tuple(ids[: len(FIRST)]), FIRST)
        self.assertEqual(ids[-1], "anonymous")

    def test_bounds(self) -> None:
        """The usual run fits under the cap."""
        self.assertLessEqual(len(chosen(())), HARD_CAP)

    def test_chosen(self) -> None:
        """A check is selected by its id or by a row of the matrix, and includes the feeds."""
        self.assertEqual([each.id for each in chosen(["context"])], [*FIRST, "context"])
        by_row = [each.id for each in chosen(["STREAM-8"])]
        self.assertEqual(by_row, [*FIRST, "text-stream", "text-plain"])

    def test_rows(self) -> None:
        """Every check belongs to a row of the matrix, and every row to an existing check."""
        self.assertEqual(set(ROWS), {each.id for each in CHECKS})

    def test_rows_exist(self) -> None:
        """The matrix has each row that a check names."""
        matrix = ROOT / "research" / "COVERAGE_MATRIX.md"
        if not matrix.exists():
            raise SkipTest("no matrix here")
        known = set(re.findall(r"\b[A-Z0-9]+-\d+\b", matrix.read_text()))
        self.assertEqual({row for rows in ROWS.values() for row in rows} - known, set())
