"""Builders of HTML and SVG elements that escape everything that is not markup already.

MarkupSafe (a dependency of Klein's router) escapes in C and returns strings, so a rendered section
can be kept and compared; Twisted's templates render through generators, which is slower.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from markupsafe import Markup, escape

from autopilot.web.status.formatting import Formatted

Cell = Markup | Formatted | float
"""A value for a slot, which needs no escaping."""

Child = str | int | Iterable["Child"] | None

SLOT: Final = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands for a text in the element of a template."""

NUMBER: Final = "\N{REPLACEMENT CHARACTER}"
"""Stands for a number, which is written with two decimal places."""

_EMPTY = frozenset({"br", "link", "meta", "wbr"})


class Template:
    """An element with slots, built once.

    Building an element costs microseconds, so the rows of a table would cost tens of milliseconds.
    Filling the slots of one costs a single formatting operation.
    """

    def __init__(self, element: Markup) -> None:
        """Take an element with :data:`SLOT` or :data:`NUMBER` in the place of each value."""
        form = str(element).replace("%", "%%")
        self._format = form.replace(SLOT, "%s").replace(NUMBER, "%.2f")

    def fill(self, rows: Iterable[tuple[Cell, ...]]) -> Markup:
        """Return the element once for each row of values."""
        form = self._format
        return Markup("".join([form % row for row in rows]))  # noqa: S704  the types do not admit other text


def el(tag: str, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """Return an element.

    ``class_`` becomes `class` and ``aria_label`` `aria-label`; None and False omit an attribute.
    """
    pieces = [f"<{tag}"]
    for name, value in attributes.items():
        if value is True:
            pieces.append(f" {_name(name)}")
        elif value is not None and value is not False:
            pieces.append(f' {_name(name)}="{escape(value)}"')
    pieces.append(">")
    if tag not in _EMPTY:
        _gather(children, pieces)
        pieces.append(f"</{tag}>")
    return Markup("".join(pieces))  # noqa: S704  escaped above


def tile(term: str, value: Child, note: Child, kind: str | None = None) -> Markup:
    """Return an item of a list of figures: its name, its value, and a note."""
    return el("div", el("dt", term), el("dd", value), el("dd", note, class_="note"), class_=kind)


def optional_section(name: str, children: list[Child] | None, kind: str | None = None) -> Markup:
    """Return the section of this name, labelled by its title; without children it is hidden."""
    return el(
        "section",
        children,
        id=name,
        class_=kind,
        aria_labelledby=None if children is None else f"{name}-title",
        hidden=children is None,
    )


def wrap(element: Markup, *children: Child) -> list[Child]:
    """Return the parts of an element, with the children in the place of its only slot.

    Unlike :func:`el` it does not copy them; a table has a hundred kilobytes.
    """
    before, after = element.split(SLOT)
    return [before, *children, after]


def join(*children: Child) -> Markup:
    """Return the concatenated children; lists are flattened, and None is omitted."""
    pieces: list[str] = []
    _gather(children, pieces)
    return Markup("".join(pieces))  # noqa: S704  escaped as they were gathered


def _gather(children: Iterable[Child], pieces: list[str]) -> None:
    for child in children:
        if isinstance(child, str | int):
            pieces.append(child if type(child) is Markup else str(escape(child)))
        elif child is not None:
            _gather(child, pieces)


def _name(name: str) -> str:
    return name.rstrip("_").replace("_", "-")
