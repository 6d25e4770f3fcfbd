"""Request records for tests."""

from __future__ import annotations

from typing import Any

from autopilot.observe.records import RequestRecord

_PLAIN: dict[str, Any] = {
    "request_id": "r1",
    "mode": "alias",
    "candidates": 3,
    "model": "m",
    "attempts": 1,
    "failovers": (),
    "status": 200,
    "snapshot_age": 1.25,
    "catalog_age": 60.0,
    "first_byte": 0.123456,
    "duration": 2.0,
    "sent": 42,
    "outcome": "completed",
}


def record(**changes: Any) -> RequestRecord:
    """The record of a plain success, with changes."""
    return RequestRecord(**{**_PLAIN, **changes})


def refused(**changes: Any) -> RequestRecord:
    """The record of a request that was refused before any attempt."""
    nothing: dict[str, Any] = {
        "mode": "none",
        "candidates": 0,
        "model": None,
        "attempts": 0,
        "status": 400,
        "snapshot_age": None,
        "catalog_age": None,
        "first_byte": None,
        "sent": 0,
        "outcome": "refused",
    }
    return record(**{**nothing, **changes})
