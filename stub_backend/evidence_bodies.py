"""The evidence of one instance, with a well-formed but unsigned quote.

All of it is derived from the instance's id and the nonce, so two fetches differ where the
platform's do. The signature is filler: a verifier must reject these quotes.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate, CertificateBuilder, Name, NameAttribute
from cryptography.x509.oid import NameOID

from stub_backend.sealed.seals import e2e_pubkey

QUOTE_BYTES = 5243
GPUS = 8
DEBUG = 1
ATTRIBUTES = 1 << 28
"""Those of the platform's quotes: SEPT_VE_DISABLE."""
PERFMON = 1 << 63
_REPORT_BYTES = 584
_HEADER_BYTES = 48
_GPU_EVIDENCE_BYTES = 4096
_FROM, _TO = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Form:
    """The parameters of a quote; the defaults are the platform's."""

    version: int = 4
    tee_type: int = 0x81
    attributes: int = ATTRIBUTES
    size: int = QUOTE_BYTES
    nonce: str | None = None
    """The nonce to hash instead of the caller's."""
    other_key: bool = False
    """Whether the report data contains the key of another certificate."""


def instance_ids(chute_id: str, count: int) -> list[str]:
    """Return the ids of a chute's instances."""
    return list(_instance_ids(chute_id, count))


@lru_cache(maxsize=1024)
def _instance_ids(chute_id: str, count: int) -> tuple[str, ...]:
    return tuple(str(uuid.uuid5(uuid.UUID(chute_id), f"instance-{n}")) for n in range(count))


def instance_evidence(instance_id: str, nonce: str, form: Form | None = None) -> dict[str, Any]:
    """Return one element of `evidence`."""
    form = form or Form()
    certificate = _certificate(instance_id)
    named = _certificate(f"{instance_id}/other") if form.other_key else certificate
    hashed = (form.nonce or nonce) + e2e_pubkey(instance_id)
    nonce_hash = hashlib.sha256(hashed.encode("ascii", "replace")).digest()
    return {
        "instance_id": instance_id,
        "quote": _text(quote(instance_id, nonce_hash + _key_hash(named), form)),
        "gpu_evidence": [_gpu(certificate, nonce_hash, index) for index in range(GPUS)],
        "certificate": _text(certificate.public_bytes(Encoding.DER)),
        "signature": None,
        "attested_body": None,
    }


def quote(seed: str, report_data: bytes, form: Form) -> bytes:
    """Return a quote: header, TD report, and filler in place of the signature."""
    header = struct.pack("<HHI", form.version, 2, form.tee_type).ljust(28, b"\0")
    header += b"nobody signed this"[: _HEADER_BYTES - 28].ljust(_HEADER_BYTES - 28, b"\0")
    measured = _filler(f"report/{seed}", _REPORT_BYTES - 64)
    attributes = struct.pack("<Q", form.attributes)
    report = measured[:120] + attributes + measured[128:] + report_data
    room = QUOTE_BYTES - _HEADER_BYTES - _REPORT_BYTES - 4
    signature = struct.pack("<I", room) + _filler(f"signature/{seed}", room)
    return (header + report + signature)[: form.size]


def body(evidence: list[dict[str, Any]], failed: list[str]) -> Mapping[str, Any]:
    """Return the body of a response."""
    return {"evidence": evidence, "failed_instance_ids": failed}


def _gpu(certificate: Certificate, nonce_hash: bytes, index: int) -> dict[str, str]:
    evidence = nonce_hash + _filler(f"gpu/{index}", _GPU_EVIDENCE_BYTES - len(nonce_hash))
    return {
        "certificate": _text(certificate.public_bytes(Encoding.PEM)),
        "evidence": _text(evidence),
        "arch": "HOPPER",
    }


def _certificate(seed: str) -> Certificate:
    """Return the self-signed certificate of a seed."""
    key = Ed25519PrivateKey.from_private_bytes(_filler(f"tls/{seed}", 32))
    name = Name([NameAttribute(NameOID.COMMON_NAME, "instance.stub.invalid")])
    builder = CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1 + int.from_bytes(_filler(f"serial/{seed}", 8), "big"),
        not_valid_before=_FROM,
        not_valid_after=_TO,
    )
    return builder.sign(key, None)


def _key_hash(certificate: Certificate) -> bytes:
    key = certificate.public_key()
    return hashlib.sha256(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).digest()


def _filler(seed: str, size: int) -> bytes:
    return hashlib.shake_256(f"stub/{seed}".encode()).digest(size)


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")
