"""The two feeds' JSON, generated from the population."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from stub_backend.generation import CREATED
from stub_backend.ledger import Price
from stub_backend.population import Chute, Load, Population

TIMESTAMP = "2026-02-18T05:30:02.417731"
TAO_PER_USD = 0.0052
_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "seed",
)


def catalog(population: Population) -> bytes:
    """Return the body of `GET /v1/models`: one page, the most used model first."""
    ranked = sorted(population.chat, key=lambda each: -each.load.requests1h)
    return json.dumps({"object": "list", "data": [catalog_entry(each) for each in ranked]}).encode()


def utilization(population: Population) -> bytes:
    """Return the body of `GET /chutes/utilization`: a bare array, the busiest chute first."""
    ranked = sorted(population.everyone(), key=lambda each: -each.load.requests1h)
    return json.dumps([utilization_record(each) for each in ranked]).encode()


def catalog_entry(chute: Chute) -> dict[str, Any]:
    """Return one entry, whose members depend on the model's engine and host."""
    entry: dict[str, Any] = {
        "id": chute.name,
        "root": _weights(chute),
        "object": "model",
        "parent": None,
        "created": CREATED - 60,
        "owned_by": "chutes" if chute.external else chute.engine,
        "chute_id": chute.chute_id,
        "confidential_compute": chute.tee,
    }
    if chute.external:
        return entry
    entry |= {"max_model_len": chute.engine_length} | _prices(chute)
    if chute.described:
        entry |= _description(chute)
    if chute.engine == "vllm":
        entry["permission"] = [_permission(chute)]
    return entry


def _weights(chute: Chute) -> str:
    return chute.name.removesuffix("-TEE") + "-FP8" if chute.tee else chute.name


def price(chute: Chute) -> Price | None:
    """Return the prices that a model has in the catalog, if any."""
    if chute.external:
        return None
    each = (Decimal(str(dollars)) for dollars in _dollars(chute).values())
    prompt, completion, cached = each
    return Price(prompt, cached, completion)


def _dollars(chute: Chute) -> dict[str, float]:
    cents = len(chute.name) % 9 + 1
    return {
        "prompt": cents / 100,
        "completion": cents * 4 / 100,
        "input_cache_read": cents / 1000,
    }


def _prices(chute: Chute) -> dict[str, Any]:
    usd = _dollars(chute)

    def both(amount: float) -> dict[str, float]:
        return {"tao": amount * TAO_PER_USD, "usd": amount}

    price = {
        "input": both(usd["prompt"]),
        "output": both(usd["completion"]),
        "input_cache_read": both(usd["input_cache_read"]),
    }
    return {"price": price, "pricing": usd}


def _description(chute: Chute) -> dict[str, Any]:
    return {
        "quantization": "fp8" if chute.tee else "bf16",
        "context_length": chute.context_length,
        "max_output_length": min(65_536, chute.context_length),
        "input_modalities": list(chute.modalities),
        "output_modalities": ["text"],
        "supported_features": list(chute.features),
        "supported_sampling_parameters": list(_SAMPLING),
    }


def _permission(chute: Chute) -> dict[str, Any]:
    granted = ("sampling", "logprobs", "view")
    denied = ("create_engine", "search_indices", "fine_tuning")
    return {
        "id": f"modelperm-{chute.chute_id.replace('-', '')}",
        "object": "model_permission",
        "created": CREATED - 60,
        "organization": "*",
        "group": None,
        "is_blocking": False,
        **{f"allow_{what}": True for what in granted},
        **{f"allow_{what}": False for what in denied},
    }


def utilization_record(chute: Chute) -> dict[str, Any]:
    """Return one record: measurements of the last logged time, and current instance counts."""
    load = chute.load
    return {
        "chute_id": chute.chute_id,
        "name": chute.name,
        "timestamp": TIMESTAMP,
        "utilization_current": load.current,
        "utilization_5m": load.minutes5,
        "utilization_15m": load.minutes15,
        "utilization_1h": load.hour,
        "rate_limit_ratio_5m": load.limited5,
        "rate_limit_ratio_15m": load.limited15,
        "rate_limit_ratio_1h": load.limited1h,
        **_counts(load),
        "instance_count": load.active,
        "action_taken": load.action,
        "target_count": load.target,
        "effective_multiplier": load.multiplier,
        "total_instance_count": load.active + load.starting,
        "active_instance_count": load.active,
        "scalable": load.active < load.target,
        "scale_allowance": max(0, load.target - load.active),
        "avg_busy_ratio": load.hour,
    }


def _counts(load: Load) -> dict[str, float]:
    """Return the request counters, which the platform extrapolates and so reports as fractions."""
    windows = (
        ("5m", 12.0, load.limited5),
        ("15m", 4.0, load.limited15),
        ("1h", 1.0, load.limited1h),
    )
    counts: dict[str, float] = {}
    for window, divisor, ratio in windows:
        total = load.requests1h / divisor
        limited = total * (ratio or 0.0)
        counts[f"total_requests_{window}"] = total
        counts[f"completed_requests_{window}"] = total - limited
        counts[f"rate_limited_requests_{window}"] = limited
    legacy = {
        "total_invocations": counts["total_requests_1h"],
        "total_rate_limit_errors": counts["rate_limited_requests_1h"],
    }
    return counts | legacy
