"""The judgement on a model's attestation evidence: a state, and the reason for it.

The router does not verify evidence, which would take Intel's collateral and NVIDIA's service. No
state therefore claims "verified". The router checks the form of the evidence and whether it is
consistent with itself. That can prove evidence worthless, but never valid:

* Each quote must be a complete TDX quote of version 4, not made in debug mode, and with the
  platform's attributes.
* The hash of the TLS certificate's public key in the quote must match the certificate beside it.
  Both come from the same response, so a match proves nothing about the sender.
* The quote contains a hash over the nonce and the instance's public key. The router can compute and
  compare it only if it knows that key, which the platform gives to callers with an API key, for a
  few instances at a time. Without the key one check remains: two nonces must give two hashes, so a
  repeated hash was not made for this call.

Not checked: the quote's signature and measurements, the GPUs' evidence and the nonce in it. And no
evidence shows which instance serves a particular request.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from autopilot.attestation.quote import ATTRIBUTES, Quote, read_quote
from autopilot.routing.error_text import read_error, texts


class EvidenceState(StrEnum):
    """The state of a model's evidence. The words are the same in every output."""

    NO_TEE = "no-tee"
    """The catalog does not mark the model as confidential compute."""
    NOT_FETCHED = "not-fetched"
    """The evidence has not been fetched yet."""
    UNAVAILABLE = "evidence-unavailable"
    """There is none, or it is inconsistent; `Reason` states why."""
    PRESENT = "evidence-present-unverified"
    """There is consistent evidence; no party has verified it."""


class Reason(StrEnum):
    """Why there is no evidence, or none that counts."""

    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed-out"
    RATE_LIMITED = "rate-limited"
    SERVICE_DOWN = "attestation-service-down"
    PLATFORM_ERROR = "platform-error"
    UNREADABLE = "unreadable-answer"
    TOO_LARGE = "answer-too-large"
    NOT_TEE_ENABLED = "not-tee-enabled"
    RUNTIME_TOO_OLD = "runtime-too-old"
    EXTERNAL_BACKEND = "external-backend"
    UNKNOWN_CHUTE = "unknown-chute"
    NONCE_REFUSED = "nonce-refused"
    REFUSED = "refused"
    NO_EVIDENCE = "no-evidence"
    ALL_FAILED = "all-instances-failed"
    MALFORMED = "malformed-evidence"
    MALFORMED_QUOTE = "malformed-quote"
    DEBUG = "debug-mode"
    TD_ATTRIBUTES = "td-attributes"
    BINDING_MISMATCH = "binding-mismatch"
    NONCE_MISMATCH = "nonce-mismatch"
    NONCE_MISSING = "nonce-missing"
    REPLAYED = "replayed"


TRANSIENT: Final = frozenset(
    {
        Reason.UNREACHABLE,
        Reason.TIMED_OUT,
        Reason.RATE_LIMITED,
        Reason.SERVICE_DOWN,
        Reason.PLATFORM_ERROR,
    }
)
"""Failures to obtain evidence, as opposed to facts about the evidence."""

FLAWS: Final = (
    Reason.MALFORMED,
    Reason.MALFORMED_QUOTE,
    Reason.DEBUG,
    Reason.TD_ATTRIBUTES,
    Reason.BINDING_MISMATCH,
    Reason.NONCE_MISMATCH,
    Reason.NONCE_MISSING,
    Reason.REPLAYED,
)
"""Flaws in the evidence itself; of several, the first in this order is reported."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance's evidence, decoded. None stands for what was unreadable.

    ``certificate_hash`` is the SHA-256 of the certificate's public key (SubjectPublicKeyInfo), and
    ``e2e_pubkey`` the instance's key in base64, if known from another source.
    """

    quote: bytes | None
    gpus: int | None
    certificate_hash: bytes | None = None
    e2e_pubkey: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of examining one model's evidence.

    ``instances`` responded and ``failed`` did not; ``gpus`` counts those with evidence of their
    own. ``certificate_bound`` is None unless every certificate could be compared. ``nonces_bound``
    counts the instances whose key is known and whose quote contains the right hash. A later
    response must not repeat any of ``nonce_hashes``.
    """

    state: EvidenceState
    reason: Reason | None = None
    instances: int = 0
    failed: int = 0
    gpus: int = 0
    certificate_bound: bool | None = None
    nonces_bound: int = 0
    nonce_hashes: frozenset[bytes] = frozenset()

    def __str__(self) -> str:
        """Return the state, with the reason if there is one."""
        return self.state if self.reason is None else f"{self.state} ({self.reason})"


NO_TEE: Final = Finding(EvidenceState.NO_TEE)
NOT_FETCHED: Final = Finding(EvidenceState.NOT_FETCHED)
_ZERO_HASH: Final = bytes(32)


def unavailable(reason: Reason) -> Finding:
    """Return the finding that there is no evidence, for this reason."""
    return Finding(EvidenceState.UNAVAILABLE, reason)


# The first row that applies decides: the status, and a phrase that one of the body's strings must
# contain. Any other status is REFUSED below 500, and PLATFORM_ERROR otherwise.
_REFUSALS: Final = (
    (400, "is not tee-enabled", Reason.NOT_TEE_ENABLED),
    (400, "requires chutes_version", Reason.RUNTIME_TOO_OLD),
    (400, "unavailable for this execution backend", Reason.EXTERNAL_BACKEND),
    (400, "nonce", Reason.NONCE_REFUSED),
    (422, "", Reason.NONCE_REFUSED),
    (404, "", Reason.UNKNOWN_CHUTE),
    (429, "", Reason.RATE_LIMITED),
    (502, "attestation", Reason.SERVICE_DOWN),
)


def refusal_reason(status: int, body: bytes) -> Reason:
    """Return why the platform gave no evidence, from the status and body of its response."""
    error_texts = texts(read_error(body))
    for row_status, phrase, reason in _REFUSALS:
        if status == row_status and (not phrase or any(phrase in text for text in error_texts)):
            return reason
    return Reason.PLATFORM_ERROR if status >= 500 else Reason.REFUSED


def judge(
    instances: Sequence[Instance], failed: int, nonce: str, seen: Set[bytes] = frozenset()
) -> Finding:
    """Return the finding on the evidence of one response.

    ``failed`` counts the instances without evidence, ``nonce`` is the nonce sent (hex), and
    ``seen`` holds the ``nonce_hashes`` of responses to other nonces. One instance with a flaw
    suffices for `EvidenceState.UNAVAILABLE`, because any instance may serve a request.
    """
    if not instances:
        return Finding(
            EvidenceState.UNAVAILABLE,
            Reason.ALL_FAILED if failed else Reason.NO_EVIDENCE,
            failed=failed,
        )
    quotes = [None if each.quote is None else read_quote(each.quote) for each in instances]
    pairs = list(zip(instances, quotes, strict=True))
    bound = [_certificate_bound(instance, quote) for instance, quote in pairs]
    named = [_nonce_bound(instance, quote, nonce) for instance, quote in pairs]
    hashes = frozenset(quote.nonce_hash for quote in quotes if quote is not None)
    flaws = {_flaw(instance, quote) for instance, quote in pairs}
    flaws |= {Reason.BINDING_MISMATCH} if False in bound else set()
    flaws |= {Reason.NONCE_MISMATCH} if False in named else set()
    flaws |= {Reason.NONCE_MISSING} if _ZERO_HASH in hashes else set()
    flaws |= {Reason.REPLAYED} if not seen.isdisjoint(hashes) else set()
    reason = next((each for each in FLAWS if each in flaws), None)
    return Finding(
        EvidenceState.PRESENT if reason is None else EvidenceState.UNAVAILABLE,
        reason,
        instances=len(instances),
        failed=failed,
        gpus=sum(each.gpus or 0 for each in instances),
        certificate_bound=_all(bound),
        nonces_bound=named.count(True),
        nonce_hashes=hashes,
    )


def _flaw(instance: Instance, quote: Quote | None) -> Reason | None:
    """Return the flaw that makes an instance's evidence void by itself, or None."""
    if instance.quote is None or instance.gpus is None:
        return Reason.MALFORMED
    if quote is None:
        return Reason.MALFORMED_QUOTE
    if quote.debug:
        return Reason.DEBUG
    return None if quote.attributes == ATTRIBUTES else Reason.TD_ATTRIBUTES


def _certificate_bound(instance: Instance, quote: Quote | None) -> bool | None:
    """Return whether the quote names this certificate; None if either is missing."""
    if quote is None or instance.certificate_hash is None:
        return None
    return instance.certificate_hash == quote.key_hash


def _nonce_bound(instance: Instance, quote: Quote | None, nonce: str) -> bool | None:
    """Return whether the quote was made for this nonce; None without the instance's key."""
    if quote is None or instance.e2e_pubkey is None:
        return None
    expected = sha256((nonce + instance.e2e_pubkey).encode("utf-8", "replace")).digest()
    return quote.nonce_hash == expected


def _all(checks: Sequence[bool | None]) -> bool | None:
    """Return whether all checks hold; None if none failed but one could not be made."""
    if False in checks:
        return False
    return None if None in checks else True
