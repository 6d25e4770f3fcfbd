"""The 400 ``unknown_model`` error: the unknown names, each with close matches of known ones.

A client may send any text of any length. What the message echoes is short and printable, and the
search for close matches is bounded, because it blocks the reactor.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from heapq import nsmallest
from itertools import chain, islice
from operator import add, itemgetter

from autopilot.routing.catalog import Catalog
from autopilot.routing.private_mode import PRIVATE_ALIAS, asks_for_private
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import Mode, split_order

_MAX_ECHO_CHARS = 100
_MAX_SUGGESTIONS = 3
_MAX_EXPLAINED = 4
_MAX_COMPARED = 500
_MAX_MEASURED = 16
_MAX_PAIRS = 64
_MIN_PART_CHARS = 3
_MIN_SIMILARITY = 0.6
_TEE_SUFFIX = "-tee"
_EXACT = (0, 0.0)
_SIMILAR = 3


def unknown_model(
    unknown: Sequence[str],
    catalog: Catalog,
    aliases: frozenset[str],
    mode: Mode,
    routes: Collection[str] = (),
) -> RouterError:
    """Return the error that names every one of ``unknown``, with matches for the first few.

    A name without a match, as the default of a tool that expects another platform usually is, gets
    the way on that is always open: the alias.
    """
    explained = unknown[:_MAX_EXPLAINED]
    hints = [hint(name, catalog, aliases, mode, len(explained), routes) for name in explained]
    parts = [
        echo(name) + (hints[index] if index < len(hints) else "")
        for index, name in enumerate(unknown)
    ]
    plural = "s" if len(parts) > 1 else ""
    message = f"Unknown model{plural}: {'; '.join(parts)}."
    if aliases and not all(hints):
        message += (
            f" Ask for {echo(min(aliases))}, and the router chooses a model; GET /v1/models lists"
            " all names."
        )
    return RouterError(400, "unknown_model", message, param="model")


def not_served_here(models: Sequence[str]) -> RouterError:
    """Return the error for models of other services, which do not serve the path."""
    names = "; ".join(map(echo, models[:_MAX_EXPLAINED]))
    message = (
        f"Not served on this path: {names}. Other services than the platform are used for"
        " POST /v1/chat/completions and POST /v1/completions only; name a model of the platform."
    )
    return RouterError(400, "unknown_model", message, param="model")


def echo(name: str) -> str:
    """Return ``name`` in quotes: printable, and cut to 100 characters."""
    text = printable(name[:_MAX_ECHO_CHARS])
    return f"'{text}…'" if len(name) > _MAX_ECHO_CHARS else f"'{text}'"


def printable(text: str) -> str:
    """Return ``text`` with every unprintable character escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def hint(
    name: str,
    catalog: Catalog,
    aliases: frozenset[str],
    mode: Mode,
    sharing: int = 1,
    routes: Iterable[str] = (),
) -> str:
    """Return what ``name`` may have meant, in brackets; empty if nothing is close.

    It is one of ``sharing`` names, which together are compared with 500 routes and models.
    """
    if asks_for_private(name):
        aliases = frozenset({PRIVATE_ALIAS})  # whoever means it means no other
    if mode is Mode.LIST and name.lower() in map(str.lower, aliases):
        return " (an alias can only be the last item of a list)"
    listed = islice(chain(routes, catalog.models), _MAX_COMPARED // sharing)
    pool = [*listed, *sorted(aliases)] if mode is Mode.DIRECT else [*listed]
    matches = close(split_order(name[:_MAX_ECHO_CHARS])[0], pool)
    return f" (did you mean {' or '.join(map(echo, matches))}?)" if matches else ""


def close(wanted: str, pool: Iterable[str]) -> Sequence[str]:
    """Return the names that ``wanted`` may have meant, most likely first; three at most.

    First come names that differ only in case, organisation, suffix or punctuation, then names that
    contain ``wanted``, then names that share the most character pairs. The cost grows with the
    number of names only: no spelling of ``wanted`` makes it slow. Few of them are measured exactly,
    the nearest at first sight.
    """
    spelling = _Spelling(wanted)
    scored = [
        (nearness, name) for name in pool if (nearness := spelling.nearness(name)) is not None
    ]
    nearest = nsmallest(_MAX_MEASURED, scored, key=itemgetter(0))
    if nearest and nearest[0][0] == _EXACT:  # certainly the one meant
        return [nearest[0][1]]
    measured = [
        ((kind, -similarity), name)
        for (kind, _), name in nearest
        if (similarity := spelling.similarity(name)) >= _MIN_SIMILARITY or kind != _SIMILAR
    ]
    return [name for _, name in nsmallest(_MAX_SUGGESTIONS, measured, key=itemgetter(0))]


class _Spelling:
    """The name that a client used, in the forms in which it is compared."""

    def __init__(self, name: str) -> None:
        self.whole = name[:_MAX_ECHO_CHARS].casefold()
        self.bare = _bare(self.whole)
        self.plain = _plain(self.bare)
        self.pairs = _pairs(self.whole)
        self.bare_pairs = _pairs(self.bare)

    def nearness(self, name: str) -> tuple[int, float] | None:
        """Return the sort key of ``name`` at first sight: kind of match, then dissimilarity."""
        whole = name[:_MAX_ECHO_CHARS].casefold()
        if self.whole == whole:
            return _EXACT
        bare = _bare(whole)
        shared, shared_by_bare = _shared(self.pairs, whole), _shared(self.bare_pairs, bare)
        # Organisation, punctuation and "-TEE" are what clients most often get wrong.
        if self.plain and self.plain == _plain(bare):
            kind = 1
        elif len(self.whole) >= _MIN_PART_CHARS and self.whole in whole:
            kind = 2
        elif _may_be_similar(shared, self.pairs) or _may_be_similar(
            shared_by_bare, self.bare_pairs
        ):
            kind = _SIMILAR
        else:
            return None
        # Names hardly repeat a pair of characters, so their length stands for the number of pairs.
        similarity = max(
            shared / (len(self.pairs) + len(whole) or 1),
            shared_by_bare / (len(self.bare_pairs) + len(bare) or 1),
        )
        return kind, -similarity

    def similarity(self, name: str) -> float:
        """Return how similar ``name`` is, with or without its organisation, from 0 to 1."""
        whole = name[:_MAX_ECHO_CHARS].casefold()
        bare = _bare(whole)
        return max(_dice(self.pairs, _pairs(whole)), _dice(self.bare_pairs, _pairs(bare)))


def _bare(name: str) -> str:
    """Return a name without its organisation."""
    return name.rpartition("/")[2]


def _plain(name: str) -> str:
    """Return the letters and digits of a name, without the suffix that marks a TEE model."""
    return "".join(filter(str.isalnum, name.removesuffix(_TEE_SUFFIX)))


def _pairs(text: str) -> frozenset[str]:
    """Return the set of adjacent character pairs."""
    return frozenset(map(add, text[:_MAX_PAIRS], text[1:]))


def _shared(pairs: frozenset[str], text: str) -> int:
    """Return how many of ``pairs`` a text has."""
    return sum(map(text.__contains__, pairs))


def _may_be_similar(shared: int, pairs: frozenset[str]) -> bool:
    """Return whether a text that has ``shared`` of ``pairs`` can be similar; most names are not.

    Two similar sets share at least so many: the other one has no fewer than those shared.
    """
    return shared * (2 / _MIN_SIMILARITY - 1) >= len(pairs)


def _dice(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Sørensen–Dice coefficient of two sets, from 0 to 1."""
    return 2 * len(one & other) / ((len(one) + len(other)) or 1)
