"""What goes to a terminal: text that cannot command it, tables that fit it, colours it may have.

Names come from feeds and files, so nothing reaches a terminal that has not been made printable.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autopilot.routing.suggest import printable

COLOURS: Final = {"good": "32", "doubt": "33", "bad": "31", "faint": "2", "strong": "1"}
"""The looks a piece of text can have, and the codes for them."""

_GAP: Final = 2
_NARROWEST: Final = 12


def wants_colour(choice: str, stream: Any, environ: Mapping[str, str]) -> bool:
    """Whether text on ``stream`` is coloured; ``choice`` is auto, always or never.

    What was chosen counts before NO_COLOR, that before FORCE_COLOR, and that before what the
    stream is.
    """
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return environ.get("TERM") != "dumb" and bool(stream.isatty())


def width(text: str) -> int:
    """How many columns ``text`` takes."""
    return sum(map(_columns, text))


def shortened(text: str, columns: int) -> str:
    """The same for a name, of which the middle is missed least."""
    if width(text) <= columns:
        return text
    head, tail = cut(text, columns // 3), ""
    for char in reversed(text):
        if width(head) + width(tail) + _columns(char) > columns:
            break
        tail = char + tail
    return head + tail


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """``text`` in at most so many columns; what was cut off shows."""
    if width(text) <= columns:
        return text
    kept, room = "", columns - 1
    for char in text:
        room -= _columns(char)
        if room < 0:
            break
        kept += char
    return f"{kept}…"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, whether it is aligned to the right, whether it may be cut."""

    title: str
    right: bool = False
    shrinks: bool = False


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int | None
) -> Iterator[str]:
    """The lines of a table, titles first; no wider than ``room`` where its columns can shrink."""
    shown = [[column.title for column in columns]]
    shown += [[printable(cell) for cell in row] for row in rows]
    widths = [max(width(row[place]) for row in shown) for place in range(len(columns))]
    gap = _GAP
    if room is not None:
        gaps = len(widths) - 1
        if sum(widths) + gap * gaps > room:
            gap = 1
        excess = sum(widths) + gap * gaps - room
        for place, column in enumerate(columns):
            if column.shrinks and excess > 0:
                least = min(widths[place], _NARROWEST)
                taken = min(excess, widths[place] - least)
                widths[place] -= taken
                excess -= taken
    for row in shown:
        cells = (
            _aligned(shortened(cell, columns_), columns_, column.right)
            for cell, columns_, column in zip(row, widths, columns, strict=True)
        )
        yield (" " * gap).join(cells).rstrip()


def _aligned(text: str, columns: int, right: bool) -> str:
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks
