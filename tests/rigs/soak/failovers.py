"""Check that the upstream's observations explain each failover of the router."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.rigs.soak.observations import Attempt

TIMEOUTS: Final = frozenset(
    {
        *("header_timeout", "first_body_byte_timeout", "plain_timeout", "stalled"),
        "total_deadline",
    }
)
_UNSEEN: Final = frozenset(
    {"connect_refused", "connect_error", "connect_timeout", "connection_lost", "total_deadline"}
)


@dataclass(frozen=True, slots=True)
class Times:
    """The router's deadlines, in seconds, and the disturbances of the run.

    `refusing` and `stalled` return whether, between two times, the upstream refused connections, or
    the soak test itself was stalled.
    """

    failover_after: float
    idle: float
    total: float
    max_attempts: int
    refusing: Callable[[float, float], bool] = lambda start, end: False
    stalled: Callable[[float, float], bool] = lambda start, end: False


@dataclass(frozen=True, slots=True)
class Explanation:
    """`left`: the attempts without a failure; None if the failures cannot be explained."""

    left: tuple[Attempt, ...] | None


def explain(
    reasons: Sequence[str],
    attempts: Sequence[Attempt],
    times: Times,
    start: float,
    end: float,
) -> Explanation:
    """Match each failure that the router reports with an attempt, in order.

    A failure without an attempt needs a time at which the upstream refused connections. An attempt
    on a reused connection that closed without a byte is not a failure, because the router repeats
    it.
    """
    if attempts and _replayed(attempts, reasons):
        found = explain(reasons, attempts[1:], times, start, end)
        if found.left is not None:
            return found
    if not reasons:
        return Explanation(tuple(attempts))
    reason = reasons[0]
    if attempts and _fits(reason, attempts[0], times, start):
        since = attempts[0].ended or start
        found = explain(reasons[1:], attempts[1:], times, since, end)
        if found.left is not None:
            return found
    if reason in _UNSEEN and times.refusing(start - 1.0, end + 1.0):
        return explain(reasons[1:], attempts, times, start, end)
    if reason == "connect_timeout" and times.stalled(start, end):
        return explain(reasons[1:], attempts, times, start, end)
    return Explanation(None)


def closed_unheard(attempt: Attempt) -> bool:
    """Return whether the upstream closed a reused connection without a byte."""
    return attempt.reused and attempt.played and not attempt.sent and not attempt.by_router


def _replayed(attempts: Sequence[Attempt], reasons: Sequence[str]) -> bool:
    """Return whether the router may have repeated the first attempt.

    The repetition is an attempt on the same model, or was refused by the upstream.
    """
    first = attempts[0]
    again = len(attempts) == 1 or attempts[1].model == first.model
    refused = bool(reasons) and reasons[0] in _UNSEEN
    return closed_unheard(first) and (again or refused)


def _fits(reason: str, attempt: Attempt, times: Times, start: float) -> bool:
    """Return whether the attempt, made at `start` or later, can have failed for this reason."""
    if reason in attempt.act.reasons:
        return True
    if reason not in TIMEOUTS:
        return False
    # The attempt may have started a while before it reached the upstream.
    ended = attempt.ended or attempt.began
    return ended - start >= 0.9 * times.failover_after or times.stalled(start, ended)
