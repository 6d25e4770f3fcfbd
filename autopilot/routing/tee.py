"""Which names mean models that run in a trusted execution environment, as the catalog marks them.

A direct name may be written as only the platform reads it, so this is also where such a name is
traced to the catalog's own.
"""

from __future__ import annotations

from collections.abc import Iterable

from autopilot.routing.catalog import Catalog
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import split_order

_THINKING = ":THINKING"


def catalog_name(name: str, known: Catalog) -> str:
    """The catalog's name for what the platform would make of ``name``; else ``name`` itself.

    The platform takes a chute's id for its name, and of a single name it takes ``:latency`` or
    ``:throughput``, then ``:THINKING``, off the end.
    """
    if name in known.models:
        return name
    plain = split_order(name)[0]
    for text in (name, plain, plain.removesuffix(_THINKING)):
        if text in known.models:
            return text
        if text in known.by_chute:
            return known.by_chute[text]
    return name


def confidential(names: Iterable[str], known: Catalog) -> tuple[str, ...] | RouterError:
    """Only the models that the catalog marks as confidential; 400 ``tee_required`` if none is."""
    kept = tuple(name for name in names if is_confidential(name, known))
    return kept or RouterError(
        400,
        "tee_required",
        "A trusted execution environment is required, and none of the models that may serve this "
        "request is marked as running in one.",
        param="model",
    )


def is_confidential(name: str, known: Catalog) -> bool:
    """Whether what a name means is known, and known to be confidential."""
    model = known.models.get(catalog_name(name, known))
    return model is not None and model.tee is True
