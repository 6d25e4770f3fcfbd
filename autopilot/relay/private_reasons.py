"""Why an attempt on an instance failed, and of what that says something."""

from __future__ import annotations

from typing import Final

from autopilot.relay.private_causes import NOT_SERVED, REPLY_INVALID
from autopilot.routing.failure_reason import UNCONNECTED, FailureReason
from autopilot.routing.private_errors import PrivateError

NOT_THE_MODELS: Final = frozenset(
    {
        FailureReason.NOT_ATTESTED,
        FailureReason.DISCOVERY,
        FailureReason.NONCE_REFUSED,
        FailureReason.NOT_SERVED,
    }
)
"""These say nothing of how a model generates, or of whether others may have it unsealed."""
SHARED_BY_INSTANCES: Final = UNCONNECTED | {FailureReason.NOT_FOUND, FailureReason.NONCE_REFUSED}
"""All instances have the same address, and all of a model the same fate."""
FROM_OPENER: Final = frozenset({FailureReason.REPLY_INVALID, FailureReason.NO_TERMINATOR})
"""What the opener says of an answer is more exact than that it was cut."""
_REASONS: Final = {
    PrivateError.CAPACITY: FailureReason.CAPACITY,
    PrivateError.INSTANCE_GONE: FailureReason.INSTANCE_GONE,
    PrivateError.KEY_CHANGED: FailureReason.INSTANCE_GONE,
    PrivateError.MODEL_ABSENT: FailureReason.NOT_FOUND,
    PrivateError.STREAM_ONLY: FailureReason.NOT_SERVED,
    PrivateError.NOT_SERVED: FailureReason.NOT_SERVED,
    PrivateError.NONCE: FailureReason.NONCE_REFUSED,
}
FINAL: Final = {
    FailureReason.REPLY_INVALID: REPLY_INVALID,
    FailureReason.NOT_SERVED: NOT_SERVED,
}
"""The errors of private mode alone, for reasons of which each is the last word on a request."""


def reason_of_error(kind: PrivateError, status: int) -> FailureReason:
    """Return the reason for an error of the platform, or of the gateway, of this kind."""
    reason = _REASONS.get(kind)
    if reason is not None:
        return reason
    if 500 <= status < 600:
        return FailureReason(f"status_{status}")
    return FailureReason.INSTANCE_GONE
