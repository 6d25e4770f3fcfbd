"""Confidential models: which models run in a trusted execution environment."""

from __future__ import annotations

from collections.abc import Iterable

from autopilot.routing.catalog import Catalog
from autopilot.routing.names import catalog_name
from autopilot.routing.router_error import RouterError

TEE_REQUIRED = RouterError(
    400,
    "tee_required",
    "A trusted execution environment is required, and none of the models that may serve this "
    "request is marked as running in one.",
    param="model",
)


def confidential(names: Iterable[str], catalog: Catalog) -> tuple[str, ...] | RouterError:
    """Return the names that the catalog marks as confidential, or 400 ``tee_required``."""
    return tuple(name for name in names if is_confidential(name, catalog)) or TEE_REQUIRED


def is_confidential(name: str, catalog: Catalog) -> bool:
    """Return whether the catalog marks the model that ``name`` means as confidential."""
    model = catalog.models.get(catalog_name(name, catalog))
    return model is not None and model.tee is True
