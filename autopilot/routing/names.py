"""The model that a client's spelling refers to, and the name to forward (contract §3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from autopilot.routing.catalog import Catalog
from autopilot.routing.selector import Mode, split_order

THINKING = ":THINKING"
"""The suffix of a model's name that turns on thinking."""


class Named(NamedTuple):
    """A model named by a client: its name, its suffix, and the name to forward.

    Two names with equal ``model`` and ``suffix`` are the same candidate.
    """

    model: str
    suffix: str
    sent: str


def resolve(name: str, catalog: Catalog, mode: Mode = Mode.DIRECT) -> Named | None:
    """Return the model that ``name`` refers to, None if the catalog has none.

    A chute's id is forwarded unchanged, and so is the suffix that the platform strips from a name:
    ``:THINKING`` and, from a direct name only, the order. The rest becomes the catalog's name.
    """
    for base in _bases(name, mode):
        model = catalog.find(base)
        if model is not None:
            suffix = name[len(base) :]
            return Named(model, suffix, (base if base in catalog.by_chute else model) + suffix)
    return None


def catalog_name(name: str, catalog: Catalog) -> str:
    """Return the catalog's name for ``name`` as the platform interprets it; otherwise ``name``."""
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
    if trimmed.endswith(THINKING):
        yield trimmed.removesuffix(THINKING)
