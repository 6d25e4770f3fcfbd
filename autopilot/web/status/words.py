"""Numbers as people read them, and what each state of the router means and asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NONE: Final = "–"


@dataclass(frozen=True, slots=True)
class State:
    """A state in three steps: what it is called, what it means, what to do."""

    title: str
    meaning: str
    advice: str


READY: Final = State(
    "Ready", "Both feeds are fresh, and the alias has models to choose from.", "Nothing to do."
)

_STATES: Final = {
    "draining": State(
        "Shutting down",
        "Streams under way may finish; new requests are turned away.",
        "Send traffic to another instance. If nobody meant this, see who signalled the process.",
    ),
    "missing_allowlist": State(
        "Waiting for the model catalog",
        "It has not been fetched yet, so no model is known and requests are refused.",
        "Seconds after a start this is normal. If it lasts, check MODELS_URL and the way there.",
    ),
    "allowlist_empty": State(
        "The model catalog is empty",
        "It was fetched, but it lists no usable model, so the alias has nothing to choose from.",
        "Check that MODELS_URL is the platform's model list, and what it answers.",
    ),
    "stale_allowlist": State(
        "The model catalog is stale",
        "The last good catalog is older than its limit. It is still used; it may name models that "
        "are gone.",
        "See the feed's last error below; check that MODELS_URL can be reached from here.",
    ),
    "missing_snapshot": State(
        "Waiting for the utilization feed",
        "The catalog is here, but nothing is known yet of how busy its models are.",
        "Seconds after a start this is normal. If it lasts, check UTILIZATION_URL and its way.",
    ),
    "snapshot_empty": State(
        "No model to choose",
        "The utilization feed was fetched, but none of its models is in the catalog with an "
        "active instance.",
        "Models may be scaled to zero: wait, or name one directly. If it lasts, check that both "
        "URLs belong to the same platform.",
    ),
    "stale_snapshot": State(
        "The utilization feed is stale",
        "The ranking is older than its limit. Requests are still served by it, but models may be "
        "busier than it says; failover makes up for that.",
        "See the feed's last error below; check that UTILIZATION_URL can be reached from here.",
    ),
}


def state(code: str | None, message: str) -> State:
    """What a code of the readiness table means."""
    if code is None:
        return READY
    return _STATES.get(code) or State("Not ready", message, "See /readyz.")


_EVIDENCE: Final = {
    "no-tee": "no TEE claimed",
    "not-fetched": "not asked yet",
    "evidence-unavailable": "none",
    "evidence-present-unverified": "present, not verified",
}


def evidence(state: str) -> str:
    """Return what a state of attestation evidence is called."""
    return _EVIDENCE.get(state, state)


def reason(word: str | None) -> str:
    """Return why there is no evidence, or no newer one, in plain words."""
    return NONE if word is None else word.replace("-", " ")


def number(value: float | None, places: int = 2) -> str:
    """A number with so many places, and a true minus sign."""
    if value is None:
        return NONE
    text = f"{value:,.{places}f}"
    zero = not text.strip("-0.,")
    return text.lstrip("-") if zero else text.replace("-", "\N{MINUS SIGN}")


def percent(share: float) -> str:
    """A share, in whole percents unless it is small."""
    return f"{share * 100:.1f} %" if 0 < share < 0.0995 else f"{share * 100:.0f} %"


def duration(seconds: float | None) -> str:
    """How long something took."""
    if seconds is None:
        return NONE
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds / 60:.1f} min"


def age(seconds: float | None) -> str:
    """How long ago or ahead something is: as coarse as it may be."""
    if seconds is None:
        return "never"
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole // 3600} h"


def plural(count: int, one: str) -> str:
    """A count of things."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"
