"""What clients receive of unusual answers, in each API, streamed and plain.

The first of two models plays the scenario, the second is well. Each row says what the client
receives under `COMMIT=content` and under `COMMIT=complete`, by sections 6 and 7 of the contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeAlias

from autopilot.observability.records import Outcome

PATHS: Mapping[str, str] = {
    "chat": "/v1/chat/completions",
    "text": "/v1/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}


class Kind(Enum):
    """What a client receives."""

    AS_SAID = "the first's answer, byte for byte"
    ENDED = "the first's answer up to its terminator, with a clean end there"
    TOLD = "what the first said, an event of the router's behind it, and no clean end"
    CUT = "what the first said, and no clean end"
    SECOND = "the second's answer, byte for byte"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a client receives, the record's outcome, and why the first model failed.

    ``seconds``: when the response ends, if that is the point. ``withheld``: what stands in the
    event with which the router's own begins instead.
    """

    kind: Kind
    outcome: Outcome = Outcome.COMPLETED
    reason: str | None = None
    seconds: float | None = None
    withheld: bytes = b""

    def __str__(self) -> str:
        """Return a short description."""
        words = [self.kind.name.lower().replace("_", " ")]
        words += [self.reason] if self.reason else []
        words += [self.outcome.value] if self.outcome is not Outcome.COMPLETED else []
        return ", ".join(words)


Pair: TypeAlias = tuple[Expected, Expected]
"""Under `content` and under `complete`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario, streamed and plain, and the streams of those APIs that differ."""

    scenario: str
    stream: Pair
    plain: Pair
    streams_of: Mapping[str, Pair] = field(default_factory=dict, hash=False)

    def expected(self, api: str, *, stream: bool) -> Pair:
        """Return what a client of an API receives."""
        return self.streams_of.get(api, self.stream) if stream else self.plain


# The limits that follow from the default settings, in seconds.
IDLE = 45.0
ALLOWANCE = 12.0
FIRST_BYTE = 60.0

AS_SAID = Expected(Kind.AS_SAID)
ENDED = Expected(Kind.ENDED)
TOLD = Expected(Kind.TOLD, Outcome.UPSTREAM_BROKEN)
CUT = Expected(Kind.CUT, Outcome.UPSTREAM_BROKEN)
ERROR = Expected(Kind.CUT, Outcome.UPSTREAM_ERROR)


# An error outside events is replaced by an event.
_REPLACED = replace(TOLD, outcome=Outcome.UPSTREAM_ERROR)


def _second(reason: str, seconds: float | None = None) -> Expected:
    return Expected(Kind.SECOND, reason=reason, seconds=seconds)


def _both(expected: Expected) -> Pair:
    return expected, expected


def _withheld(event: bytes) -> Expected:
    return replace(TOLD, outcome=Outcome.UPSTREAM_ERROR, withheld=event)


_WHOLE = _both(AS_SAID)
_GAVE_UP = _second("gave_up")
_CUT = _second("cut")
_ERROR = _second("error_event")
_UNENDED = _second("no_terminator")
_EMPTY = _second("empty")
_STALLED = _second("stalled")
_OWN = Expected(Kind.AS_SAID, Outcome.RELAYED_ERROR)

_GIVEN_UP = tuple(
    Row(
        f"gave-up-{reason}",
        (_withheld(f'"finish_reason":"{reason}"'.encode()), _GAVE_UP),
        _both(_GAVE_UP),
        {
            "messages": (_withheld(f'"stop_reason":"{reason}"'.encode()), _GAVE_UP),
            # A response that failed ends in an error event, which is relayed and ends the stream.
            "responses": (
                (replace(AS_SAID, outcome=Outcome.UPSTREAM_ERROR), _ERROR)
                if "error" in reason
                else (_withheld(b'"status":"cancelled"'), _GAVE_UP)
            ),
        },
    )
    for reason in ("abort", "error", "network_error", "cancelled")
)

_BREAKS = (
    Row("drop-mid-stream", (TOLD, _CUT), _both(_CUT)),
    Row("broken-json-event", (AS_SAID, _second("invalid_event")), _WHOLE),
    Row("reset-mid-stream", (TOLD, _CUT), _both(_CUT)),
    Row("cut-mid-event", (CUT, _CUT), _both(_CUT)),
    Row("end-mid-stream", (TOLD, _UNENDED), _WHOLE),
    Row("close-half", (TOLD, _UNENDED), _both(_CUT)),
    Row(
        "stall-mid-event",
        (replace(CUT, outcome=Outcome.UPSTREAM_IDLE, seconds=IDLE), _second("stalled")),
        _WHOLE,
    ),
    Row("cut-at", (CUT, _CUT), _both(_CUT)),
)

_BEHIND = (
    Row("done-reset", _both(ENDED), _WHOLE),
    Row("done-held", _both(replace(ENDED, seconds=0.0)), _WHOLE),
    Row("done-late", _both(ENDED), _WHOLE),
    Row("done-more", _both(ENDED), _WHOLE),
    # A plain answer without its last chunk has no end at all.
    Row("done-cut", _both(ENDED), _both(_CUT)),
    # With all its choices finished a completion is whole; the typed APIs have one terminator.
    Row(
        "no-done",
        _both(AS_SAID),
        _WHOLE,
        dict.fromkeys(("messages", "responses"), (TOLD, _UNENDED)),
    ),
    Row(
        "finish-cut",
        _both(AS_SAID),
        _WHOLE,
        {"messages": (TOLD, _CUT), "responses": (TOLD, _CUT)},
    ),
    Row(
        "finish-stall",
        (replace(AS_SAID, seconds=IDLE), replace(AS_SAID, seconds=ALLOWANCE)),
        _WHOLE,
        dict.fromkeys(
            ("messages", "responses"),
            (replace(TOLD, outcome=Outcome.UPSTREAM_IDLE, seconds=IDLE), _STALLED),
        ),
    ),
)

_EMPTIES = (
    *(Row(name, _both(_EMPTY), _both(_EMPTY)) for name in ("204", "205", "empty-200")),
    # A stream has to say when it is over.
    Row("empty-stream", _both(_UNENDED), _both(_EMPTY)),
    # A response that is completed is an answer, whatever it says.
    Row("says-nothing", _both(_EMPTY), _WHOLE, {"responses": _WHOLE}),
    Row("role-only-then-drop", _both(_CUT), _both(_CUT)),
)

_ERRORS = (
    *(
        Row(name, _both(_ERROR), _both(_ERROR))
        for name in ("error-json-200", "error-object-200", "detail-200", "error-event-first")
    ),
    Row("error-event-mid", (ERROR, _ERROR), _both(_ERROR)),
    # An error of the request itself is its answer.
    Row("error-event-400", _both(_OWN), _both(_OWN)),
    *(
        Row(f"bare-{form}-{place}", (first, _ERROR), plain)
        for form, plain in (
            ("detail", _both(_ERROR)),
            ("pretty", _both(_ERROR)),
            ("indented", _both(_ERROR)),
            ("cr", _both(_ERROR)),
            ("list", _WHOLE),  # as a plain answer no object
        )
        for place, first in (("first", _ERROR), ("tail", _REPLACED))
    ),
    # A byte order mark belongs to the beginning of a stream, and to no JSON (RFC 8259 §8.1).
    Row("bare-bom-first", _both(_ERROR), _WHOLE),
    Row("bare-bom-tail", (_REPLACED, _UNENDED), _WHOLE),
    Row("bare-long-first", _both(_ERROR), _both(_ERROR)),
    # What is too long to be read, or is no JSON, is half an event.
    Row("bare-long-tail", (CUT, _ERROR), _both(_ERROR)),
    *(Row(f"bare-{form}-first", _both(_UNENDED), _WHOLE) for form in ("text", "html")),
    *(Row(f"bare-{form}-tail", (CUT, _UNENDED), _WHOLE) for form in ("text", "html")),
)

_ALIVE = (
    Row(
        "heartbeats",
        _both(_second("first_body_byte_timeout", ALLOWANCE)),
        # Its head has come and promises a body, for which there is a deadline of its own.
        _both(_second("first_body_byte_timeout", FIRST_BYTE)),
    ),
    Row("late-after-beats", _WHOLE, _WHOLE),
    *(
        Row(f"thinks-{member}", (AS_SAID, _STALLED), _WHOLE)
        for member in (
            "thinking",
            "thinking-blocks",
            "reasoning-details",
            "images",
            "annotations",
            "message",
        )
    ),
)

_ODD = (
    Row("unlabelled", _WHOLE, _WHOLE),
    Row("unlabelled-text", _WHOLE, _WHOLE),
    Row("unlabelled-octets", _WHOLE, _WHOLE),
    Row("unlabelled-error", _both(_ERROR), _both(_ERROR)),
    Row("unlabelled-drop", (TOLD, _CUT), _WHOLE),
    Row("undecodable-event", (AS_SAID, _second("invalid_event")), _WHOLE),
    Row("coded", _WHOLE, _WHOLE),
    Row("coded-unmarked", _WHOLE, _WHOLE),
    # Its bytes mean nothing to the router, so that they are the client's from the first on.
    Row("coded-drop", (CUT, _CUT), (CUT, _CUT)),
)

ROWS: tuple[Row, ...] = (*_GIVEN_UP, *_BREAKS, *_BEHIND, *_EMPTIES, *_ERRORS, *_ALIVE, *_ODD)
