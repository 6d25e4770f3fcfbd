"""The status page's number formats, and its text for each state of the router's readiness."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
from math import floor, log10
from typing import TYPE_CHECKING, Final, NewType

from autopilot.attestation.evidence_state import EvidenceState
from autopilot.feeds.readiness import PRIVATE_UNREADY

if TYPE_CHECKING:
    from autopilot.attestation.evidence_state import Reason
    from autopilot.feeds.readiness import Readiness

if TYPE_CHECKING:
    Formatted = NewType("Formatted", str)
else:
    Formatted = str  # a NewType costs a Python call for each of a page's thousands of values
"""Text that needs no escaping: this module has made it, or has escaped it."""

NONE: Final = Formatted("–")

OWNER_END: Final = "/<wbr>"
"""What ends the owner in an escaped name, and each further part of a path."""

# Few texts have any of these, and `html.escape` searches five times.
_SPECIAL: Final = re.compile("[&<>\"']")

# Half as expensive as the formats that can separate thousands.
_SMALL: Final = ("%.0f", "%.1f", "%.2f")


@dataclass(frozen=True, slots=True)
class StateText:
    """The text for one state: its title, what it means, and what the operator should do."""

    title: str
    meaning: str
    advice: str


READY: Final = StateText(
    "Ready", "Both feeds are fresh, and the alias has models to choose from.", "Nothing to do."
)

_STATES: Final = {
    "draining": StateText(
        "Shutting down",
        "Open streams may finish; new requests are rejected.",
        "Send traffic to another instance. If this is unexpected, find out what signalled the "
        "process.",
    ),
    "no_workers": StateText(
        "No worker serves",
        "Clients can connect, but no process of this router answers them.",
        "This is normal for seconds after a start. If it lasts, the log says why the workers end.",
    ),
    "missing_allowlist": StateText(
        "Waiting for the model catalog",
        "The catalog has not been fetched yet, so the router knows no models and rejects requests.",
        "This is normal for seconds after a start. If it lasts, check MODELS_URL and the network.",
    ),
    "allowlist_empty": StateText(
        "The model catalog is empty",
        "The catalog was fetched but lists no usable model, so the alias has no candidates.",
        "Check that MODELS_URL is the platform's model list, and check its response.",
    ),
    "stale_allowlist": StateText(
        "The model catalog was last fetched more than {catalog} ago",
        "The router still uses the last good catalog, but it may list models that are gone.",
        "See the feed's last error below; check that MODELS_URL can be reached from here.",
    ),
    "missing_snapshot": StateText(
        "Waiting for the utilization feed",
        "The catalog has been fetched, but not yet the utilization of its models.",
        "This is normal for seconds after a start. If it lasts, check UTILIZATION_URL and the "
        "network.",
    ),
    "snapshot_empty": StateText(
        "No eligible model",
        "The utilization feed was fetched, but none of its models is in the catalog with an "
        "active instance.",
        "Models may be scaled to zero: wait, or name one directly. If it lasts, check that both "
        "URLs belong to the same platform.",
    ),
    "stale_snapshot": StateText(
        "Utilization was last fetched more than {utilization} ago",
        "The router still ranks by it, but models may be busier than it shows; failover "
        "compensates for that.",
        "See the feed's last error below; check that UTILIZATION_URL can be reached from here.",
    ),
    PRIVATE_UNREADY: StateText(
        "Nothing is attestable",
        "With PRIVATE=always every request has to go to an attested instance, and there can be "
        "none: all get 503.",
        "See what is missing under Private mode below; autopilot check says more.",
    ),
}


def state(readiness: Readiness) -> StateText:
    """Return the text for a row of the readiness table (contract §9)."""
    code = readiness.code
    if code is None:
        return READY
    text = _STATES.get(code)
    if text is None:
        return StateText("Not ready", readiness.message, "See /readyz.")
    limits = {feed.name: age(feed.limit_ms / 1000) for feed in readiness.feeds}
    return replace(text, title=text.title.format_map(limits))


_EVIDENCE: Final = {
    EvidenceState.NO_TEE: Formatted("no TEE claimed"),
    EvidenceState.NOT_FETCHED: Formatted("not fetched yet"),
    EvidenceState.UNAVAILABLE: Formatted("none"),
    EvidenceState.PRESENT: Formatted("present, not verified"),
}


def evidence(state: EvidenceState) -> Formatted:
    """Return the page's words for a state of attestation evidence."""
    return _EVIDENCE[state]


def reason(word: Reason | None) -> Formatted:
    """Return the page's words for a reason why evidence is missing or outdated."""
    return NONE if word is None else Formatted(word.replace("-", " "))


def escaped(text: object) -> Formatted:
    """Escape a text for the cell of a table, at a third of what MarkupSafe takes for an object."""
    plain = str(text)
    return Formatted(plain if _SPECIAL.search(plain) is None else html.escape(plain))


def model_name(name: str) -> Formatted:
    """Escape a model's name, which may wrap behind ``/``, ``-`` and ``_`` but not within words."""
    text = name if _SPECIAL.search(name) is None else html.escape(name)
    text = text.replace("-", "-<wbr>").replace("_", "_<wbr>")
    return Formatted(text.replace("/", OWNER_END))


def number(value: float | None, places: int = 2) -> Formatted:
    """Format a number with this many decimal places and a Unicode minus sign."""
    if value is None:
        return NONE
    if 0 < value < 999:
        return Formatted(_SMALL[places] % value)
    text = f"{value:,.{places}f}"
    zero = not text.strip("-0.,")
    return Formatted(text.lstrip("-") if zero else text.replace("-", "\N{MINUS SIGN}"))


def count(value: int) -> Formatted:
    """Format a whole number that is not negative."""
    return Formatted(f"{value}" if value < 1000 else f"{value:,}")


def dollars(amount: float) -> Formatted:
    """Format US dollars: cents, and of less than a dollar two significant digits."""
    if not 0 < amount < 1:
        return Formatted(f"${amount:,.2f}")
    return Formatted("$" + f"{amount:.{max(2, 1 - floor(log10(amount)))}f}")


def percent(share: float) -> Formatted:
    """Format a fraction as percent, with one decimal below 10 %."""
    return Formatted(f"{share * 100:.1f} %" if 0 < share < 0.0995 else f"{share * 100:.0f} %")


def duration(seconds: float | None) -> Formatted:
    """Format a duration."""
    if seconds is None:
        return NONE
    if seconds < 0.9995:
        return Formatted(f"{seconds * 1000:.0f} ms")
    return Formatted(f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds / 60:.1f} min")


def age(seconds: float | None) -> Formatted:
    """Format an age or a remaining time, rounded down to one unit."""
    if seconds is None:
        return Formatted("never")
    whole = int(seconds)
    if whole < 120:
        return Formatted(f"{whole} s")
    if whole < 7200:
        return Formatted(f"{whole // 60} min")
    if whole < 172_800:
        return Formatted(f"{whole // 3600} h")
    return Formatted(f"{whole // 86_400} days")


def plural(count: int, one: str) -> str:
    """Format a count with its noun, such as "1 model" and "2 models"."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"
