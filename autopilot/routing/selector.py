"""What a client may write in ``model``: the alias, a list of preferences, or one name.

Only the text is read here; whether a name exists is the plan's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from autopilot.routing.router_error import RouterError

ASCII_BLANKS = " \t\r\n\v\f"
"""All that is ever trimmed. Other blanks, such as U+00A0, belong to the name."""

_LONGEST_LIST = 65536
"""Characters. Splitting a longer text would hold up every other request."""


class Mode(StrEnum):
    """The three kinds of selector."""

    ALIAS = "alias"
    LIST = "list"
    DIRECT = "direct"


class Order(StrEnum):
    """How the client wants candidates ordered; GIVEN is the ranking's or the list's own order."""

    GIVEN = "given"
    LATENCY = "latency"
    THROUGHPUT = "throughput"


_SUFFIXES = {order.value: order for order in (Order.LATENCY, Order.THROUGHPUT)}


class Selector(Struct, frozen=True, gc=False):
    """A selector, read. ``text`` is as the client wrote it.

    ``names`` is empty for the alias, holds the items of a list without duplicates, and for a direct
    name the one text as it came, suffix and all, because it goes upstream unchanged.
    """

    text: str
    mode: Mode
    names: tuple[str, ...]
    order: Order


def parse_selector(text: str, aliases: frozenset[str], max_items: int) -> Selector | RouterError:
    """Read ``text``; refuse a list with no item or with more than ``max_items`` different ones.

    A suffix at the very end, ``:latency`` or ``:throughput`` in any case, holds for the whole
    selector. Alias names are compared exactly.
    """
    trimmed = text.strip(ASCII_BLANKS)
    if not trimmed:
        return RouterError(400, "missing_model", "'model' is empty: name a model.", param="model")
    body, order = split_order(trimmed)
    if body in aliases:
        return Selector(text, Mode.ALIAS, (), order)
    if "," not in body:
        return Selector(text, Mode.DIRECT, (text,), order)
    if len(body) > _LONGEST_LIST:
        return _bad_list(f"is longer than {_LONGEST_LIST} characters")
    names: dict[str, None] = {}
    for name in _items(body):
        names[name] = None
        if len(names) > max_items:
            return _bad_list(f"names more than {max_items} different models")
    if not names:
        return _bad_list("names no model")
    return Selector(text, Mode.LIST, tuple(names), order)


def split_order(text: str) -> tuple[str, Order]:
    """Take an order suffix off the end of ``text``, with the ASCII blanks around it."""
    trimmed = text.strip(ASCII_BLANKS)
    body, colon, suffix = trimmed.rpartition(":")
    order = _SUFFIXES.get(suffix.lower()) if colon else None
    return (trimmed, Order.GIVEN) if order is None else (body.strip(ASCII_BLANKS), order)


def _items(body: str) -> Iterator[str]:
    """The items of a list that are not empty, in order."""
    return (item for part in body.split(",") if (item := part.strip(ASCII_BLANKS)))


def _bad_list(what: str) -> RouterError:
    """A list that cannot be used; ``what`` completes the sentence."""
    return RouterError(400, "invalid_model_list", f"The list in 'model' {what}.", param="model")
