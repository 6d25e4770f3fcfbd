"""The time limits of an attempt that depend on its request and on its model (contract §6).

An allowance is the time that an attempt has while another candidate is left; the last candidate has
the full time. Times are in seconds. A percentile is the model's own, None while it is unknown.
"""

from __future__ import annotations

_PREFILL_BYTES_PER_SECOND = 8000
_TOKENS_PER_SECOND = 100
_P95_FACTOR = 3.0
_PAUSE_FACTOR = 5.0
_LONGEST_LEARNED_PAUSE = 120.0


def first_content_allowance(failover_after: float, body_bytes: int, p95: float | None) -> float:
    """Return the time to a stream's first content: one second per 8 KB of request body is added.

    The body counts because prefill time grows with the prompt. The allowance is never less than
    three times ``p95`` of the time to the first content: a slow model is not a stalled one.
    """
    allowance = failover_after + body_bytes / _PREFILL_BYTES_PER_SECOND
    return allowance if p95 is None else max(allowance, _P95_FACTOR * p95)


def pause_allowance(failover_after: float, body_bytes: int, p99: float | None) -> float:
    """Return the time between two bytes of a held stream; ``p99`` is that of the pauses."""
    return longest_pause(failover_after + body_bytes / _PREFILL_BYTES_PER_SECOND, p99)


def longest_pause(setting: float, p99: float | None) -> float:
    """Return ``setting``, or five times ``p99`` of the model's pauses if that is more.

    The second is at most two minutes: a model that paused for long once must not hold a client for
    much longer.
    """
    if p99 is None:
        return setting
    return max(setting, min(_PAUSE_FACTOR * p99, _LONGEST_LEARNED_PAUSE))


def plain_allowance(
    plain_failover_after: float, unary: float, completion_tokens: int | None, p95: float | None
) -> float:
    """Return the time to the end of an answer that is not a stream.

    While ``p95`` of that time is unknown, one second per 100 tokens of the request's completion
    limit is added, at most half the ``unary`` deadline. Then the allowance is never less than three
    times ``p95``.
    """
    if p95 is not None:
        return max(plain_failover_after, _P95_FACTOR * p95)
    # The limit may be an integer that no float can hold, so it is compared before the division.
    tokens = min(max(completion_tokens or 0, 0), unary / 2 * _TOKENS_PER_SECOND)
    return plain_failover_after + tokens / _TOKENS_PER_SECOND
