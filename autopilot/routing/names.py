"""What a client's spelling of a model means, and the name that goes up for it (contract §3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from autopilot.routing.catalog import Catalog
from autopilot.routing.selector import Mode, split_order

_THINKING = ":THINKING"


class Named(NamedTuple):
    """A model that a client named: its own name, what follows it, and the name that goes up.

    Two names that differ in neither ``model`` nor ``suffix`` are the same candidate.
    """

    model: str
    suffix: str
    sent: str


def resolve(name: str, catalog: Catalog, mode: Mode = Mode.DIRECT) -> Named | None:
    """Return the model that ``name`` means, None if the catalog has none.

    A chute's id goes up as it is, and so does the suffix that the platform strips from a name:
    ``:THINKING`` and, from a direct name only, the order. The rest becomes the catalog's name.
    """
    for base in _bases(name, mode):
        model = catalog.find(base)
        if model is not None:
            suffix = name[len(base) :]
            return Named(model, suffix, (base if base in catalog.by_chute else model) + suffix)
    return None


def catalog_name(name: str, catalog: Catalog) -> str:
    """Return the catalog's name for what the platform reads in ``name``; else ``name`` itself."""
    if name in catalog.models:
        return name
    named = resolve(name, catalog)
    return name if named is None else named.model


def _bases(name: str, mode: Mode) -> Iterator[str]:
    """Yield ``name``, then its prefixes after the removal of each suffix."""
    yield name
    # In a list the order suffix is the whole selector's, so an item has none.
    trimmed = split_order(name)[0] if mode is Mode.DIRECT else name
    if trimmed != name:
        yield trimmed
    if trimmed.endswith(_THINKING):
        yield trimmed.removesuffix(_THINKING)
