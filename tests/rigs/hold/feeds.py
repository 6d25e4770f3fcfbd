"""The bodies of the feeds, of any number of models."""

from __future__ import annotations

import json
from functools import cache

from tests.rigs.hold.wire import MODELS
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body


@cache
def catalog(models: int) -> bytes:
    """Return a catalog of this many models, the usual ones first, each with room for any prompt."""
    names = (*MODELS, *(f"acme/other-{number}" for number in range(models - len(MODELS))))
    room = {"max_model_len": 1 << 30, "context_length": 1 << 30}
    return catalog_body(*(entry(name, **room) for name in names[:models]))


@cache
def utilization(models: int) -> bytes:
    """Return a record for each model of the catalog of the same size."""
    names = (*MODELS, *(f"acme/other-{number}" for number in range(models - len(MODELS))))
    return utilization_body(*map(record, names[:models]))


@cache
def compact_catalog(models: int) -> bytes:
    """Return a catalog whose entries have a name and nothing else."""
    names = (*MODELS, *(f"a/{number}" for number in range(models - len(MODELS))))
    entries = [{"id": name, "confidential_compute": True} for name in names]
    return json.dumps({"data": entries}, separators=(",", ":")).encode()


@cache
def compact_utilization(models: int) -> bytes:
    """Return records with a name and the number of instances."""
    names = (*MODELS, *(f"a/{number}" for number in range(models - len(MODELS))))
    records = [{"name": name, "active_instance_count": 1} for name in names]
    return json.dumps(records, separators=(",", ":")).encode()
