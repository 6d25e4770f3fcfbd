"""Parsers of the platform's responses about attestation evidence.

The platform owns this format and changes it without notice. Missing and unknown fields are
tolerated, but nothing unreadable ever counts as evidence. No text of a response is kept or passed
on.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Set
from hashlib import sha256
from re import fullmatch
from typing import Final, TypeVar
from urllib.parse import quote as quoted

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_der_x509_certificate
from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from autopilot.attestation.evidence_state import (
    TRANSIENT,
    Finding,
    Instance,
    Reason,
    judge,
    refusal_reason,
    unavailable,
)
from autopilot.http.fetch import FetchedResponse
from autopilot.http.fetch_error import NETWORK, TIMEOUT, TOO_LARGE, FetchError
from autopilot.routing.catalog import Model

MAX_BYTES: Final = 32 * 1024 * 1024
TIMEOUT_SECONDS: Final = 240.0
"""Longest duration of one response: the platform queries the instances of a model one by one, and
14 of them took 138 s."""

_MAX_ERROR_BYTES: Final = 65_536
_MAX_INSTANCES: Final = 2000
# Commas are counted before decoding, because decoding millions of elements takes seconds.
_MAX_COMMAS: Final = 100 * _MAX_INSTANCES
_UUID: Final = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

_T = TypeVar("_T")


class _Envelope(Struct):
    evidence: list[Raw]
    failed_instance_ids: list[Raw] | None = None


class _InstanceEntry(Struct):
    quote: str
    instance_id: Raw = Raw()
    gpu_evidence: Raw = Raw()
    certificate: Raw = Raw()


class _Gpu(Struct):
    certificate: str
    evidence: str


_envelope = Decoder(_Envelope)
_entry = Decoder(_InstanceEntry)
_gpus = Decoder(list[_Gpu] | None)
_text = Decoder(str)


def evidence_url(base: str, model: Model, nonce: str) -> str:
    """Return the URL of a model's evidence under the base URL of the platform's API."""
    chute = model.chute_id
    named = chute if chute is not None and fullmatch(_UUID, chute) else model.name
    return f"{base}/chutes/{quoted(named, safe='')}/evidence?nonce={nonce}"


def read_answer(
    answer: FetchedResponse,
    nonce: str,
    seen: Set[bytes] = frozenset(),
    keys: Mapping[str, str] = {},
) -> Finding:
    """Return what a response to this nonce shows about the model's evidence; see `judge`.

    ``keys`` maps instance ids to the instances' e2e public keys (base64), where they are known.
    """
    if answer.status != 200:
        return unavailable(refusal_reason(answer.status, answer.body[:_MAX_ERROR_BYTES]))
    if answer.body.count(b",") > _MAX_COMMAS:
        return unavailable(Reason.TOO_LARGE)
    try:
        envelope = _envelope.decode(answer.body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return unavailable(Reason.UNREADABLE)
    if len(envelope.evidence) > _MAX_INSTANCES:
        return unavailable(Reason.TOO_LARGE)
    instances = [_instance(raw, keys) for raw in envelope.evidence]
    return judge(instances, len(envelope.failed_instance_ids or ()), nonce, seen)


def read_failure(error: FetchError) -> Finding:
    """Return the finding for a fetch without a response."""
    reasons = {
        NETWORK: Reason.UNREACHABLE,
        TIMEOUT: Reason.TIMED_OUT,
        TOO_LARGE: Reason.TOO_LARGE,
    }
    return unavailable(reasons.get(error.outcome, Reason.UNREADABLE))


def is_transient(finding: Finding) -> bool:
    """Return whether the failure is transient, so that a later attempt may succeed."""
    return finding.reason in TRANSIENT


def _instance(raw: Raw, keys: Mapping[str, str]) -> Instance:
    """Decode one entry as far as possible."""
    try:
        entry = _entry.decode(raw)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return Instance(None, None)
    identity = _optional(_text, entry.instance_id)
    return Instance(
        quote=_base64(entry.quote),
        gpus=_count_gpus(entry.gpu_evidence),
        certificate_hash=_key_hash(_optional(_text, entry.certificate)),
        e2e_pubkey=None if identity is None else keys.get(identity),
    )


def _count_gpus(raw: Raw) -> int | None:
    """Return how many GPUs have evidence, or None if that of one is malformed."""
    if not bytes(raw):
        return 0
    try:
        gpus = _gpus.decode(raw) or []
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    complete = all(_base64(gpu.certificate) and _base64(gpu.evidence) for gpu in gpus)
    return len(gpus) if complete else None


def _key_hash(certificate: str | None) -> bytes | None:
    """Return the SHA-256 of the public key of a certificate given as DER in base64."""
    der = None if certificate is None else _base64(certificate)
    if der is None:
        return None
    try:
        key = load_der_x509_certificate(der).public_key()
        return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _base64(text: str) -> bytes | None:
    """Decode base64 text, with or without line breaks; None if it is invalid."""
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError:
        return None


def _optional(decoder: Decoder[_T], raw: Raw) -> _T | None:
    """Return the value of an optional field; None if absent, null or of the wrong type."""
    try:
        return decoder.decode(raw)
    except (DecodeError, UnicodeDecodeError):
        return None
