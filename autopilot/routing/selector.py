"""The ``model`` member of a request: the alias, a preference list, a route, or one name.

This module only parses the text; the plan checks whether the names exist.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from types import MappingProxyType

from msgspec import Struct

from autopilot.routing.patterns import NamePattern
from autopilot.routing.private_mode import PRIVATE_ALIAS, asks_for_private
from autopilot.routing.router_error import RouterError

ASCII_BLANKS = " \t\r\n\v\f"
"""The only characters that are trimmed. Other blanks, such as U+00A0, belong to the name."""

MAX_BYTES = 65536
"""The longest selector. Splitting a longer one would block the reactor for all other requests."""

TOO_LONG = RouterError(
    400, "invalid_model", f"The model selector is longer than {MAX_BYTES} bytes.", param="model"
)

_MISSING_MODEL = (
    "The request names no model: set 'model' to a name that GET /v1/models lists, to several names"
    " separated by commas or, to let the router choose, to an alias"
)


def missing_model(aliases: Collection[str] = ()) -> RouterError:
    """Return the error for a request without a model, with an alias as the example."""
    example = f" such as '{min(aliases)}'" if aliases else ""
    return RouterError(400, "missing_model", _MISSING_MODEL + example + ".", param="model")


MISSING_MODEL = missing_model()
"""The error where the aliases are not known."""

# With _LONGEST_CACHED, which counts characters: at most 4 MiB.
_MAX_CACHED = 1024
_LONGEST_CACHED = 256
_KEY_BYTES = 16
_NO_ROUTES: Mapping[str, bool] = MappingProxyType({})


class Mode(StrEnum):
    """The four kinds of selector."""

    __hash__ = str.__hash__  # of an enum it is a call of Python

    ALIAS = "alias"
    LIST = "list"
    DIRECT = "direct"
    ROUTE = "route"


class Order(StrEnum):
    """The order that the client asked for; GIVEN is the ranking's or the list's own."""

    GIVEN = "given"
    LATENCY = "latency"
    THROUGHPUT = "throughput"


# What every request asks for. A member is found faster as a name of a module than by its enum.
ALIAS, DIRECT, GIVEN = Mode.ALIAS, Mode.DIRECT, Order.GIVEN
ROUTE = Mode.ROUTE

_SUFFIXES = {order.value: order for order in (Order.LATENCY, Order.THROUGHPUT)}


class Selector(Struct, frozen=True, gc=False):
    """A parsed selector; ``text`` is what the client sent.

    ``names`` is empty for the alias and holds the distinct items of a list, or the route's name.
    For a direct name it holds the text between its blanks, suffix included, because the platform
    reads that too.
    """

    text: str
    mode: Mode
    names: tuple[str, ...]
    order: Order
    alias_last: bool = False
    """Whether a list ends with the alias, which is then not one of ``names``."""
    misplaced: tuple[str, ...] = ()
    """Those of ``names`` that are the alias, which may only be the last item of a list."""
    key: bytes = b""
    """A digest of what the client chose, for stickiness; empty for a direct name.

    State tables keep it, and a text of 64 KiB must not stay in them. Blanks, empty items, repeated
    items and the alias's spelling make no difference, so that none of them evades stickiness.
    """
    by_pattern: bool = False
    """Whether a direct name matches a pattern of the operator's: unlisted, it means the alias."""
    routes: tuple[str, ...] = ()
    """Those of ``names`` that are routes."""
    chooses: bool = False
    """Whether one of these routes leaves models to the router's choice."""
    private: bool = False
    """Whether it has the alias of private mode, or a route that is private."""


def selector_of(
    text: str,
    mode: Mode,
    names: tuple[str, ...],
    order: Order,
    alias_last: bool = False,
    misplaced: tuple[str, ...] = (),
    routes: Mapping[str, bool] = _NO_ROUTES,
) -> Selector:
    """Return a selector with its digest; none for a direct name, to which nothing sticks."""
    if mode is Mode.DIRECT:
        return Selector(text, mode, names, order)
    # No name contains the comma that separates them.
    chosen = ",".join((mode.value, order.value, str(alias_last), *names))
    digest = blake2b(chosen.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()
    found = tuple(name for name in names if name in routes)
    return Selector(
        text,
        mode,
        names,
        order,
        alias_last,
        misplaced,
        digest,
        routes=found,
        chooses=any(routes[name] for name in found),
    )


def as_alias(selector: Selector) -> Selector:
    """Return the alias in the order of a direct name, for which the router is to choose.

    To its conversations the name is a spelling of the alias.
    """
    alias = selector_of(selector.text, Mode.ALIAS, (), selector.order)
    return _as_private(alias) if selector.private else alias


def parse_selector(
    text: str,
    aliases: frozenset[str],
    max_items: int,
    patterns: Sequence[NamePattern] = (),
    routes: Mapping[str, bool] = _NO_ROUTES,
    private_routes: frozenset[str] = frozenset(),
) -> Selector | RouterError:
    """Parse ``text``; reject a list without items or with more than ``max_items`` distinct ones.

    A suffix at the very end, ``:latency`` or ``:throughput`` in any case, applies to the whole
    selector. An alias in another case is the alias. ``routes`` has the name of each route, and
    whether it leaves models to the router's choice; ``private_routes`` are those of private mode.
    """
    return _parse(text, _in_lower_case(aliases), max_items, patterns, routes, private_routes)


def _in_lower_case(aliases: Iterable[str]) -> frozenset[str]:
    """Return the aliases as the parser wants them, with that of private mode among them."""
    return frozenset(map(str.lower, (*aliases, PRIVATE_ALIAS)))


def _parse(
    text: str,
    aliases: frozenset[str],
    max_items: int,
    patterns: Sequence[NamePattern],
    routes: Mapping[str, bool],
    private_routes: frozenset[str],
) -> Selector | RouterError:
    """Parse ``text`` by ``aliases`` in lower case, and note whether it asks for private mode."""
    parsed = _parse_names(text, aliases, max_items, patterns, routes)
    if isinstance(parsed, RouterError):
        return parsed
    if asks_for_private(text) or not private_routes.isdisjoint(parsed.routes):
        return _as_private(parsed)
    if private_routes and _means_one_of(private_routes, text, routes):
        return _as_private(parsed)
    return parsed


def _means_one_of(private_routes: frozenset[str], text: str, routes: Mapping[str, bool]) -> bool:
    """Return whether an item is a private route's name in another case, or with suffixes.

    It is an unknown name, which may be forwarded or left to the router's choice: not as a plain
    request, which its client did not mean. The exact name of another route is no slip.
    """
    meant = {name.lower() for name in private_routes}
    others = (item.lower() for item in _items(split_order(text)[0]) if item not in routes)
    return any(name.partition(":")[0] in meant for name in others)


def _as_private(parsed: Selector) -> Selector:
    """Return the same selector for a private request."""
    return Selector(
        parsed.text,
        parsed.mode,
        parsed.names,
        parsed.order,
        parsed.alias_last,
        parsed.misplaced,
        parsed.key,
        parsed.by_pattern,
        parsed.routes,
        parsed.chooses,
        private=True,
    )


def _parse_names(
    text: str,
    aliases: frozenset[str],
    max_items: int,
    patterns: Sequence[NamePattern],
    routes: Mapping[str, bool],
) -> Selector | RouterError:
    if is_too_long(text):
        return TOO_LONG
    trimmed = text.strip(ASCII_BLANKS)
    if not trimmed:
        return MISSING_MODEL
    body, order = split_order(trimmed)
    # Before the search for commas, because an alias may contain one.
    lower = body.lower()
    if lower in aliases:
        return selector_of(text, Mode.ALIAS, (), order)
    if body in routes:
        return selector_of(text, Mode.ROUTE, (body,), order, routes=routes)
    if "," not in body:
        matches = any(pattern.matches(lower) for pattern in patterns)
        return Selector(text, Mode.DIRECT, (trimmed,), order, by_pattern=matches)
    items: dict[str, str] = {}
    for name in _items(body):
        # The spellings of the alias are one item. The catalog distinguishes names later.
        lower = name.lower()
        items.setdefault(lower if lower in aliases else name, name)
        # Stop at the limit: the other items need not be trimmed and stored.
        if len(items) > max_items:
            return _bad_list(f"names more than {max_items} different models")
    if not items:
        return _bad_list("names no model")
    names = tuple(items.values())
    alias_last = names[-1].lower() in aliases
    if alias_last:
        names = names[:-1]
    misplaced = tuple(name for name in names if name.lower() in aliases)
    return selector_of(text, Mode.LIST, names, order, alias_last, misplaced, routes)


def is_too_long(text: str) -> bool:
    """Return whether a selector has more than `MAX_BYTES` bytes in UTF-8."""
    return len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES


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
    """The selectors parsed lately, by their text, under one set of names and patterns; bounded.

    ``cache[text]`` is what `parse_selector` returns for the text. Clients repeat a few selectors,
    and a repeated one costs one look-up.
    """

    def __init__(
        self,
        aliases: frozenset[str],
        max_items: int,
        patterns: Sequence[NamePattern] = (),
        routes: Mapping[str, bool] = _NO_ROUTES,
        private_routes: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self._aliases = _in_lower_case(aliases)
        self._max_items = max_items
        self._patterns = patterns
        self._routes = routes
        self._private_routes = private_routes

    def __repr__(self) -> str:
        return f"SelectorCache({len(self)} selectors)"  # their texts are the clients'

    def __missing__(self, text: str) -> Selector | RouterError:
        parsed = _parse(
            text,
            self._aliases,
            self._max_items,
            self._patterns,
            self._routes,
            self._private_routes,
        )
        if len(text) <= _LONGEST_CACHED:
            if len(self) >= _MAX_CACHED:
                self.clear()
            self[text] = parsed
        return parsed
