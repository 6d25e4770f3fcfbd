"""The errors for requests without an upstream response to relay (contract §8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from autopilot.observability.records import Outcome
from autopilot.relay.meaning import Meaning
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.router_error import RouterError

# Another router, or the next process at this address, may accept a retry at once.
SHUTTING_DOWN = RouterError(
    503, "draining", "The router is shutting down; try again.", retry_after=1
)
OUT_OF_TIME = RouterError(
    504, "upstream_total_timeout", "No upstream answered within the time allowed in total."
)
NO_PRIVATE_MODE = RouterError(
    503,
    "private_unavailable",
    "This router lacks the packages of private mode; its operator installs"
    " chutes-autopilot[private]. Nothing was sent.",
    retry_after=60,
)


def edge_limited(seconds: int, *, banned: bool) -> RouterError:
    """Return the error for a request that is not sent, so that the edge does not ban its key."""
    if not banned:
        return RouterError(
            429,
            "edge_limited",
            "This key has reached the requests a minute that the platform permits. The request was"
            f" not sent; try again in {seconds} s.",
            retry_after=seconds,
        )
    # An SDK would retry by itself, and get the same response.
    return RouterError(
        429,
        "edge_limited",
        "The platform has banned this key or this router's address for too many requests. The"
        f" request was not sent, as that would prolong the ban; try again in {seconds} s.",
        retry_after=seconds,
        tried=b"",
    )


ACCOUNT_REFUSED = RouterError(
    502,
    "account_refused",
    "The platform has refused the keys with which the router sends requests for its clients: they"
    " have no quota or balance, or are not valid. Only its operator can change that.",
    tried=b"",
)
"""What the platform says of the operator's account is not for clients (wire §5.4)."""

KEYS_BANNED = RouterError(
    429,
    "edge_limited",
    "The platform's edge has banned the keys with which the router sent this request; try again"
    " later.",
    tried=b"",
)


_INCOMPLETE = RouterError(502, "upstream_stream_interrupted", "No upstream gave a complete answer.")

# The texts contain no name or address of an upstream.
BY_REASON: Final[Mapping[FailureReason, RouterError]] = {
    FailureReason.DNS_ERROR: RouterError(
        502, "upstream_connect_error", "The name of the upstream could not be resolved."
    ),
    FailureReason.CONNECT_REFUSED: RouterError(
        502, "upstream_connect_error", "The upstream refused the connection."
    ),
    FailureReason.CONNECT_ERROR: RouterError(
        502, "upstream_connect_error", "The upstream could not be reached."
    ),
    FailureReason.CONNECT_TIMEOUT: RouterError(
        502, "upstream_connect_error", "The connection to the upstream could not be opened in time."
    ),
    FailureReason.PROXY_ERROR: RouterError(
        502, "upstream_connect_error", "The proxy on the way to the upstream failed."
    ),
    FailureReason.TLS_ERROR: RouterError(
        502,
        "upstream_connect_error",
        "The connection to the upstream could not be secured with TLS.",
    ),
    FailureReason.CONNECTION_LOST: RouterError(
        502, "upstream_connect_error", "The upstream closed the connection before it responded."
    ),
    FailureReason.PROTOCOL_ERROR: RouterError(
        502, "upstream_connect_error", "The upstream's response is not valid HTTP."
    ),
    FailureReason.HEADER_TIMEOUT: RouterError(
        504, "upstream_header_timeout", "The upstream sent no response head in time."
    ),
    FailureReason.FIRST_BODY_BYTE_TIMEOUT: RouterError(
        504,
        "upstream_first_body_byte_timeout",
        "The upstream sent a response head but no part of an answer in time.",
    ),
    FailureReason.STALLED: RouterError(
        502, "upstream_stream_interrupted", "The upstream's answer stalled before it was complete."
    ),
    FailureReason.ERROR_EVENT: RouterError(
        502, "upstream_stream_interrupted", "The upstream reported an error within its answer."
    ),
    FailureReason.GAVE_UP: RouterError(
        502, "upstream_stream_interrupted", "The model gave the answer up before it was complete."
    ),
    FailureReason.NO_TERMINATOR: RouterError(
        502, "upstream_stream_interrupted", "The upstream's answer ended before it was complete."
    ),
    FailureReason.CUT: RouterError(
        502,
        "upstream_stream_interrupted",
        "The connection to the upstream was lost before its answer was complete.",
    ),
    FailureReason.INVALID_EVENT: RouterError(
        502,
        "upstream_stream_interrupted",
        "The upstream's answer has an event that is not valid JSON.",
    ),
    FailureReason.CODED: RouterError(
        502,
        "upstream_stream_interrupted",
        "The upstream's response is compressed, which the router did not ask for: it could not see"
        " to it that no key of its operator stands in it.",
    ),
    FailureReason.TOTAL_DEADLINE: OUT_OF_TIME,
}
"""The error if an attempt fails for this reason and no candidate is left (contract §10).

For any other reason the upstream's own response is relayed.
"""


BREAKS: Final[Mapping[Outcome, FailureReason]] = {
    Outcome.UPSTREAM_BROKEN: FailureReason.CUT,
    Outcome.UPSTREAM_IDLE: FailureReason.STALLED,
    Outcome.UPSTREAM_ERROR: FailureReason.ERROR_EVENT,
    Outcome.UPSTREAM_EMPTY: FailureReason.EMPTY,
    # The first of the two answers was cut; the platform began another behind it.
    Outcome.UPSTREAM_SPLICED: FailureReason.CUT,
}
"""Why an answer broke after commit, unless the stream knows it more exactly."""

NO_ANSWERS: Final[Mapping[Meaning, tuple[Outcome, FailureReason | None]]] = {
    Meaning.EMPTY: (Outcome.UPSTREAM_EMPTY, FailureReason.EMPTY),
    Meaning.ERROR: (Outcome.UPSTREAM_ERROR, FailureReason.ERROR_EVENT),
    Meaning.FAILED: (Outcome.UPSTREAM_ERROR, FailureReason.ERROR_EVENT),
    Meaning.GAVE_UP: (Outcome.UPSTREAM_ERROR, FailureReason.GAVE_UP),
    Meaning.OWN_ERROR: (Outcome.RELAYED_ERROR, None),
}
"""The outcome of a plain 2xx without an answer, and the reason if it counts against its model."""

TERMINATED: Final[Mapping[Meaning, Outcome]] = {
    Meaning.EMPTY: Outcome.UPSTREAM_EMPTY,
    Meaning.CONTENT: Outcome.COMPLETED,
    Meaning.ERROR: Outcome.UPSTREAM_ERROR,
    Meaning.OWN_ERROR: Outcome.RELAYED_ERROR,
}
"""The outcome of a stream that ended with its terminator, by what was relayed before it."""


def given_up(reason: FailureReason) -> RouterError:
    """Return the error for the reason for which the last attempt failed."""
    return BY_REASON.get(reason, _INCOMPLETE)
