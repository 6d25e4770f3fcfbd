"""Invented feed entries in the platform's format."""

from __future__ import annotations

import json

MEASURED = 1771393688.568123
"""The time of a record, in seconds since 1970."""


def entry(name: str = "acme/Model-1", /, **changes: object) -> dict[str, object]:
    """Return a catalog entry; a change to `...` removes the key."""
    return _changed(
        {
            "id": name,
            "root": name,
            "object": "model",
            "parent": None,
            "created": 1771393340,
            "owned_by": "sglang",
            "chute_id": f"chute-of-{name}",
            "max_model_len": 131072,
            "context_length": 96000,
            "max_output_length": 65536,
            "quantization": "fp8",
            "confidential_compute": True,
            "input_modalities": ["text", "image"],
            "output_modalities": ["text"],
            "supported_features": ["json_mode", "tools"],
            "price": {"input": {"usd": 0.3}, "output": {"usd": 1.2}},
        },
        changes,
    )


def record(name: str = "acme/Model-1", /, **changes: object) -> dict[str, object]:
    """Return a utilization record; a change to `...` removes the key."""
    return _changed(
        {
            "chute_id": f"chute-of-{name}",
            "name": name,
            "timestamp": "2026-02-18T05:48:08.568123",
            "utilization_current": 0.41,
            "utilization_5m": 0.39,
            "utilization_15m": 0.37,
            "utilization_1h": 0.35,
            "rate_limit_ratio_5m": 0.0,
            "rate_limit_ratio_15m": 0.01,
            "rate_limit_ratio_1h": 0.02,
            "total_requests_5m": 101.25,
            "action_taken": "scale_up_candidate",
            "effective_multiplier": None,
            "active_instance_count": 4,
            "scalable": True,
            "scale_allowance": 1,
        },
        changes,
    )


def catalog_body(*entries: object) -> bytes:
    """Return the catalog feed's body with these entries."""
    return json.dumps({"object": "list", "data": list(entries)}).encode()


def utilization_body(*records: object) -> bytes:
    """Return the utilization feed's body with these records."""
    return json.dumps(list(records)).encode()


def _changed(values: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    values.update(changes)
    return {key: value for key, value in values.items() if value is not ...}
