"""Elements of HTML and SVG as values: whatever is not markup already is escaped.

MarkupSafe, which Klein's router brings along, escapes in C and gives strings at once, so that a
section can be kept and compared; Twisted's own templates walk each element as a generator.
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

Child = str | int | Iterable["Child"] | None

_EMPTY = frozenset({"br", "link", "meta"})


def el(tag: str, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """An element. ``class_`` is `class`, ``aria_label`` `aria-label`; None and False leave out."""
    head = "".join(
        f" {_name(name)}" if value is True else f' {_name(name)}="{escape(value)}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _EMPTY:
        return Markup(f"<{tag}{head}>")  # noqa: S704  escaped above
    pieces: list[str] = []
    _gather(children, pieces)
    return Markup(f"<{tag}{head}>{''.join(pieces)}</{tag}>")  # noqa: S704  escaped above


def join(*children: Child) -> Markup:
    """Several pieces after each other; lists are flattened, None is nothing."""
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
