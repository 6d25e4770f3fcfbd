"""Tables that fit every screen: each cell names its column.

Where a row has no room, the style sheet of the site makes it a block of labelled cells.
"""

from __future__ import annotations

import re
from itertools import count
from typing import Final

# A row with this many columns and, on average, this many characters is a block on every screen.
_COLUMNS: Final = 6
_CHARACTERS: Final = 250
_TABLE: Final = re.compile(r"<table>.*?</table>", re.DOTALL)
_HEAD: Final = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
_CODE: Final = re.compile(r"<code>.*?</code>", re.DOTALL)
# Where a name in a cell may break, so that it does not break within a word.
_BREAK: Final = re.compile(r"(?<=[^<])(::|/|_|\.(?=[a-z]))(?=\w)")
_TAG: Final = re.compile(r"<[^>]*>")


def labelled(html: str) -> str:
    """Return a page whose cells have the heading of their column as `data-label`.

    A table gets `data-rows`: `cards` if its rows are too long for any screen, else `table`.
    """
    return _TABLE.sub(lambda found: _with_labels(found[0]), html)


def _with_labels(table: str) -> str:
    labels = [_text(each).replace('"', "&quot;") for each in _HEAD.findall(table)]
    head, *rows = table.split("<tr>\n<td")
    longest = len(labels) >= _COLUMNS and len(_text("".join(rows))) > _CHARACTERS * len(rows)
    labelled = [_row(f"<td{row}", labels) for row in rows]
    kind = "cards" if longest else "table"
    return "<tr>\n".join([head.replace("<table>", f'<table data-rows="{kind}">'), *labelled])


def _row(row: str, labels: list[str]) -> str:
    column = count()
    row = re.sub("<td", lambda _: f'<td data-label="{labels[next(column)]}"', row)
    return _CODE.sub(lambda found: _BREAK.sub(r"\1<wbr>", found[0]), row)


def _text(html: str) -> str:
    return _TAG.sub("", html).strip()
