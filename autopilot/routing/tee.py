"""Confidential models: which names the catalog marks as running in a trusted execution environment.

A direct name may carry suffixes that only the platform interprets, so this module also maps such a
name to the catalog's own.
"""

from __future__ import annotations

from collections.abc import Iterable

from autopilot.routing.catalog import Catalog
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import split_order

_THINKING = ":THINKING"


def catalog_name(name: str, catalog: Catalog) -> str:
    """Return the catalog's name for what the platform reads in ``name``; else ``name`` itself.

    The platform accepts a chute's id as a name. From a single name it strips ``:latency`` or
    ``:throughput``, then ``:THINKING``.
    """
    if name in catalog.models:
        return name
    trimmed = split_order(name)[0]
    for candidate in (name, trimmed, trimmed.removesuffix(_THINKING)):
        if candidate in catalog.models:
            return candidate
        if candidate in catalog.by_chute:
            return catalog.by_chute[candidate]
    return name


def confidential(names: Iterable[str], catalog: Catalog) -> tuple[str, ...] | RouterError:
    """Return the names that the catalog marks as confidential, or 400 ``tee_required``."""
    kept = tuple(name for name in names if is_confidential(name, catalog))
    return kept or RouterError(
        400,
        "tee_required",
        "A trusted execution environment is required, and none of the models that may serve this "
        "request is marked as running in one.",
        param="model",
    )


def is_confidential(name: str, catalog: Catalog) -> bool:
    """Return whether the catalog marks the model that ``name`` means as confidential."""
    model = catalog.models.get(catalog_name(name, catalog))
    return model is not None and model.tee is True
