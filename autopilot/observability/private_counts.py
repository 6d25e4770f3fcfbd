"""What private mode has done, as counters and gauges.

Every label is one of a fixed set, so neither a client nor the platform can create time series. All
series exist from the start: an alert on an increase sees the first one too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final

from autopilot.observability.instruments import Counter, Histogram, Instrument, Readings
from autopilot.observability.records import BROKEN, CLIENT_LEFT, Outcome


class PrivateOutcome(StrEnum):
    """How a private request ended."""

    COMPLETED = "completed"
    UNSUPPORTED = "unsupported"
    """400 ``private_unsupported``: it cannot be private, so that nothing of it was sent."""
    REJECTED = "rejected"
    """400 ``private_rejected``: the engine refused it, for a reason that stays sealed."""
    UNAVAILABLE = "unavailable"
    """503 ``private_unavailable``: no attested instance was left."""
    REPLY_INVALID = "reply_invalid"
    """502 ``private_reply_invalid``: what came back was not sealed as it should be."""
    INTERRUPTED = "interrupted"
    """It broke after its first byte."""
    CLIENT_LEFT = "client_left"
    FAILED = "failed"
    """Any other error, of the router or relayed."""


class DiscoveryOutcome(StrEnum):
    """How a question for a chute's instances ended."""

    FOUND = "found"
    EMPTY = "empty"
    LIMITED = "limited"
    """The budget of a minute was used up, here or at the platform."""
    UNAUTHORIZED = "unauthorized"
    FAILED = "failed"


_BY_CODE: Final = {
    f"private_{outcome}": outcome
    for outcome in (
        PrivateOutcome.UNSUPPORTED,
        PrivateOutcome.REJECTED,
        PrivateOutcome.UNAVAILABLE,
        PrivateOutcome.REPLY_INVALID,
    )
}

VERIFIED: Final = "verified"
REASONS: Final = (
    VERIFIED,
    "quote_malformed",
    "quote_signature",
    "collateral",
    "debug",
    "td_attributes",
    "tcb_status",
    "binding_key",
    "binding_certificate",
    "measurement_unknown",
    "measurement_app_unmeasured",
    "envelope_missing",
    "envelope_signature",
    "envelope_mismatch",
    "gpu_count",
    "gpu_duplicate",
    "gpu_chain",
    "gpu_malformed",
    "gpu_nonce",
    "gpu_signature",
    "gpu_firmware_id",
    "unattestable",
    "unanswered",
    "unauthorized",
)
"""The results of a verification: `VERIFIED`, a refusal's reason, or why there was no evidence."""

FAULTS: Final = (
    "truncated",
    "no_init",
    "bad_init",
    "second_init",
    "bad_seal",
    "repeated",
    "too_long",
)
"""The faults that end a sealed stream."""

PLAIN_EVENTS: Final = ("done", "error", "usage", "other")
"""The kinds of events that were not sealed, and therefore not relayed."""

KEY_STATES: Final = ("verified", "refused", "unattestable", "unanswered")
"""The states of the keys that are known."""

_OTHER: Final = "other"
# Cached collateral and one fast answer take a tenth of a second, an instance that starts its
# GPUs' report anew ten; PRIVATE_ATTEST_TIMEOUT_MS is 20 s.
_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)


def private_outcome(outcome: Outcome, code: str | None) -> PrivateOutcome:
    """Return how a private request ended, by its record's outcome and own error's code."""
    if code is not None:
        return _BY_CODE.get(code, PrivateOutcome.FAILED)
    if outcome is Outcome.COMPLETED:
        return PrivateOutcome.COMPLETED
    if outcome in CLIENT_LEFT:
        return PrivateOutcome.CLIENT_LEFT
    return PrivateOutcome.INTERRUPTED if outcome in BROKEN else PrivateOutcome.FAILED


class PrivateCounts:
    """The counters of private mode."""

    def __init__(self) -> None:
        self._requests = _of(
            "chutes_autopilot_private_requests_total",
            "Private requests, by how they ended.",
            "outcome",
            PrivateOutcome,
        )
        self._discoveries = _of(
            "chutes_autopilot_private_discoveries_total",
            "Questions for the instances of a model, by how they ended.",
            "outcome",
            DiscoveryOutcome,
        )
        self._attestations = _of(
            "chutes_autopilot_private_attestations_total",
            "Verifications of an instance's key, by their result: verified, or why not.",
            "reason",
            (*REASONS, _OTHER),
        )
        self._faults = _of(
            "chutes_autopilot_private_stream_faults_total",
            "Faults of sealed streams, and events in them that were not sealed (outer_…).",
            "fault",
            (*FAULTS, *(f"outer_{kind}" for kind in PLAIN_EVENTS), _OTHER),
        )
        self._seconds = Histogram(
            "chutes_autopilot_private_attestation_seconds",
            "Seconds from the question for an instance's evidence to the verdict on its key.",
            _SECONDS,
        )

    def request(self, outcome: PrivateOutcome) -> None:
        """Count a private request that ended."""
        self._requests.values[outcome.value,] += 1

    def refusal(self, code: str | None) -> None:
        """Count a request that got this error before there was an exchange, if it is of ours."""
        outcome = _BY_CODE.get(code or "")
        if outcome is not None:
            self.request(outcome)

    def discovery(self, outcome: DiscoveryOutcome) -> None:
        """Count a question for the instances of a model."""
        self._discoveries.values[outcome.value,] += 1

    def attestation(self, reason: str, seconds: float) -> None:
        """Count a verification: one of `REASONS`, and how long it took."""
        self._attestations.values[reason if reason in REASONS else _OTHER,] += 1
        self._seconds.observe(seconds)

    def stream_fault(self, fault: str, times: int = 1) -> None:
        """Count a fault of a sealed stream, one of `FAULTS`, or of `PLAIN_EVENTS`."""
        if fault in PLAIN_EVENTS:
            fault = f"outer_{fault}"
        self._faults.values[fault if (fault,) in self._faults.values else _OTHER,] += times

    def instruments(self) -> tuple[Instrument, ...]:
        """Return what has been counted."""
        return (
            self._requests,
            self._discoveries,
            self._attestations,
            self._faults,
            self._seconds,
        )


def private_gauges(
    keys: Callable[[], Mapping[str, int]], collateral_expiry: Callable[[], float | None]
) -> tuple[Readings, ...]:
    """Return the gauges, which are read at each scrape.

    ``keys`` counts the known keys by their state. ``collateral_expiry`` is the seconds until the
    first collateral ends that verdicts rest on; None without any.
    """

    def by_state() -> Iterator[tuple[tuple[str, ...], float]]:
        counted = keys()
        return (((state,), counted.get(state, 0)) for state in KEY_STATES)

    def expiry() -> Iterator[tuple[tuple[str, ...], float]]:
        seconds = collateral_expiry()
        return iter(()) if seconds is None else iter([((), seconds)])

    return (
        Readings(
            "chutes_autopilot_private_keys",
            "Keys of instances with a verdict that has not aged, by state.",
            ("state",),
            by_state,
        ),
        Readings(
            "chutes_autopilot_private_collateral_expiry_seconds",
            "Seconds until the first collateral ends that verdicts rest on; negative if it has.",
            (),
            expiry,
        ),
    )


def _of(name: str, text: str, label: str, values: Iterable[str]) -> Counter:
    counter = Counter(name, text, label)
    counter.values.update({(str(value),): 0 for value in values})
    return counter
