"""The 400 ``unknown_model`` error: the unknown names, each with close matches from the catalog.

A client may send any text of any length. What the message echoes is short and printable, and the
search for close matches is bounded, because it blocks the reactor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from operator import add

from autopilot.routing.catalog import Catalog
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import Mode, split_order

_MAX_ECHO_CHARS = 100
_MAX_SUGGESTIONS = 3
_MAX_EXPLAINED = 4
_MAX_COMPARED = 500
_MAX_PAIRS = 64
_MIN_PART_CHARS = 3
_MIN_SIMILARITY = 0.6
_TEE_SUFFIX = "-tee"


def unknown_model(
    unknown: Sequence[str], catalog: Catalog, aliases: frozenset[str], mode: Mode
) -> RouterError:
    """Return the error that names every one of ``unknown``, with matches for the first few.

    A name without a match, as the default of a tool that expects another platform usually is, gets
    the way on that is always open: the alias.
    """
    explained = unknown[:_MAX_EXPLAINED]
    hints = [hint(name, catalog, aliases, mode, len(explained)) for name in explained]
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


def hint(name: str, catalog: Catalog, aliases: frozenset[str], mode: Mode, sharing: int = 1) -> str:
    """Return what ``name`` may have meant, in brackets; empty if nothing is close.

    It is one of ``sharing`` names, which together are compared with 500 of the catalog.
    """
    if mode is Mode.LIST and name.lower() in map(str.lower, aliases):
        return " (an alias can only be the last item of a list)"
    listed = islice(catalog.models, _MAX_COMPARED // sharing)
    pool = [*listed, *sorted(aliases)] if mode is Mode.DIRECT else [*listed]
    matches = close(split_order(name[:_MAX_ECHO_CHARS])[0], pool)
    return f" (did you mean {' or '.join(map(echo, matches))}?)" if matches else ""


def close(wanted: str, pool: Iterable[str]) -> Sequence[str]:
    """Return the names that ``wanted`` may have meant, most likely first; three at most.

    First come names that differ only in case, organisation, suffix or punctuation, then names that
    contain ``wanted``, then names that share the most character pairs. The cost grows with the
    number of names only: no spelling of ``wanted`` makes it slow.
    """
    spelling = _Spelling(wanted)
    scored = [
        (*nearness, name) for name in pool if (nearness := spelling.nearness(name)) is not None
    ]
    # A name that differs in case only is certainly the one meant.
    exact = [name for tier, _, name in scored if tier == 0]
    nearest = sorted(scored, key=lambda entry: entry[:2])[:_MAX_SUGGESTIONS]
    return exact[:1] or [name for _, _, name in nearest]


class _Spelling:
    """The name that a client used, in the forms in which it is compared."""

    def __init__(self, name: str) -> None:
        self.whole = name[:_MAX_ECHO_CHARS].casefold()
        self.bare = _bare(self.whole)
        self.plain = _plain(self.bare)
        self.pairs = _pairs(self.whole)
        self.bare_pairs = _pairs(self.bare)

    def nearness(self, name: str) -> tuple[int, float] | None:
        """Return the sort key of ``name``, nearest first: kind of match, then dissimilarity."""
        whole = name[:_MAX_ECHO_CHARS].casefold()
        if self.whole == whole:
            return 0, 0.0
        bare = _bare(whole)
        # Organisation, punctuation and "-TEE" are what clients most often get wrong.
        if self.plain and self.plain == _plain(bare):
            kind = 1
        elif len(self.whole) >= _MIN_PART_CHARS and self.whole in whole:
            kind = 2
        elif _may_be_similar(self.pairs, whole) or _may_be_similar(self.bare_pairs, bare):
            kind = 3
        else:
            return None
        similarity = max(_dice(self.pairs, _pairs(whole)), _dice(self.bare_pairs, _pairs(bare)))
        return None if kind == 3 and similarity < _MIN_SIMILARITY else (kind, -similarity)


def _bare(name: str) -> str:
    """Return a name without its organisation."""
    return name.rpartition("/")[2]


def _plain(name: str) -> str:
    """Return the letters and digits of a name, without the suffix that marks a TEE model."""
    return "".join(filter(str.isalnum, name.removesuffix(_TEE_SUFFIX)))


def _pairs(text: str) -> frozenset[str]:
    """Return the set of adjacent character pairs."""
    return frozenset(map(add, text[:_MAX_PAIRS], text[1:]))


def _may_be_similar(pairs: frozenset[str], text: str) -> bool:
    """Return whether ``text`` has enough of ``pairs``: a quick test that rejects most names.

    Two similar sets share at least this many: the other one has no fewer than those shared.
    """
    return sum(map(text.__contains__, pairs)) * (2 / _MIN_SIMILARITY - 1) >= len(pairs)


def _dice(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Sørensen–Dice coefficient of two sets, from 0 to 1."""
    return 2 * len(one & other) / ((len(one) + len(other)) or 1)
