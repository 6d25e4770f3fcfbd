"""The coverage matrix agrees with the code."""

from __future__ import annotations

import re
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from stub_backend import EVIDENCE_SCENARIOS, SCENARIOS
from stub_backend.feeds import FeedMode
from tests.research.matrix import LIVE_ONLY, NONE, PAGE, missing, read, stub_only
from tests.rigs.live.private_facts import QUESTIONS
from tests.rigs.live.rows import ROWS as LIVE_ROWS

GRADES = frozenset({"F", "L", "S", "?"})
_FEED = "feed:"
_REFERENCE = re.compile(r"\b[A-Z][A-Z0-9]{1,7}-[0-9]+\b(?!-)")
# Texts that look like ids of rows.
_OTHERS = frozenset({"SHA-256"})


class MatrixTests(SynchronousTestCase):
    """Each row."""

    def setUp(self) -> None:
        """Read the page."""
        self.text = PAGE.read_text(encoding="utf-8")
        self.rows = read(self.text)
        self.ids = {row.id for row in self.rows}

    def test_rows(self) -> None:
        """There are many rows with unique ids, numbered consecutively within each family."""
        self.assertGreater(len(self.rows), 150)
        self.assertEqual([i for i, n in Counter(row.id for row in self.rows).items() if n > 1], [])
        families = Counter(row.id.rpartition("-")[0] for row in self.rows)
        wanted = {f"{name}-{n}" for name, count in families.items() for n in range(1, count + 1)}
        self.assertEqual(self.ids, wanted)

    def test_every_line_of_a_table_is_read(self) -> None:
        """The parser skips no row."""
        before = self.text.partition("## Stub only")[0].partition("\n## ")[2]
        lines = [line for line in before.splitlines() if line.startswith("| ")]
        titles = [line for line in lines if line.startswith("| id | ")]
        self.assertEqual(len(lines) - len(titles), len(self.rows))

    def test_grades(self) -> None:
        """Grades are valid and have a source; a claimed behaviour refers to a live call."""
        for row in self.rows:
            self.assertTrue(row.grades, row.id)
            self.assertTrue(set(row.grades) <= GRADES, row.id)
            self.assertNotEqual(row.source, NONE, row.id)
            self.assertNotIn(NONE, (row.behaviour, row.what_we_do), row.id)

    def test_live(self) -> None:
        """A row without a test says that a live call decides, or what is missing."""
        for row in self.rows:
            self.assertTrue(row.live == NONE or row.live.startswith(LIVE_ONLY), row.id)
            if not row.tests:
                self.assertTrue(row.live.startswith(LIVE_ONLY) or _not_done(row.what_we_do), row.id)
            if row.grades == ("?",):
                self.assertTrue(row.live.startswith(LIVE_ONLY), row.id)
            if row.live == LIVE_ONLY:
                self.assertEqual(row.grades, ("?",), row.id)

    def test_scenarios_exist(self) -> None:
        """Each named scenario and each state of a feed exists in the stub."""
        models = {each.model for each in SCENARIOS.values()}
        models |= {each.model for each in EVIDENCE_SCENARIOS.values()}
        states = {_FEED + mode.value for mode in FeedMode}
        for row in self.rows:
            self.assertEqual(set(row.stub) - models - states, set(), row.id)

    def test_scenarios_are_used(self) -> None:
        """Each scenario mirrors a behaviour or is listed as the stub's own, never both."""
        own = stub_only(self.text)
        used = {name for row in self.rows for name in row.stub}
        models = {each.model for each in SCENARIOS.values()}
        self.assertEqual(len(own), len(set(own)))
        self.assertEqual(set(own) & used, set())
        self.assertEqual(models - used, set(own))
        evidence = {each.model for each in EVIDENCE_SCENARIOS.values()}
        self.assertEqual(evidence - used, set())
        self.assertEqual({_FEED + mode.value for mode in FeedMode} - used, set())

    def test_tests_exist(self) -> None:
        """Each named test exists."""
        for row in self.rows:
            for test in row.tests:
                self.assertIsNone(missing(test), f"{row.id}: {test}")

    def test_references(self) -> None:
        """Referenced rows exist, here and in the table of `make live`."""
        spoken = set(_REFERENCE.findall(self.text)) - _OTHERS
        self.assertEqual(spoken - self.ids, set())
        self.assertEqual({name for names in LIVE_ROWS.values() for name in names} - self.ids, set())
        self.assertEqual(QUESTIONS.keys() - self.ids, set())


class ReadingTests(SynchronousTestCase):
    """A mistake in the matrix is reported."""

    def test_cells(self) -> None:
        """A row lacks a cell, or a cell contains more than names."""
        for line in (
            "| A-1 | b | S | s | d | – | – |",
            "| A-1 | b | S | s | d |  | – | – |",
            "| A-1 | b | S | s | d | some | – | – |",
        ):
            self.assertRaises(ValueError, read, line)

    def test_missing(self) -> None:
        """A test, a class or a file does not exist; another does."""
        here = "tests/research/test_matrix.py"
        self.assertIsNone(missing(f"{here}::ReadingTests.test_missing"))
        self.assertIsNone(missing(f"{here}::ReadingTests"))
        self.assertIsNone(missing(here))
        for wrong in (f"{here}::ReadingTests.test_none", f"{here}::None", "tests/none.py", "x.py"):
            self.assertIsNotNone(missing(wrong), wrong)
        self.assertIsNotNone(missing("tests/research/matrix.py"))


def _not_done(what_we_do: str) -> bool:
    return what_we_do.startswith("not used")
