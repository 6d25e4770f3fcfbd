"""The status page's words, beside the codes of records and metrics."""

from __future__ import annotations

from html import unescape
from typing import Final

from autopilot.attestation.verdict import Refusal
from autopilot.attestation.verdicts import NoEvidence
from autopilot.observability.records import Outcome
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.why import AffinityWhy, Why
from autopilot.web.status.private import refusal_words
from autopilot.web.status.words import affinity_why_words, outcome_words, reason_words, why_words
from tools.docs.tables import code, table

_CHECKED: Final = {
    Refusal.QUOTE_MALFORMED: "the quote can be read",
    Refusal.QUOTE_SIGNATURE: "Intel's certificates and lists sign it",
    Refusal.COLLATERAL: "these are there, and valid now",
    Refusal.DEBUG: "no host can debug the virtual machine",
    Refusal.TD_ATTRIBUTES: "its attributes are those of all genuine ones",
    Refusal.TCB_STATUS: "its platform's state is one of `PRIVATE_TCB`",
    Refusal.BINDING_KEY: "the quote is for the nonce that was sent, and this key",
    Refusal.BINDING_CERTIFICATE: "it is for this certificate",
    Refusal.MEASUREMENT_UNKNOWN: "its registers are one row of the measurements",
    Refusal.MEASUREMENT_APP_UNMEASURED: "the running software is measured at all",
    Refusal.ENVELOPE_MISSING: "the virtual machine has signed quote and GPUs",
    Refusal.ENVELOPE_SIGNATURE: "its certificate's key made that signature",
    Refusal.ENVELOPE_MISMATCH: "it signed the same nonce, quote and GPUs",
    Refusal.GPU_COUNT: "there are as many GPUs as the row has",
    Refusal.GPU_DUPLICATE: "each is a device of its own",
    Refusal.GPU_CHAIN: "its certificates lead to NVIDIA's root",
    Refusal.GPU_MALFORMED: "its report can be read",
    Refusal.GPU_NONCE: "the report is for this quote's nonce",
    Refusal.GPU_SIGNATURE: "the device signed it",
    Refusal.GPU_FIRMWARE_ID: "its firmware is the one in the certificate",
    NoEvidence.UNATTESTABLE: "the platform has evidence for the instance",
    NoEvidence.UNANSWERED: "the platform answered",
    NoEvidence.UNAUTHORIZED: "it accepted the request's key",
}


def private_reasons() -> str:
    """Return the table of reasons why a key is not verified, in the order of the checks."""
    return table(
        ("reason", "on the page", "checked is that"),
        ((code(each), unescape(refusal_words(each)), text) for each, text in _CHECKED.items()),
    )


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
