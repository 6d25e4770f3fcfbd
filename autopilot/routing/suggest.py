"""The answer to a model name that is not in the catalog: which one it was, and what is near.

What the client wrote may be anything, of any length; what is echoed is short and printable, and
the search for near names is bounded, because it runs between other people's bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice

from autopilot.routing.catalog import Catalog
from autopilot.routing.refusal import Refusal
from autopilot.routing.selector import Mode

_ECHOED = 100
_MOST_SUGGESTIONS = 3
_MOST_EXPLAINED = 4
_MOST_COMPARED = 500
_SHORTEST_PART = 3


def unknown_model(
    unknown: Sequence[str], catalog: Catalog, aliases: frozenset[str], mode: Mode
) -> Refusal:
    """Refuse ``unknown``, naming every one of them, with close matches for the first few."""
    parts = [
        echo(name) + (_hint(name, catalog, aliases, mode) if at < _MOST_EXPLAINED else "")
        for at, name in enumerate(unknown)
    ]
    plural = "s" if len(parts) > 1 else ""
    return Refusal(
        400, "unknown_model", f"Unknown model{plural}: {'; '.join(parts)}.", param="model"
    )


def echo(name: str) -> str:
    """``name`` in quotes, printable and at most 100 characters of it."""
    text = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in name[:_ECHOED]
    )
    return f"'{text}…'" if len(name) > _ECHOED else f"'{text}'"


def _hint(name: str, catalog: Catalog, aliases: frozenset[str], mode: Mode) -> str:
    """What may have been meant by ``name``, in brackets; empty if nothing is near."""
    if mode is Mode.LIST and name in aliases:
        return " (an alias cannot be part of a list)"
    if name in catalog.by_chute:
        near: Sequence[str] = [catalog.by_chute[name]]
    else:
        known = islice(catalog.models, _MOST_COMPARED)
        pool = [*known, *sorted(aliases)] if mode is Mode.DIRECT else [*known]
        near = _closest(name[:_ECHOED].casefold(), pool)
    return f" (did you mean {' or '.join(map(echo, near))}?)" if near else ""


def _closest(wanted: str, pool: Iterable[str]) -> Sequence[str]:
    """Names that contain ``wanted``, then names that are spelled alike; case does not matter."""
    folded: dict[str, str] = {}
    for known in pool:
        folded.setdefault(known[:_ECHOED].casefold(), known)
    found = [key for key in folded if len(wanted) >= _SHORTEST_PART and wanted in key]
    alike = get_close_matches(wanted, folded, _MOST_SUGGESTIONS)
    return [folded[key] for key in dict.fromkeys([*found, *alike])][:_MOST_SUGGESTIONS]
