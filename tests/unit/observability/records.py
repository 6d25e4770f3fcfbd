"""Request records for tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from autopilot.observability.records import RequestRecord
from autopilot.relay.stream import Outcome

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
    """Return the record of a plain success with these changes."""
    return RequestRecord(**{**_PLAIN, **changes})


def refused(**changes: Any) -> RequestRecord:
    """Return the record of a request that was rejected before any attempt."""
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


# Far more than a clock ever shows, and not so much that a tenth of a millisecond is lost.
_seconds = st.one_of(st.just(2), st.floats(-1e3, 1e9))
_words = st.one_of(st.text(st.characters(), max_size=12), st.text('a"\\\x7f\n{}', max_size=4))

anything = st.builds(
    RequestRecord,
    request_id=_words,
    mode=st.sampled_from(("alias", "none", "")),
    candidates=st.integers(0, 9),
    model=st.none() | _words,
    attempts=st.integers(0, 9),
    failovers=st.lists(st.sampled_from(("status_503", "malformed_response")), max_size=3).map(
        tuple
    ),
    status=st.none() | st.sampled_from((0, 200, 503)),
    snapshot_age=st.none() | _seconds,
    catalog_age=st.none() | _seconds,
    first_byte=st.none() | _seconds,
    duration=_seconds,
    sent=st.integers(0, 2**63),
    outcome=st.sampled_from(tuple(Outcome)),
    terminated=st.booleans(),
)
"""Records with arbitrary text."""
