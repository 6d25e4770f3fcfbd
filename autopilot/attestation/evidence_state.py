"""What can honestly be said of a model's attestation evidence: one state, and why.

The router does not verify evidence: that takes Intel's collateral and NVIDIA's service, and so none
of the states says "verified". It looks at the evidence's shape and at what the evidence says about
itself, which can show that it is worthless and never that it is good:

* Each quote has to be a whole TDX quote of version 4 that was not made in debug mode.
* The hash of the TLS certificate's public key that a quote names has to be that of the certificate
  beside it. Both come from the same answer, so agreement proves nothing about who sent it.
* The nonce is hashed into the quote together with the instance's public key. Only where that key is
  known (the platform hands it out to callers with an API key, for a few instances at a time) can
  the hash be computed and compared. Without it one thing is left: an answer to another nonce has to
  differ, so a hash that was seen before was not made for this call.

Not looked at: the quote's signature and measurements, the evidence of the GPUs and the nonce in it.
And whatever the evidence says, it does not say which instance serves a request.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from autopilot.attestation.quote import Quote, read_quote
from autopilot.routing.error_text import texts


class EvidenceState(StrEnum):
    """What is known of a model's evidence. The words are the same in every output."""

    NO_TEE = "no-tee"
    """The catalog does not mark the model as confidential compute."""
    NOT_FETCHED = "not-fetched"
    """Nobody has asked for evidence yet."""
    UNAVAILABLE = "evidence-unavailable"
    """There is none, or it refutes itself; a `Reason` says which."""
    PRESENT = "evidence-present-unverified"
    """There is some, nothing speaks against it, and nobody has verified it."""


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
    BINDING_MISMATCH = "binding-mismatch"
    NONCE_MISMATCH = "nonce-mismatch"
    NONCE_MISSING = "nonce-missing"
    REPLAYED = "replayed"


PASSING: Final = frozenset(
    {
        Reason.UNREACHABLE,
        Reason.TIMED_OUT,
        Reason.RATE_LIMITED,
        Reason.SERVICE_DOWN,
        Reason.PLATFORM_ERROR,
    }
)
"""Reasons that speak of the way to the evidence and not of the evidence."""

FLAWS: Final = (
    Reason.MALFORMED,
    Reason.MALFORMED_QUOTE,
    Reason.DEBUG,
    Reason.BINDING_MISMATCH,
    Reason.NONCE_MISMATCH,
    Reason.NONCE_MISSING,
    Reason.REPLAYED,
)
"""Reasons that evidence itself gives; of several the first is named."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance's evidence as it was sent, decoded. None stands for what could not be read.

    ``certificate_hash`` is the SHA-256 of the certificate's public key (SubjectPublicKeyInfo), and
    ``e2e_pubkey`` the instance's key in base64, if it is known from elsewhere.
    """

    quote: bytes | None
    gpus: int | None
    certificate_hash: bytes | None = None
    e2e_pubkey: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one model's evidence.

    ``instances`` answered and ``failed`` did not, ``gpus`` are those with evidence of their own.
    ``certificate_bound`` is None unless every certificate could be compared, and ``nonces_bound``
    counts the instances whose key was known and whose quote holds the right hash.
    ``nonce_hashes`` is what a later answer must not repeat.
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
        """The state, with the reason if there is one."""
        return self.state if self.reason is None else f"{self.state} ({self.reason})"


NO_TEE: Final = Finding(EvidenceState.NO_TEE)
NOT_FETCHED: Final = Finding(EvidenceState.NOT_FETCHED)
_NO_HASH: Final = bytes(32)


def unavailable(reason: Reason) -> Finding:
    """There is no evidence, for this reason."""
    return Finding(EvidenceState.UNAVAILABLE, reason)


# From the top, the first row that fits: the status, and what one of the answer's texts has to hold.
# Anything else is REFUSED below 500 and PLATFORM_ERROR from there on.
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


def refused(status: int, body: bytes) -> Reason:
    """Why the platform gave no evidence, by the status and body of its answer."""
    said = texts(body)
    for row_status, phrase, reason in _REFUSALS:
        if status == row_status and (not phrase or any(phrase in text for text in said)):
            return reason
    return Reason.PLATFORM_ERROR if status >= 500 else Reason.REFUSED


def judge(
    instances: Sequence[Instance], failed: int, nonce: str, seen: Set[bytes] = frozenset()
) -> Finding:
    """What an answer with this evidence comes to.

    ``failed`` counts the instances that gave none, ``nonce`` is what was sent (hex), and ``seen``
    are the ``nonce_hashes`` of answers to other nonces. One instance whose evidence refutes itself
    is enough for `EvidenceState.UNAVAILABLE`, since any instance may serve a request.
    """
    if not instances:
        return Finding(
            EvidenceState.UNAVAILABLE,
            Reason.ALL_FAILED if failed else Reason.NO_EVIDENCE,
            failed=failed,
        )
    quotes = [None if each.quote is None else read_quote(each.quote) for each in instances]
    pairs = list(zip(instances, quotes, strict=True))
    bound = [_bound(instance, quote) for instance, quote in pairs]
    named = [_nonce_bound(instance, quote, nonce) for instance, quote in pairs]
    hashes = frozenset(quote.nonce_hash for quote in quotes if quote is not None)
    flaws = {_flaw(instance, quote) for instance, quote in pairs}
    flaws |= {Reason.BINDING_MISMATCH} if False in bound else set()
    flaws |= {Reason.NONCE_MISMATCH} if False in named else set()
    flaws |= {Reason.NONCE_MISSING} if _NO_HASH in hashes else set()
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
    """Why an instance's evidence is none at all, whatever it says."""
    if instance.quote is None or instance.gpus is None:
        return Reason.MALFORMED
    if quote is None:
        return Reason.MALFORMED_QUOTE
    return Reason.DEBUG if quote.debug else None


def _bound(instance: Instance, quote: Quote | None) -> bool | None:
    """Whether the certificate is the one that the quote names; None if one of them is missing."""
    if quote is None or instance.certificate_hash is None:
        return None
    return instance.certificate_hash == quote.key_hash


def _nonce_bound(instance: Instance, quote: Quote | None, nonce: str) -> bool | None:
    """Whether the quote was made for this nonce; None without the instance's key."""
    if quote is None or instance.e2e_pubkey is None:
        return None
    named = sha256((nonce + instance.e2e_pubkey).encode("utf-8", "replace")).digest()
    return quote.nonce_hash == named


def _all(checks: Sequence[bool | None]) -> bool | None:
    """Whether all checks hold; None if none failed and one could not be made."""
    if False in checks:
        return False
    return None if None in checks else True
