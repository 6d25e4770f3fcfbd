"""What a client sees when a stream breaks: why it does, and how its response then ends.

After commit nothing can be retried (contract §6). The client learns of a break from an error event
where one is possible, and else from a response that is cut: it must not look complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from autopilot.observability.records import Outcome
from autopilot.relay.event_guard import GAVE_UP
from autopilot.relay.meaning import Meaning
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.router_error import RouterError

if TYPE_CHECKING:
    from autopilot.relay.downstream import Downstream
    from autopilot.relay.sse_guard import StreamGuard

# The last bytes that an error event continues.
_LATEST: Final = 65536


class Break(NamedTuple):
    """Why a stream breaks; ``reason`` is more exact than what the outcome says by itself."""

    outcome: Outcome
    message: str
    reason: FailureReason | None = None


IDLE: Final = Break(Outcome.UPSTREAM_IDLE, "the upstream sent nothing for too long")
SHUT_DOWN: Final = Break(Outcome.SHUT_DOWN, "the router is shutting down")
_LOST: Final = Break(
    Outcome.UPSTREAM_BROKEN, "the upstream connection was lost during the response"
)
_BREAKS: Final[Mapping[FailureReason, Break]] = {
    FailureReason.NO_TERMINATOR: Break(
        Outcome.UPSTREAM_BROKEN,
        "the upstream ended the stream without its terminator",
        FailureReason.NO_TERMINATOR,
    ),
    FailureReason.REPLY_INVALID: Break(
        Outcome.UPSTREAM_BROKEN,
        "what followed was not sealed as it should be",
        FailureReason.REPLY_INVALID,
    ),
}


def lost(reason: FailureReason) -> Break:
    """Return the break for the reason for which the upstream's response broke."""
    return _BREAKS.get(reason, _LOST)


def unterminated(meaning: Meaning) -> Break:
    """Return the break of a stream that ended without its terminator, by what was relayed."""
    found = _BREAKS[FailureReason.NO_TERMINATOR]
    return found._replace(outcome=Outcome.UPSTREAM_EMPTY) if meaning is Meaning.EMPTY else found


def fault_of(guard: StreamGuard) -> Break:
    """Return the break for the fault that the guard has found in the events."""
    assert guard.fault is not None
    outcome = Outcome.UPSTREAM_SPLICED if guard.spliced else Outcome.UPSTREAM_ERROR
    if guard.meaning is Meaning.OWN_ERROR:  # bare, so that it is announced as an event
        outcome = Outcome.RELAYED_ERROR
    return Break(outcome, guard.fault, FailureReason.GAVE_UP if guard.fault == GAVE_UP else None)


def end_broken(
    response: Downstream,
    guard: StreamGuard,
    cause: Break,
    relayed: Callable[[], tuple[bytes, bytes]],
    is_sse: bool,
    needs_terminator: bool,
) -> tuple[Outcome, FailureReason | None]:
    """Send an error event where possible, then cut; return what that is for the record.

    SDKs fail with an error that is not their own if anything follows half an event, so a break
    inside one is only a cut. So is a break behind an error event of the upstream, which has told
    the client what is wrong. An answer whose choices are all finished misses nothing, and ends
    cleanly (contract §6 and §7). ``relayed`` returns the first and the last bytes that were.
    """
    if guard.whole and not needs_terminator:
        response.finish(b"")
        return Outcome.COMPLETED, None
    if is_sse and guard.meaning is Meaning.ERROR:
        response.cut()
        return Outcome.UPSTREAM_ERROR, None
    if is_sse and guard.at_boundary:
        opening, latest = relayed()
        response.announce(_announcement(cause), opening, latest[-_LATEST:])
    else:
        response.cut()
    return cause.outcome, cause.reason


def _announcement(cause: Break) -> RouterError:
    """Return the error with which a broken stream ends."""
    if cause.outcome is Outcome.UPSTREAM_EMPTY:
        return RouterError(502, "upstream_empty", f"The answer is empty: {cause.message}.")
    text = f"The answer is incomplete: {cause.message}."
    return RouterError(502, "upstream_stream_interrupted", text)
