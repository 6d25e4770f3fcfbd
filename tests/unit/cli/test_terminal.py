"""Tests of the text for terminals: tables that fit, and no control characters."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli.terminal import TextColumn, cut, shortened, table, wants_colour, width
from tests.unit.cli.asked import Terminal


class ColourTests(SynchronousTestCase):
    """The choice of colour."""

    def test_rows(self) -> None:
        """The option wins, then NO_COLOR, FORCE_COLOR, and whether the stream is a terminal."""
        no, force, dumb = {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}, {"TERM": "dumb"}
        for choice, terminal, environ, wanted in (
            ("auto", True, {}, True),
            ("auto", False, {}, False),
            ("auto", True, dumb, False),
            ("auto", True, no, False),
            ("auto", True, {"NO_COLOR": ""}, True),
            ("auto", False, force, True),
            ("auto", False, {"FORCE_COLOR": ""}, False),
            ("auto", True, {**no, **force}, False),
            ("always", False, no, True),
            ("never", True, force, False),
        ):
            stream = Terminal() if terminal else io.StringIO()
            self.assertEqual(wants_colour(choice, stream, environ), wanted, (choice, environ))


COLUMNS = (
    TextColumn("#", right=True),
    TextColumn("model", shrinks=True),
    TextColumn("score", right=True),
)


class TableTests(SynchronousTestCase):
    """The layout of tables."""

    def test_aligned(self) -> None:
        """Numbers are right-aligned, text is left-aligned, and lines have no trailing blanks."""
        rows = [("1", "acme/long-name", "12.50"), ("10", "b", "3.00")]
        self.assertEqual(
            list(table(COLUMNS, rows, None)),
            [" #  model           score", " 1  acme/long-name  12.50", "10  b                3.00"],
        )

    def test_shrinks(self) -> None:
        """A wide table loses gaps first, then shortens columns to 12 at least, visibly."""
        rows = [("1", "acme/a-very-long-name", "12.50")]
        self.assertEqual(list(table(COLUMNS, rows, 25))[1], "1 acme…ry-long-name 12.50")
        self.assertEqual(list(table(COLUMNS, rows, 3))[1], "1 acm…ong-name 12.50")

    def test_wide_characters(self) -> None:
        """Characters take zero, one or two columns."""
        self.assertEqual([width(each) for each in ("ab", "模型", "e\u0301", "")], [2, 4, 1, 0])
        cuts = [cut("模型模型", size) for size in (8, 7, 6, 1)]
        self.assertEqual(cuts, ["模型模型", "模型模…", "模型…", "…"])
        cuts = [shortened("模型模型", size) for size in (8, 7, 5, 2)]
        self.assertEqual(cuts, ["模型模型", "…型模型", "…模型", "…"])
        lines = list(table(COLUMNS, [("1", "模型", "1"), ("2", "abcd", "2")], None))
        self.assertEqual(len({width(line) for line in lines}), 1)

    def test_hostile(self) -> None:
        """No name moves the cursor, changes colours or reverses the text."""
        names = ["\x1b[31mred", "a\rb\nc", "\u202eabc", "\x9b31m", "a\x00b", "\udcff"]
        for line in table(COLUMNS, [("1", name, "1") for name in names], 40):
            self.assertTrue(line.isprintable(), line)

    @given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=5), st.integers(20, 200))
    def test_always(self, rows: list[tuple[str, str, str]], room: int) -> None:
        """Each name gives one printable line."""
        lines = list(table([TextColumn("x", shrinks=True)] * 3, rows, room))
        self.assertEqual(len(lines), len(rows) + 1)
        for line in lines:
            self.assertTrue(line.isprintable())
            self.assertLessEqual(width(line), max(room, 3 * 12 + 4))
