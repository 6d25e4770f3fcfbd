"""Request records for tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from autopilot.observability.records import (
    DroppedCall,
    Failover,
    Outcome,
    RequestRecord,
    milliseconds,
)
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.usage import Usage
from autopilot.routing.why import Affinity, AffinityWhy, Why

_PLAIN: dict[str, Any] = {
    "req_id": "r1",
    "mode": "alias",
    "candidates": 3,
    "model": "m",
    "attempts": 1,
    "failovers": (),
    "status": 200,
    "snapshot_age_ms": 1250.0,
    "catalog_age_ms": 60_000.0,
    "ttfb_ms": 123.5,
    "duration_ms": 2000.0,
    "bytes": 42,
    "outcome": Outcome.COMPLETED,
    "endpoint": "/v1/chat/completions",
    "stream": True,
    "why": Why.BEST,
    "affinity": Affinity.MISS,
    "affinity_why": AffinityWhy.NEW,
}


def record(**changes: Any) -> RequestRecord:
    """Return the record of a plain success with these changes."""
    members = {**_PLAIN, **changes}
    members["failovers"] = tuple(map(_failover, members["failovers"]))
    return RequestRecord(**members)


def _failover(given: Failover | str) -> Failover:
    return given if isinstance(given, Failover) else Failover("m0", FailureReason(given), None, 1.0)


def refused(**changes: Any) -> RequestRecord:
    """Return the record of a request that was rejected before any attempt."""
    nothing: dict[str, Any] = {
        "mode": "none",
        "candidates": 0,
        "model": None,
        "attempts": 0,
        "status": 400,
        "snapshot_age_ms": None,
        "catalog_age_ms": None,
        "ttfb_ms": None,
        "bytes": 0,
        "outcome": Outcome.REFUSED,
        "code": "unknown_model",
        "stream": None,
        "why": None,
        "affinity": None,
        "affinity_why": None,
        "usage": None,
        "cost_picodollars": None,
        "key": None,
    }
    return record(**{**nothing, **changes})


# Far more than a clock ever shows, and not so much that a tenth of a millisecond is lost.
_milliseconds = st.floats(-1e3, 1e9).map(milliseconds)
_tokens = st.none() | st.integers(0, 999_999_999)
_usages = st.none() | st.builds(Usage, st.integers(0, 999_999_999), _tokens, _tokens, _tokens)
_costs = st.none() | st.integers(0, 10**16)
_words = st.one_of(st.text(st.characters(), max_size=12), st.text('a"\\\x7f\n{}', max_size=4))

anything = st.builds(
    RequestRecord,
    req_id=_words,
    mode=st.sampled_from(("alias", "none", "")),
    candidates=st.integers(0, 9),
    model=st.none() | _words,
    attempts=st.integers(0, 9),
    failovers=st.lists(
        st.builds(
            Failover,
            model=_words,
            reason=st.sampled_from(("status_503", "protocol_error")),
            status=st.none() | st.just(503),
            ms=_milliseconds,
            usage=_usages,
            cost_picodollars=_costs,
        ),
        max_size=3,
    ).map(tuple),
    status=st.none() | st.sampled_from((0, 200, 503)),
    snapshot_age_ms=st.none() | _milliseconds,
    catalog_age_ms=st.none() | _milliseconds,
    ttfb_ms=st.none() | _milliseconds,
    duration_ms=_milliseconds,
    bytes=st.integers(0, 2**63),
    outcome=st.sampled_from(tuple(Outcome)),
    terminated=st.booleans(),
    endpoint=st.sampled_from(("/v1/chat/completions", "/v1/messages")),
    code=st.none() | st.just("unknown_model"),
    reason=st.none() | st.just(FailureReason.CUT),
    stream=st.none() | st.booleans(),
    why=st.none() | st.sampled_from(tuple(Why)),
    affinity=st.none() | st.sampled_from(tuple(Affinity)),
    affinity_why=st.none() | st.sampled_from(tuple(AffinityWhy)),
    usage=_usages,
    cost_picodollars=_costs,
    key=st.none() | st.just("team.a"),
    private=st.booleans(),
    instance=st.none() | st.just("8f14e45f"),
    waited_ms=st.none() | _milliseconds,
    backend=st.none() | st.just("office"),
    hedged=st.none() | st.sampled_from(("won", "lost")),
    dropped=st.none()
    | st.builds(
        DroppedCall,
        model=_words,
        status=st.none() | st.just(200),
        ms=_milliseconds,
        usage=_usages,
        cost_picodollars=_costs,
    ),
)
"""Records with arbitrary text."""
