"""The deadline to the first content of a stream while another candidate is left (contract §6)."""

from __future__ import annotations

_PREFILL_BYTES_PER_SECOND = 8000
_P95_FACTOR = 3.0


def first_content_allowance(failover_after: float, body_bytes: int, p95: float | None) -> float:
    """Return the allowance in seconds: ``failover_after`` plus one second per 8 KB of request body.

    The body counts because prefill time grows with the prompt. The allowance is never less than
    three times ``p95``, the model's own 95th percentile, if that is known: a slow model is not a
    stalled one.
    """
    allowance = failover_after + body_bytes / _PREFILL_BYTES_PER_SECOND
    return allowance if p95 is None else max(allowance, _P95_FACTOR * p95)
