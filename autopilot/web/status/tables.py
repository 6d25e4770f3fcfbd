"""HTML tables that show their first rows, and the others in a disclosure.

A table has a limited number of rows, which bounds the time that a rendering of the page takes. It
counts those left out, and links to /status.json, which has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from autopilot.web.status.markup import SLOT, Cell, Child, Template, el, join, wrap

MAX_ROWS: Final = 200
"""The most rows of a table, and the most items of a list."""

# A long text of ASCII characters takes half the time to format, join and encode.
DASH: Final = Markup("&ndash;")
MINUS: Final = Markup("&minus;")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column: its heading, whether it is numeric, and the heading's tooltip.

    ``cell`` is the content of its cells, with a slot for each value of a row that it shows.
    """

    heading: str
    numeric: bool = False
    meaning: str | None = None
    cell: Markup | str = SLOT


class Table:
    """A table of which everything but the rows is built once."""

    def __init__(self, name: str, caption: str, columns: Sequence[TableColumn]) -> None:
        self.name = name
        self.caption = caption
        head = el("thead", el("tr", [_heading(column) for column in columns]))
        hint = _HINT if len(columns) > _FITTING else None
        self._first = join(hint, _region(f"{name}-first", caption, head))
        self._rest = _region(f"{name}-rest", f"{caption}, continued", head)
        self._row = Template(_row(columns))

    def render(
        self,
        rows: Sequence[tuple[Cell, ...]],
        shown: int,
        things: str = "rows",
        left_out: int = 0,
    ) -> list[Child]:
        """Render the table; each row has the values for the slots of all columns, in their order.

        Rows after the first ``shown`` go into a second table in a disclosure. There are
        ``left_out`` more things than rows.
        """
        found = wrap(self._first, self._row.fill(rows[:shown]))
        rest = rows[shown:]
        if rest:
            summary = el("summary", f"{len(rest)} more {things}")
            table = wrap(self._rest, self._row.fill(rest))
            found += wrap(el("details", SLOT, id=f"{self.name}-more"), summary, table)
        return wrap(_TABLES, found, remainder(left_out, things))


_FITTING = 4
"""The most columns of a table that fits on a phone."""
_HINT = el("p", "Scroll the table sideways for more columns", class_="hint", aria_hidden="true")
_TABLES = el("div", SLOT, class_="tables")


def _region(name: str, caption: str, head: Markup) -> Markup:
    """Return a table without rows in a region that can be scrolled by keyboard (WCAG 2.1.1)."""
    return el(
        "div",
        el("table", el("caption", caption, id=f"{name}-caption"), head, el("tbody", SLOT)),
        class_="scroll",
        role="region",
        aria_labelledby=f"{name}-caption",
        tabindex=0,
    )


def remainder(count: int, things: str) -> Markup | None:
    """Render the number of things that a table or list leaves out, and where they are."""
    if count <= 0:
        return None
    link = el("a", "status.json", href="status.json")
    return el("p", f"and {count:,} more {things}, which are in ", link, class_="left-out")


def _heading(column: TableColumn) -> Markup:
    return el(
        "th",
        column.heading,
        scope="col",
        class_="num" if column.numeric else None,
        title=column.meaning,
    )


def _row(columns: Sequence[TableColumn]) -> Markup:
    """Return a row with slots; its first cell is the row's heading."""
    first, *others = columns
    cells: list[Child] = [
        el("td", column.cell, class_="num" if column.numeric else None) for column in others
    ]
    return el("tr", el("th", first.cell, scope="row"), cells)
