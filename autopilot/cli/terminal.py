"""Text layout for terminals: display width, shortening, tables and the choice of colour.

Names come from feeds and files, so every cell is made printable: an escape sequence in a name must
not reach the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autopilot.routing.suggest import printable

COLOURS: Final = {"good": "32", "doubt": "33", "bad": "31", "faint": "2", "strong": "1"}
"""The styles of text, and the parameters of their SGR escape sequences (ECMA-48 §8.3.117)."""

_GAP: Final = 2
_NARROWEST: Final = 12


def wants_colour(choice: str, stream: Any, environ: Mapping[str, str]) -> bool:
    """Return whether to colour text on ``stream``; ``choice`` is auto, always or never.

    An explicit choice wins over NO_COLOR, NO_COLOR over FORCE_COLOR, and that over whether the
    stream is a terminal.
    """
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return environ.get("TERM") != "dumb" and bool(stream.isatty())


def width(text: str) -> int:
    """Return how many terminal columns ``text`` takes."""
    return sum(map(_columns, text))


def shortened(text: str, columns: int) -> str:
    """Return a name in at most ``columns`` columns, with "…" for its middle.

    The ends of a model's name (owner, size, ``-TEE``) distinguish it more than the middle does.
    """
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
    """Return ``text`` in at most ``columns`` columns, with "…" for the end that was cut off."""
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
class TextColumn:
    """A column of a table: its title, and whether it is right-aligned and may be shortened."""

    title: str
    right: bool = False
    shrinks: bool = False


def table(
    columns: Sequence[TextColumn], rows: Sequence[Sequence[str]], room: int | None
) -> Iterator[str]:
    """Yield the lines of a table, titles first.

    A table wider than ``room`` columns first narrows its gaps, then its shrinkable columns.
    """
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
