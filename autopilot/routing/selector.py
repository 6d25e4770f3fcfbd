"""The ``model`` member of a request: the alias, a preference list, or one name.

This module only parses the text; the plan checks whether the names exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from autopilot.routing.router_error import RouterError

ASCII_BLANKS = " \t\r\n\v\f"
"""The only characters that are trimmed. Other blanks, such as U+00A0, belong to the name."""

_MAX_LIST_CHARS = 65536
"""Splitting a longer text would block the reactor, and with it every other request."""

_MAX_CACHED = 1024
_LONGEST_CACHED = 256


class Mode(StrEnum):
    """The three kinds of selector."""

    ALIAS = "alias"
    LIST = "list"
    DIRECT = "direct"


class Order(StrEnum):
    """The order that the client asked for; GIVEN is the ranking's or the list's own."""

    GIVEN = "given"
    LATENCY = "latency"
    THROUGHPUT = "throughput"


_SUFFIXES = {order.value: order for order in (Order.LATENCY, Order.THROUGHPUT)}


class Selector(Struct, frozen=True, gc=False):
    """A parsed selector; ``text`` is what the client sent.

    ``names`` is empty for the alias and holds the distinct items of a list. For a direct name it
    holds ``text`` unchanged, suffix included, because that string goes upstream as it is.
    """

    text: str
    mode: Mode
    names: tuple[str, ...]
    order: Order


def parse_selector(text: str, aliases: frozenset[str], max_items: int) -> Selector | RouterError:
    """Parse ``text``; reject a list without items or with more than ``max_items`` distinct ones.

    A suffix at the very end, ``:latency`` or ``:throughput`` in any case, applies to the whole
    selector. Alias names are case-sensitive.
    """
    trimmed = text.strip(ASCII_BLANKS)
    if not trimmed:
        return RouterError(400, "missing_model", "'model' is empty: name a model.", param="model")
    body, order = split_order(trimmed)
    # Before the search for commas, because an alias may contain one.
    if body in aliases:
        return Selector(text, Mode.ALIAS, (), order)
    if "," not in body:
        return Selector(text, Mode.DIRECT, (text,), order)
    if len(body) > _MAX_LIST_CHARS:
        return _bad_list(f"is longer than {_MAX_LIST_CHARS} characters")
    names: dict[str, None] = {}
    for name in _items(body):
        # Stop at the limit: the other items need not be trimmed and stored.
        names[name] = None
        if len(names) > max_items:
            return _bad_list(f"names more than {max_items} different models")
    if not names:
        return _bad_list("names no model")
    return Selector(text, Mode.LIST, tuple(names), order)


def split_order(text: str) -> tuple[str, Order]:
    """Split an order suffix, with the ASCII blanks around it, off the end of ``text``."""
    trimmed = text.strip(ASCII_BLANKS)
    body, colon, suffix = trimmed.rpartition(":")
    order = _SUFFIXES.get(suffix.lower()) if colon else None
    return (trimmed, Order.GIVEN) if order is None else (body.strip(ASCII_BLANKS), order)


def _items(body: str) -> Iterator[str]:
    """Yield the non-empty items of a list in order."""
    return (item for part in body.split(",") if (item := part.strip(ASCII_BLANKS)))


def _bad_list(problem: str) -> RouterError:
    """Return the error for a malformed list; ``problem`` completes its sentence."""
    return RouterError(400, "invalid_model_list", f"The list in 'model' {problem}.", param="model")


class SelectorCache(dict[str, Selector | RouterError]):
    """The selectors parsed lately, by their text, under one set of aliases; bounded.

    ``cache[text]`` is what `parse_selector` returns for the text. Clients repeat a few selectors,
    and a repeated one costs one look-up.
    """

    def __init__(self, aliases: frozenset[str], max_items: int) -> None:
        super().__init__()
        self._aliases = aliases
        self._max_items = max_items

    def __repr__(self) -> str:
        return f"SelectorCache({len(self)} selectors)"  # their texts are the clients'

    def __missing__(self, text: str) -> Selector | RouterError:
        parsed = parse_selector(text, self._aliases, self._max_items)
        if len(text) <= _LONGEST_CACHED:
            if len(self) >= _MAX_CACHED:
                self.clear()
            self[text] = parsed
        return parsed
