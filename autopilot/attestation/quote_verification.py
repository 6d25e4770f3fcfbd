"""Verification of a TDX quote's signature and of its platform's state, by ``dcap-qvl``.

A quote is malleable: it has many spellings that verify, so that its bytes identify nothing.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from dcap_qvl import QuoteCollateralV3, QuotePolicy, QuoteVerifier, parse_quote
from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from autopilot.attestation.collateral import Platform
from autopilot.attestation.quote import ATTRIBUTES, Quote, read_quote
from autopilot.attestation.verdict import Refusal, RefusedError

MAX_QUOTE_BYTES: Final = 16_384
UP_TO_DATE: Final = "UpToDate"

# The library's words, which its versions may change: whatever they do not name is a quote that does
# not verify. The first that a text contains decides.
_CAUSES: Final = (
    ("Debug mode is enabled", Refusal.DEBUG),
    ("SEPT_VE_DISABLE", Refusal.TD_ATTRIBUTES),
    ("TD attributes", Refusal.TD_ATTRIBUTES),
    ("TCB status", Refusal.TCB_STATUS),
    ("TCB too old", Refusal.TCB_STATUS),
    ("ISV enclave report signature", Refusal.QUOTE_SIGNATURE),
    ("QE report hash", Refusal.QUOTE_SIGNATURE),
    ("qe_report in quote", Refusal.QUOTE_SIGNATURE),
    ("quote_collateral", Refusal.COLLATERAL),
    ("issue date is in the future", Refusal.COLLATERAL),
    ("expired", Refusal.COLLATERAL),
    ("Expired", Refusal.COLLATERAL),
    ("certificate chain", Refusal.COLLATERAL),
    ("root CA CRL", Refusal.COLLATERAL),
    ("Fmspc mismatch", Refusal.COLLATERAL),
    ("QE Identity id", Refusal.COLLATERAL),
    ("QE Identity version", Refusal.COLLATERAL),
)


class _Tcb(Struct):
    status: str
    advisory_ids: list[str]


class _Claims(Struct):
    tcb: _Tcb
    earliest_expiration_date: int
    qe_iden_earliest_expiration_date: int


_claims = Decoder(_Claims)


@dataclass(frozen=True, slots=True)
class VerifiedQuote:
    """A quote whose signature holds. ``expires`` is when its collateral ends, in Unix time."""

    quote: Quote
    tcb: str
    advisories: tuple[str, ...]
    expires: int


def platform_of(raw: bytes) -> Platform:
    """Return which collateral a quote needs. Raises `RefusedError`."""
    _parsed(raw)
    try:
        found = parse_quote(raw)
        return Platform(found.fmspc().upper(), found.ca().lower())
    except ValueError:
        raise RefusedError(Refusal.QUOTE_MALFORMED) from None


def verify_quote(
    raw: bytes,
    collateral: str | None,
    now: int,
    accepted: Set[str] = frozenset({UP_TO_DATE}),
    root: bytes | None = None,
) -> VerifiedQuote:
    """Verify a quote at a time, and return what it then shows. Raises `RefusedError`.

    ``collateral`` is the JSON that the library reads, and None if there is none. ``root`` is the
    DER of another root than Intel's.
    """
    quote = _parsed(raw)
    if collateral is None:
        raise RefusedError(Refusal.COLLATERAL)
    claims = _verified(raw, collateral, now, accepted, root)
    if quote.debug:
        raise RefusedError(Refusal.DEBUG)
    # The library alone accepts protection keys and performance counters too.
    if quote.attributes != ATTRIBUTES:
        raise RefusedError(Refusal.TD_ATTRIBUTES)
    if claims.tcb.status not in accepted:
        raise RefusedError(Refusal.TCB_STATUS)
    expires = min(claims.earliest_expiration_date, claims.qe_iden_earliest_expiration_date)
    if expires <= now:
        raise RefusedError(Refusal.COLLATERAL)
    return VerifiedQuote(quote, claims.tcb.status, tuple(claims.tcb.advisory_ids), expires)


def _parsed(raw: bytes) -> Quote:
    quote = read_quote(raw) if len(raw) <= MAX_QUOTE_BYTES else None
    if quote is None:
        raise RefusedError(Refusal.QUOTE_MALFORMED)
    try:
        parse_quote(raw)
    except ValueError:
        raise RefusedError(Refusal.QUOTE_MALFORMED) from None
    return quote


def _verified(
    raw: bytes, collateral: str, now: int, accepted: Set[str], root: bytes | None
) -> _Claims:
    try:
        read = QuoteCollateralV3.from_json(collateral)
        policy = _policy(now, accepted)
    except (ValueError, OverflowError):
        raise RefusedError(Refusal.COLLATERAL) from None
    try:
        claims = QuoteVerifier(root).verify_with_policy(raw, read, now, policy)
    except ValueError as error:
        raise RefusedError(_cause(str(error))) from None
    try:
        return _claims.decode(claims.to_json())
    except DecodeError:  # claims of another version
        raise RefusedError(Refusal.QUOTE_SIGNATURE) from None


def _policy(now: int, accepted: Set[str]) -> QuotePolicy:
    """Return the library's policy. Servers are dynamic platforms, with cached keys and SMT."""
    policy = QuotePolicy.strict(now).allow_dynamic_platform(True)
    policy = policy.allow_cached_keys(True).allow_smt(True)
    for status in sorted(accepted - {UP_TO_DATE}):
        policy = policy.allow_status(status)
    return policy


def _cause(text: str) -> Refusal:
    return next((cause for words, cause in _CAUSES if words in text), Refusal.QUOTE_SIGNATURE)
