"""The router's own errors of private requests, and the causes that they count.

They name codes and numbers only, never a text of the platform's.
"""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import TYPE_CHECKING, Final

from autopilot.attestation.private_instances import Cause, UnavailableError
from autopilot.attestation.verdict import Refusal
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.router_error import RouterError

if TYPE_CHECKING:
    from collections.abc import Iterable

REJECTED: Final = RouterError(
    400,
    "private_rejected",
    "The engine refused the request, and its reason is sealed; most often the context is too long.",
)
REPLY_INVALID: Final = RouterError(
    502,
    "private_reply_invalid",
    "What came back was not sealed by the instance as it should be, so that none of it is relayed.",
)
NOT_UNDERSTOOD: Final = RouterError(
    502,
    "private_reply_invalid",
    "The platform did not understand the sealed request: a fault between the router and it.",
)
NOT_SERVED: Final = RouterError(
    400,
    "private_unsupported",
    "The instances of this model do not answer such requests in private mode. Ask for a stream, or"
    " another model.",
)

_UNAUTHORIZED: Final = {
    401: RouterError(
        401,
        "private_unauthorized",
        "The platform does not accept the API key, so that it names no instance. Nothing was sent.",
    ),
    402: RouterError(
        402,
        "private_unauthorized",
        "The platform names no instance before the account is paid. Nothing was sent.",
    ),
    403: RouterError(
        403,
        "private_unauthorized",
        "The platform names no instance of this model for the API key. Nothing was sent.",
    ),
}
_RETRY_AFTER: Final = 5
_LONGEST_RETRY: Final = 60
_REASONS: Final = {
    Cause.AT_CAPACITY: FailureReason.CAPACITY,
    Cause.DISCOVERY_LIMITED: FailureReason.DISCOVERY,
    Cause.DISCOVERY_FAILED: FailureReason.DISCOVERY,
}
_WORDS: Final = {
    FailureReason.CAPACITY: str(Cause.AT_CAPACITY),
    FailureReason.INSTANCE_GONE: "gone",
    FailureReason.NONCE_REFUSED: "nonce refused",
    FailureReason.NOT_FOUND: "absent",
    FailureReason.NOT_SERVED: "not served",
    FailureReason.REPLY_INVALID: "reply invalid",
}
# These are about the router or the platform, and no number of instances.
_UNCOUNTED: Final = frozenset(
    {Cause.DISCOVERY_LIMITED, Cause.DISCOVERY_FAILED, Cause.NOT_READY, Cause.LIBRARY}
)


def reason_of(error: UnavailableError) -> FailureReason:
    """Return the reason for which an attempt without an instance fails."""
    return _REASONS.get(error.cause, FailureReason.NOT_ATTESTED)


def unauthorized(status: int | None) -> RouterError:
    """Return the error for a client whose key the platform refuses before anything is sent."""
    return _UNAUTHORIZED.get(status or 401, _UNAUTHORIZED[401])


class Causes:
    """Why one request found no attested instance, or none that took it."""

    __slots__ = ("_counted", "_refusals", "_retry_after")

    def __init__(self) -> None:
        self._counted: Counter[str] = Counter()
        self._refusals: set[Refusal] = set()
        self._retry_after: float | None = None

    def add(self, error: UnavailableError) -> None:
        """Count why there was no instance."""
        for each in error.found or (error.refusal or error.cause,):
            if isinstance(each, Refusal):
                self._refusals.add(each)
                self._counted[Cause.REFUSED] += 1
            else:
                self._counted[each] += 1
        if error.retry_after > 0:
            before = self._retry_after
            self._retry_after = (
                error.retry_after if before is None else min(before, error.retry_after)
            )

    def failed(self, reason: FailureReason) -> None:
        """Count an attested instance that did not take the request."""
        self._counted[_WORDS.get(reason, "failed")] += 1

    def error(self) -> RouterError:
        """Return the error for a request that no attested instance took."""
        retry = _RETRY_AFTER if self._retry_after is None else ceil(self._retry_after)
        return RouterError(
            503,
            "private_unavailable",
            f"No attested instance took the request: {', '.join(self._said())}. Nothing was sent"
            " in another way.",
            retry_after=max(1, min(retry, _LONGEST_RETRY)),
        )

    def _said(self) -> Iterable[str]:
        for cause, number in self._counted.items():
            words = cause.replace("_", " ")
            if cause in _UNCOUNTED:
                yield words
            elif cause == Cause.REFUSED and self._refusals:
                yield f"{words} {number} ({', '.join(sorted(self._refusals))})"
            else:
                yield f"{words} {number}"
