"""The errors for requests without an upstream response to relay (contract §8)."""

from __future__ import annotations

from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.router_error import RouterError

OUT_OF_TIME = RouterError(
    504, "upstream_header_timeout", "No upstream answered within the time allowed in total."
)
# Another router, or the next process at this address, may accept a retry at once.
SHUTTING_DOWN = RouterError(
    503, "draining", "The router is shutting down; try again.", retry_after=1
)
OVERLOADED = RouterError(503, "overloaded", "The router is at its limit; try again.", retry_after=1)
_INCOMPLETE = RouterError(502, "upstream_stream_interrupted", "No upstream gave a complete answer.")
_NO_CONNECTION = RouterError(
    502,
    "upstream_connect_error",
    "No upstream could be reached, or it broke off before answering.",
)
_BY_REASON = {
    **dict.fromkeys(
        (
            FailureReason.DNS_ERROR,
            FailureReason.CONNECT_REFUSED,
            FailureReason.CONNECT_ERROR,
            FailureReason.CONNECT_TIMEOUT,
            FailureReason.TLS_ERROR,
            FailureReason.CONNECTION_LOST,
            FailureReason.PROTOCOL_ERROR,
        ),
        _NO_CONNECTION,
    ),
    FailureReason.HEADER_TIMEOUT: RouterError(
        504, "upstream_header_timeout", "The upstream sent no response head in time."
    ),
    FailureReason.FIRST_BODY_BYTE_TIMEOUT: RouterError(
        504,
        "upstream_first_body_byte_timeout",
        "The upstream sent a head but no body in time.",
    ),
}


def given_up(reason: FailureReason) -> RouterError:
    """Return the error for the reason for which the last attempt failed."""
    return _BY_REASON.get(reason, _INCOMPLETE)
