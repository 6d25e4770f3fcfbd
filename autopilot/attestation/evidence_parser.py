"""Reads the platform's answers about attestation evidence into the values that routing judges.

Like the feeds, this format is the platform's and changes without notice: what is missing is missing
and what is unknown is ignored, but what cannot be read is never taken for evidence. Nothing of an
answer's texts is kept or passed on.
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
    PASSING,
    Finding,
    Instance,
    Reason,
    judge,
    refused,
    unavailable,
)
from autopilot.http.fetch import FetchedResponse
from autopilot.http.fetch_error import NETWORK, TIMEOUT, TOO_LARGE, FetchError
from autopilot.routing.catalog import Model

MAX_BYTES: Final = 32 * 1024 * 1024
TIMEOUT_SECONDS: Final = 60.0
"""How long one answer may take: the platform asks every instance of the model first."""

_LONGEST_REFUSAL: Final = 65_536
_MOST_INSTANCES: Final = 2000
# Counted before anything is decoded, which for millions of elements would take seconds.
_MOST_COMMAS: Final = 100 * _MOST_INSTANCES
_UUID: Final = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

_T = TypeVar("_T")


class _Envelope(Struct):
    evidence: list[Raw]
    failed_instance_ids: list[Raw] | None = None


class _Entry(Struct):
    quote: str
    instance_id: Raw = Raw()
    gpu_evidence: Raw = Raw()
    certificate: Raw = Raw()


class _Gpu(Struct):
    certificate: str
    evidence: str


_envelope = Decoder(_Envelope)
_entry = Decoder(_Entry)
_gpus = Decoder(list[_Gpu] | None)
_text = Decoder(str)


def evidence_url(base: str, model: Model, nonce: str) -> str:
    """Where the evidence of a model is, under the base URL of the platform's API."""
    chute = model.chute_id
    named = chute if chute is not None and fullmatch(_UUID, chute) else model.name
    return f"{base}/chutes/{quoted(named, safe='')}/evidence?nonce={nonce}"


def read_answer(
    answer: FetchedResponse,
    nonce: str,
    seen: Set[bytes] = frozenset(),
    keys: Mapping[str, str] = {},
) -> Finding:
    """What an answer to this nonce comes to; see `judge`.

    ``keys`` are the instances' e2e public keys (base64) by instance id, as far as they are known.
    """
    if answer.status != 200:
        return unavailable(refused(answer.status, answer.body[:_LONGEST_REFUSAL]))
    if answer.body.count(b",") > _MOST_COMMAS:
        return unavailable(Reason.TOO_LARGE)
    try:
        envelope = _envelope.decode(answer.body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return unavailable(Reason.UNREADABLE)
    if len(envelope.evidence) > _MOST_INSTANCES:
        return unavailable(Reason.TOO_LARGE)
    instances = [_instance(raw, keys) for raw in envelope.evidence]
    return judge(instances, len(envelope.failed_instance_ids or ()), nonce, seen)


def read_failure(error: FetchError) -> Finding:
    """What it comes to that there was no answer."""
    reasons = {
        NETWORK: Reason.UNREACHABLE,
        TIMEOUT: Reason.TIMED_OUT,
        TOO_LARGE: Reason.TOO_LARGE,
    }
    return unavailable(reasons.get(error.outcome, Reason.UNREADABLE))


def passing(finding: Finding) -> bool:
    """Whether there may be evidence in a while, for what is in the way is only in the way."""
    return finding.reason in PASSING


def _instance(raw: Raw, keys: Mapping[str, str]) -> Instance:
    """One entry, decoded as far as it can be."""
    try:
        entry = _entry.decode(raw)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return Instance(None, None)
    identity = _known(_text, entry.instance_id)
    return Instance(
        quote=_base64(entry.quote),
        gpus=_count_gpus(entry.gpu_evidence),
        certificate_hash=_key_hash(_known(_text, entry.certificate)),
        e2e_pubkey=None if identity is None else keys.get(identity),
    )


def _count_gpus(raw: Raw) -> int | None:
    """How many GPUs have evidence; None if that of one is not what it should be."""
    if not bytes(raw):
        return 0
    try:
        gpus = _gpus.decode(raw) or []
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    whole = all(_base64(gpu.certificate) and _base64(gpu.evidence) for gpu in gpus)
    return len(gpus) if whole else None


def _key_hash(certificate: str | None) -> bytes | None:
    """The SHA-256 of the public key of a certificate, which is DER in base64."""
    der = None if certificate is None else _base64(certificate)
    if der is None:
        return None
    try:
        key = load_der_x509_certificate(der).public_key()
        return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _base64(text: str) -> bytes | None:
    """The bytes that a text, in lines or not, stands for; None if it is not all base64."""
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError:
        return None


def _known(decoder: Decoder[_T], raw: Raw) -> _T | None:
    """The value of an optional field, or None when it is absent, null or of another type."""
    try:
        return decoder.decode(raw)
    except (DecodeError, UnicodeDecodeError):
        return None
