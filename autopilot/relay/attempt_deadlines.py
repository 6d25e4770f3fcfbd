"""When an attempt is given up: its deadlines before commit, and how its allowance grows.

The formulas of the allowances are in `autopilot.routing.allowance`, the values are settings.
"""

from __future__ import annotations

from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

from autopilot.routing.allowance import (
    first_content_allowance,
    pause_allowance,
    plain_allowance,
)
from autopilot.routing.failure_reason import FailureReason

if TYPE_CHECKING:
    from autopilot.relay.attempt import Attempt
    from autopilot.relay.config import Timeouts
    from autopilot.request.body import ParsedBody
    from autopilot.state.latency import LatencyStats


class Expiry(StrEnum):
    """The deadlines of an exchange."""

    TOTAL = "total"
    ERROR_BODY = "error body"
    PAUSE = "pause"
    AGAIN = "again"
    HEADER = "header"
    FIRST_BODY_BYTE = "first body byte"
    IDLE = "idle"
    FAILOVER_AFTER = "failover after"
    PLAIN_FAILOVER_AFTER = "plain failover after"
    STALLED = "stalled"
    SEALING = "sealing"
    PACE = "pace"


ALLOWANCES = frozenset({Expiry.FAILOVER_AFTER, Expiry.PLAIN_FAILOVER_AFTER, Expiry.STALLED})
"""The deadlines that apply only while another candidate remains."""

# Read through their enum, these would cost each request as much as a call.
_HEADER, _IDLE = Expiry.HEADER, Expiry.IDLE
_PLAIN_FAILOVER_AFTER = Expiry.PLAIN_FAILOVER_AFTER


def nearest(attempt: Attempt, timeouts: Timeouts, stream: bool) -> tuple[float, Expiry]:
    """Return the nearest deadline before commit, with its clock time.

    While another candidate is left, the allowance takes the place of the limit between bytes
    (contract §6).
    """
    if attempt.response is None:
        # The platform sends the head of a stream with its first token, but that of any other
        # response only when the response is complete (contract §6, deadlines).
        limit, allowance = timeouts.header if stream else timeouts.unary, attempt.allowance
        if allowance <= limit:
            expiry = Expiry.FAILOVER_AFTER if stream else _PLAIN_FAILOVER_AFTER
            return attempt.started + allowance, expiry
        return attempt.started + limit, _HEADER
    policy = attempt.commit_policy
    if policy is None:
        return attempt.head_at + timeouts.error_body, Expiry.ERROR_BODY
    if not attempt.held:
        due = attempt.head_at + timeouts.first_body_byte, Expiry.FIRST_BODY_BYTE
    else:
        due = attempt.heard_at + attempt.idle, _IDLE
    if attempt.allowance == inf:
        return due
    if not stream:
        allowed = attempt.started + attempt.allowance, _PLAIN_FAILOVER_AFTER
    elif policy.answered:
        allowed = attempt.heard_at + attempt.pause_allowance, Expiry.STALLED
    else:
        allowed = attempt.started + attempt.allowance, Expiry.FAILOVER_AFTER
    return allowed if due[1] is _IDLE or allowed[0] <= due[0] else due


def lateness(attempt: Attempt) -> FailureReason:
    """Return the reason for which the attempt fails if a deadline of its own expires now.

    It says how far the response is, not which deadline it was (contract §10).
    """
    if attempt.response is None:
        return FailureReason.HEADER_TIMEOUT
    policy = attempt.commit_policy
    if policy is not None and policy.answered:
        return FailureReason.STALLED
    return FailureReason.FIRST_BODY_BYTE_TIMEOUT


def extend(
    attempt: Attempt,
    expired: Expiry,
    timeouts: Timeouts,
    latency: LatencyStats,
    body: ParsedBody,
    factor: float,
) -> bool:
    """Extend an expired base allowance by what the request and the model add to it.

    Return whether that was more (contract §6).
    """
    model = attempt.candidate.model
    if expired is Expiry.STALLED:
        before = attempt.pause_allowance
        p99 = latency.p99_pause(model)
        after = factor * pause_allowance(timeouts.failover_after, body.template.size, p99)
        attempt.pause_allowance = after
    elif body.stream:
        before = attempt.allowance
        p95 = latency.p95(model)
        after = factor * first_content_allowance(timeouts.failover_after, body.template.size, p95)
        attempt.allowance = after
    else:
        before = attempt.allowance
        p95 = latency.plain_p95(model)
        tokens = body.completion_limit if p95 is None else None
        after = plain_allowance(timeouts.plain_failover_after, timeouts.unary, tokens, p95)
        attempt.allowance = after
    return after > before
