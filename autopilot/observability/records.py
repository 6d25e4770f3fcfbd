"""Request records: the facts of each finished request, without any of its content."""

from __future__ import annotations

import re
from enum import StrEnum
from json.encoder import encode_basestring_ascii
from typing import Any, Final

import msgspec
from msgspec import Struct

from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.usage import Usage, dollars
from autopilot.routing.why import Affinity, AffinityWhy, Why


class Outcome(StrEnum):
    """How an exchange ended (contract §10).

    RELAYED_ERROR: the response is the upstream's own error. REFUSED, FAILED: it is the router's. A
    request is refused because of the request itself or of a limit; it fails because of the upstream
    or the router. CLIENT_STALLED: the client did not read for too long. UPSTREAM_EMPTY: the
    response had no answer. The others are responses that broke after commit.
    """

    __hash__ = str.__hash__  # of an enum it is a call of Python

    COMPLETED = "completed"
    RELAYED_ERROR = "relayed_error"
    REFUSED = "refused"
    FAILED = "failed"
    CLIENT_GONE = "client_gone"
    CLIENT_STALLED = "client_stalled"
    UPSTREAM_BROKEN = "upstream_broken"
    UPSTREAM_IDLE = "upstream_idle"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_EMPTY = "upstream_empty"
    UPSTREAM_SPLICED = "upstream_spliced"
    SHUT_DOWN = "shut_down"


_BARE = re.compile(r'[^\s"=]*')

FAILURES: Final = frozenset(Outcome) - {Outcome.COMPLETED}
"""The outcomes that are no success: their records are always logged."""

CLIENT_LEFT: Final = frozenset({Outcome.CLIENT_GONE, Outcome.CLIENT_STALLED})
"""The outcomes for which the client is the cause."""

OWN_ERRORS: Final = frozenset({Outcome.REFUSED, Outcome.FAILED})
"""The outcomes with an error of the router as the response."""

UPSTREAM_FAULTS: Final = frozenset(
    {
        Outcome.UPSTREAM_BROKEN,
        Outcome.UPSTREAM_IDLE,
        Outcome.UPSTREAM_ERROR,
        Outcome.UPSTREAM_EMPTY,
        Outcome.UPSTREAM_SPLICED,
    }
)
"""The outcomes after commit for which the upstream is the cause."""

BROKEN: Final = UPSTREAM_FAULTS | {Outcome.SHUT_DOWN}
"""The outcomes of responses that did not end as they should have, though the client stayed."""

_FAILED_STATUSES = (500, 502, 504)


def own_error(status: int) -> Outcome:
    """Return the outcome of a request whose response is an error of the router."""
    return Outcome.FAILED if status in _FAILED_STATUSES else Outcome.REFUSED


class Failover(Struct, frozen=True, gc=False, omit_defaults=True):
    """A failed attempt: its model, reason, response status and duration in milliseconds.

    ``status`` is None if there was no response head. ``usage`` and ``cost_picodollars`` are those
    of what it had answered; written only if known.
    """

    model: str
    reason: FailureReason
    status: int | None
    ms: float
    usage: Usage | None = None
    cost_picodollars: int | None = None


class DroppedCall(Struct, frozen=True, gc=False, omit_defaults=True):
    """The call of a hedged request that the other one made needless; the members of a `Failover`.

    Its model has not failed for that, so a reason is not among them.
    """

    model: str
    status: int | None
    ms: float
    usage: Usage | None = None
    cost_picodollars: int | None = None


class RequestRecord(Struct, frozen=True, gc=False):
    """The facts of one request, created once at its end; JSON logs use the same names.

    Times are in milliseconds, rounded to a tenth; None if the event did not happen. ``bytes`` is
    the number of body bytes relayed to the client; ``terminated``: a stream had its terminator.
    ``endpoint`` is the path; ``code`` that of the router's own error, if the client got one.
    ``reason`` says why the upstream's answer broke after commit, in the words of failed attempts.
    ``mode`` is the kind of its selector, ``none`` if that was not read or is none. ``stream``: the
    client asked for a stream; None if its body was not read.
    ``why``: what made the router try ``model``; None without an attempt.
    ``affinity``: whether the conversation had this model before; None if it was not to stick.
    ``affinity_why``: why it had not; None if it had, under a direct name, and before commit.
    ``usage``: the tokens of the answer as the upstream reported them; None if it reported none.
    ``cost_picodollars``: what they cost, in millionths of a millionth of a US dollar; None if the
    counts or the model's prices are not known. ``key``: the name of the operator's own key that the
    client used; None if there are no such keys, or if it had none of them.
    ``private``: it went to attested instances only, or to none; ``instance`` is the beginning of
    the id of the last one that it was sent to.
    ``waited_ms``: how long it waited for ``EDGE_RATE``; None if it did not.
    ``backend``: the name of the other service of ``FALLBACKS_FILE`` that has ``model``; None if
    that is the platform's.
    ``hedged``: how a second attempt beside the first ended, ``won`` or ``lost``; None without one.
    ``dropped``: the one of the two that was given up for the other; None if neither was.
    """

    req_id: str
    mode: str
    candidates: int
    model: str | None
    attempts: int
    failovers: tuple[Failover, ...]
    status: int | None
    snapshot_age_ms: float | None
    catalog_age_ms: float | None
    ttfb_ms: float | None
    duration_ms: float
    bytes: int
    outcome: Outcome
    terminated: bool = True
    endpoint: str = ""
    code: str | None = None
    reason: FailureReason | None = None
    stream: bool | None = None
    why: Why | None = None
    affinity: Affinity | None = None
    affinity_why: AffinityWhy | None = None
    usage: Usage | None = None
    cost_picodollars: int | None = None
    key: str | None = None
    private: bool = False
    instance: str | None = None
    waited_ms: float | None = None
    backend: str | None = None
    hedged: str | None = None
    dropped: DroppedCall | None = None

    @property
    def charged(self) -> tuple[Charged, ...]:
        """All for which the upstream may charge: the answer, and the attempts without one."""
        if self.dropped is None:
            return (self, *self.failovers)
        return (self, *self.failovers, self.dropped)


Charged = RequestRecord | Failover | DroppedCall
"""What may have used tokens."""


def milliseconds(seconds: float) -> float:
    """Return milliseconds, rounded to a tenth: a reactor's timing is no finer.

    `round` converts to decimal digits and back, which takes more than 2,000 instructions.
    """
    return int(seconds * 10_000.0 + 0.5) / 10.0


def age_ms(at: float | None, now: float) -> float | None:
    """Return the age in milliseconds of data fetched at the clock time ``at``, in seconds."""
    return None if at is None else round((now - at) * 1000.0, 1)


def reasons(record: RequestRecord) -> str:
    """Return the reasons of the failed attempts, joined by commas."""
    return ",".join([failover.reason for failover in record.failovers])


def failed_attempts(record: RequestRecord) -> str:
    """Return the failed attempts for a line of text, joined by commas.

    Each is its reason, status, duration and model, joined by colons, of which a model may have
    more. What has no status has a dash.
    """
    return ",".join(
        [
            f"{each.reason}:{'-' if each.status is None else each.status}:{each.ms}ms:{each.model}"
            for each in record.failovers
        ]
    )


def usage_text(record: RequestRecord) -> str:
    """Return the tokens for a line of text, joined by commas; what is not known is left out."""
    usage = record.usage
    if usage is None:
        return ""
    return ",".join(
        [
            f"{kind}:{tokens}"
            for kind in usage.__struct_fields__
            if (tokens := getattr(usage, kind)) is not None
        ]
    )


def cost_text(record: RequestRecord) -> str:
    """Return the cost for a line of text, in US dollars; empty if it is not known."""
    return "" if record.cost_picodollars is None else dollars(record.cost_picodollars)


def quoted(text: str) -> str:
    """Return a value for a line of ``name=value`` pairs, which it can neither end nor forge.

    Clients choose request ids and, in part, the names of models.
    """
    return text if _BARE.fullmatch(text) else encode_basestring_ascii(text)


def facts(record: RequestRecord) -> dict[str, Any]:
    """Return the record as plain values by name, for the fields of a log event."""
    fields: dict[str, Any] = msgspec.to_builtins(record)
    return fields
