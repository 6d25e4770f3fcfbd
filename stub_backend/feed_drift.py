"""Variations of the feeds: what a later build of the platform might send, and shifting load."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from stub_backend.native import RENAMED
from stub_backend.population import PRIVATE

Records = list[dict[str, Any]]
Drift = Callable[[Records, str], Records]

OLD = "2025-10-04T03:11:52.000001"
# More free instances than any model of the population has.
INSTANCES_OF_BEST = 100
_LOADS = ("utilization_", "rate_limit_ratio_")
_COUNTS = ("instance_count", "active_instance_count", "total_instance_count")
_OPTIONAL = ("effective_multiplier", "instance_count", "avg_busy_ratio", "total_invocations")


def drifted(feed: str, body: bytes, drift: Drift) -> bytes:
    """Apply a drift to a feed's records; `feed` is `models` or `utilization`."""
    value = json.loads(body)
    if feed == "models":
        value["data"] = drift(value["data"], "id")
    else:
        value = drift(value, "name")
    return json.dumps(value).encode()


def renamed(records: Records, name: str) -> Records:
    """Give every model another name and chute id, as if all had been replaced."""
    for each in records:
        each["chute_id"] += RENAMED
        if each[name] != PRIVATE:
            each[name] += RENAMED
    return records


def rebuilt(records: Records, name: str) -> Records:
    """Add and remove members, and age some records; the remaining values are unchanged."""
    for number, each in enumerate(records):
        each["of_next_year"] = {"nested": [number, None]}
        if name == "name":
            each["update_in_progress"] = number % 2 == 0
            each["timestamp"] = OLD if number % 5 == 4 else each["timestamp"]
            _without(each, _OPTIONAL)
        else:
            each["created"] += number
            _without(each, ("permission", "price", "root", "parent"))
    return records


def halved(records: Records, name: str) -> Records:
    """Keep half of the models; the other feed's half has none of them."""
    wanted = 0 if name == "id" else 1
    return [each for each in records if sum(each["chute_id"].encode()) % 2 == wanted]


def rotated(records: Records, leaders: Sequence[str], turn: int) -> Records:
    """Make another one of these models the best at each turn, by free instances."""
    best = leaders[turn % len(leaders)] if leaders else None
    for each in records:
        if each["name"] == best:
            each |= dict.fromkeys([name for name in each if name.startswith(_LOADS)], 0.0)
            each |= dict.fromkeys(_COUNTS, INSTANCES_OF_BEST)
    return records


def _without(record: dict[str, Any], names: Iterable[str]) -> None:
    for name in names:
        record.pop(name, None)
