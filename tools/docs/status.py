"""The status page's words, beside the codes of records and metrics."""

from __future__ import annotations

from html import unescape

from autopilot.observability.records import Outcome
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.why import AffinityWhy, Why
from autopilot.web.status.words import affinity_why_words, outcome_words, reason_words, why_words
from tools.docs.tables import code, table


def status_words() -> str:
    """Return the table of words and codes; the statuses of 5xx share one row."""
    known = [
        *((outcome_words(each), each, "outcome") for each in Outcome),
        *((why_words(each), each, "why") for each in Why),
        *((affinity_why_words(each), each, "affinity_why") for each in AffinityWhy),
        *(
            (reason_words(each), each, "reason")
            for each in FailureReason
            if not each.startswith("status_")
        ),
        ("HTTP 503, or another status", "status_503", "reason"),
    ]
    rows = ((unescape(words), code(each), kind) for words, each, kind in known)
    return table(("on the page", "in records", "kind"), rows)
