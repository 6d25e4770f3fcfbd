"""The answer to a model name that is not in the catalog: which one it was, and what is near.

What the client wrote may be anything, of any length; what is echoed is short and printable, and
the search for near names is bounded, because it runs between other people's bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, pairwise

from autopilot.routing.catalog import Catalog
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import Mode, split_order

_ECHOED = 100
_MOST_SUGGESTIONS = 3
_MOST_EXPLAINED = 4
_MOST_COMPARED = 500
_SHORTEST_PART = 3
_LEAST_ALIKE = 0.6
_TEE_ENDING = "-tee"


def unknown_model(
    unknown: Sequence[str], catalog: Catalog, aliases: frozenset[str], mode: Mode
) -> RouterError:
    """Refuse ``unknown``, naming every one of them, with close matches for the first few."""
    parts = [
        echo(name) + (hint(name, catalog, aliases, mode) if at < _MOST_EXPLAINED else "")
        for at, name in enumerate(unknown)
    ]
    plural = "s" if len(parts) > 1 else ""
    return RouterError(
        400, "unknown_model", f"Unknown model{plural}: {'; '.join(parts)}.", param="model"
    )


def echo(name: str) -> str:
    """``name`` in quotes, printable and at most 100 characters of it."""
    text = printable(name[:_ECHOED])
    return f"'{text}…'" if len(name) > _ECHOED else f"'{text}'"


def printable(text: str) -> str:
    """``text`` with everything spelled out that is no visible character."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def hint(name: str, catalog: Catalog, aliases: frozenset[str], mode: Mode) -> str:
    """What may have been meant by ``name``, in brackets; empty if nothing is near."""
    if mode is Mode.LIST and name in aliases:
        return " (an alias cannot be part of a list)"
    if name in catalog.by_chute:
        near: Sequence[str] = [catalog.by_chute[name]]
    else:
        known = islice(catalog.models, _MOST_COMPARED)
        pool = [*known, *sorted(aliases)] if mode is Mode.DIRECT else [*known]
        near = close(split_order(name[:_ECHOED])[0], pool)
    return f" (did you mean {' or '.join(map(echo, near))}?)" if near else ""


def close(wanted: str, pool: Iterable[str]) -> Sequence[str]:
    """The names that may have been meant by ``wanted``, the likeliest first; three at most.

    First those that differ in case, organisation, ending or punctuation only, then those that
    ``wanted`` is a part of, then those that share most pairs of letters. The work grows with the
    number of names and with nothing else: no spelling of ``wanted`` makes it slow.
    """
    asked = _Spelling(wanted)
    found = [(*nearness, name) for name in pool if (nearness := asked.nearness(name)) is not None]
    # Where something differs in case only, it is what was meant.
    same = [name for tier, _, name in found if tier == 0]
    nearest = sorted(found, key=lambda each: each[:2])[:_MOST_SUGGESTIONS]
    return same[:1] or [name for _, _, name in nearest]


class _Spelling:
    """A name in the forms in which it is compared."""

    def __init__(self, name: str) -> None:
        self.whole = name[:_ECHOED].casefold()
        self.bare = self.whole.rpartition("/")[2]
        self.plain = _plain(self.bare)
        self.pairs = _pairs(self.whole)
        self.bare_pairs = _pairs(self.bare)

    def nearness(self, name: str) -> tuple[int, float] | None:
        """How near ``name`` is, least first: by what is the same, then by what else there is."""
        other = _Spelling(name)
        if self.whole == other.whole:
            return 0, 0.0
        alike = max(_share(self.pairs, other.pairs), _share(self.bare_pairs, other.bare_pairs))
        if self.plain and self.plain == other.plain:
            return 1, -alike
        if len(self.whole) >= _SHORTEST_PART and self.whole in other.whole:
            return 2, -alike
        return (3, -alike) if alike >= _LEAST_ALIKE else None


def _plain(name: str) -> str:
    """Only the letters and digits of a name, without the ending that marks a TEE."""
    return "".join(filter(str.isalnum, name.removesuffix(_TEE_ENDING)))


def _pairs(text: str) -> frozenset[tuple[str, str]]:
    """The pairs of neighbouring characters."""
    return frozenset(pairwise(text))


def _share(one: frozenset[object], other: frozenset[object]) -> float:
    """How much of two sets is in both, from 0 to 1."""
    return 2 * len(one & other) / ((len(one) + len(other)) or 1)
