"""HTML tables that show their first rows, and the others in a disclosure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from autopilot.web.status.markup import Child, el


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column: its heading, whether it is numeric, and the heading's tooltip."""

    heading: str
    numeric: bool = False
    meaning: str | None = None


def table(
    name: str,
    caption: str,
    columns: Sequence[TableColumn],
    rows: Sequence[Sequence[Child]],
    shown: int,
    things: str,
) -> Markup:
    """Render a table; the first cell of each row is the row's heading.

    Rows after the first ``shown`` go into a second table in a disclosure.
    """
    rest = rows[shown:]
    return el(
        "div",
        _region(f"{name}-first", caption, columns, rows[:shown]),
        el(
            "details",
            el("summary", f"{len(rest)} more {things}"),
            _region(f"{name}-rest", f"{caption}, continued", columns, rest),
            id=f"{name}-more",
        )
        if rest
        else None,
        class_="tables",
    )


def _region(
    name: str, caption: str, columns: Sequence[TableColumn], rows: Sequence[Sequence[Child]]
) -> Markup:
    """Render one table in a region that can be scrolled with the keyboard (WCAG 2.1.1)."""
    head = el("tr", [_heading(column) for column in columns])
    body = [_row(columns, row) for row in rows]
    return el(
        "div",
        el(
            "table",
            el("caption", caption, id=f"{name}-caption"),
            el("thead", head),
            el("tbody", body),
        ),
        class_="scroll",
        role="region",
        aria_labelledby=f"{name}-caption",
        tabindex=0,
    )


def _heading(column: TableColumn) -> Markup:
    return el(
        "th",
        column.heading,
        scope="col",
        class_="num" if column.numeric else None,
        title=column.meaning,
    )


def _row(columns: Sequence[TableColumn], row: Sequence[Child]) -> Markup:
    first, *others = row
    cells = [
        el("td", child, class_="num" if column.numeric else None)
        for column, child in zip(columns[1:], others, strict=True)
    ]
    return el("tr", el("th", first, scope="row"), cells)
