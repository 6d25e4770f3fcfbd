"""How long a streaming attempt may take to its first content while another candidate is left."""

from __future__ import annotations

_BYTES_PER_SECOND = 8000
_P95_FACTOR = 3.0


def first_content_allowance(failover_after: float, body_bytes: int, p95: float | None) -> float:
    """Seconds: ``failover_after`` plus one per 8 KB of request body, for the prefill takes longer.

    Never less than three times ``p95``, the model's own 95th percentile in seconds, when known: a
    model that is always slow is not a model that hangs.
    """
    allowance = failover_after + body_bytes / _BYTES_PER_SECOND
    return allowance if p95 is None else max(allowance, _P95_FACTOR * p95)
