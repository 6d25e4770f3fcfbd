"""Builders of HTML and SVG elements that escape everything that is not markup already.

MarkupSafe (a dependency of Klein's router) escapes in C and returns strings, so a rendered section
can be cached and compared; Twisted's templates render through generators, which is slower.
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

Child = str | int | Iterable["Child"] | None

_EMPTY = frozenset({"br", "link", "meta"})


def el(tag: str, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """Return an element.

    ``class_`` becomes `class` and ``aria_label`` `aria-label`; None and False omit an attribute.
    """
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
