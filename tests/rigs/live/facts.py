"""Further facts about a response: numbers in fixed sentences, without any text of the response."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tests.rigs.live.events import blocks, chunk_kind
from tests.rigs.live.model_choice import ModelChoice

_RATIOS = ("utilization_current", "utilization_5m", "utilization_15m", "utilization_1h",
           "rate_limit_ratio_5m", "rate_limit_ratio_15m", "rate_limit_ratio_1h")  # fmt: skip


def catalog_facts(value: Any, _cast: ModelChoice) -> list[str]:
    """Count the models of each kind."""
    entries = _objects(value.get("data") if isinstance(value, dict) else None)
    names = [str(each.get("id", "")) for each in entries]
    tee = [each for each in entries if each.get("confidential_compute") is True]
    suffixed = sum(str(each.get("id", "")).endswith("-TEE") for each in tee)
    return [
        f"{len(entries)} models, {len(tee)} of them TEE, {suffixed} of those with the suffix",
        f"{sum(each.get('owned_by') == 'chutes' for each in entries)} externally backed entries",
        f"{sum('/' not in each for each in names)} names without an organisation",
        f"{sum('context_length' not in each for each in entries)} entries without a description",
        f"{len({each.get('created') for each in entries})} different values of `created`",
    ]


def feed_facts(value: Any, choice: ModelChoice, now: datetime | None = None) -> list[str]:
    """Report the age of the feed, and values outside their ranges."""
    records = _objects(value)
    stamps = sorted({str(each.get("timestamp")) for each in records})
    ratios = [each.get(name) for each in records for name in _RATIOS]
    numbers = [each for each in ratios if isinstance(each, int | float)]
    above, below = sum(each > 1 for each in numbers), sum(each < 0 for each in numbers)
    known = {each.get("chute_id") for each in records}
    found = sum(each.chute_id in known for each in choice.models)
    return [
        f"{len(records)} records, {len(stamps)} different timestamps",
        *_ages(stamps, now or datetime.now(UTC)),
        f"ratios: {sum(each is None for each in ratios)} null, {above} above 1, {below} below 0",
        f"{found} of {len(choice.models)} models of the catalog are in it",
    ]


def evidence_facts(value: Any, _cast: ModelChoice) -> list[str]:
    """Count the instances with evidence."""
    if not isinstance(value, dict):
        return []
    given, failed = _objects(value.get("evidence")), value.get("failed_instance_ids")
    failures = len(failed) if isinstance(failed, list) else 0
    cards = sum(len(_objects(each.get("gpu_evidence"))) for each in given)
    counted = f"{len(given)} instances gave evidence for {cards} GPUs, {failures} gave none"
    kinds = sorted({_quote_kind(each.get("quote")) for each in given})
    return [counted, *(f"quotes: {each}" for each in kinds)]


def _quote_kind(quote: Any) -> str:
    """Return the kind of a quote from its first eight bytes."""
    try:
        head = base64.b64decode(str(quote)[:12], validate=True)[:8]
        version, key, tee = struct.unpack("<HHI", head)
    except (ValueError, struct.error):
        return "unreadable"
    return f"version {version}, kind of key {key}, kind of TEE {tee}"


def served_facts(value: Any, choice: ModelChoice) -> list[str]:
    """Report which requested model has responded."""
    parts = {choice.usual().name: "the head of the list", choice.second().name: "the second model"}
    served = value.get("model") if isinstance(value, dict) else None
    return [f"served by {parts.get(str(served), 'another model')}"]


def stream_facts(body: bytes) -> list[str]:
    """Report how the stream delivered usage and reasoning."""
    kinds: list[str] = []
    with_usage = members = 0
    for _, data in blocks(body):
        value = _parsed(data)
        if value is None:
            continue
        kinds.append(chunk_kind(value))
        with_usage += isinstance(value.get("usage"), dict)
        members += 1
    if not members:
        return []
    return [f"{members} chunks, {with_usage} with usage, {kinds.count('reasoning')} with reasoning"]


def _parsed(data: str) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _ages(stamps: Iterable[str], now: datetime) -> list[str]:
    ages: list[float] = []
    for stamp in stamps:
        try:
            when = datetime.fromisoformat(stamp)
        except ValueError:
            return ["a timestamp is not ISO 8601"]
        if when.tzinfo is not None:
            return ["a timestamp has a zone"]
        ages.append((now - when.replace(tzinfo=UTC)).total_seconds() / 60)
    if not ages:
        return []
    return [f"age of the newest {min(ages):.0f} min, of the oldest {max(ages):.0f} min"]


def _objects(values: Any) -> list[Mapping[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []
