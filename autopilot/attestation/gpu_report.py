"""Verification of a GPU's attestation report: certificate chain, nonce, signature, firmware id.

The report is an SPDM 1.1 exchange: a GET_MEASUREMENTS request of 37 bytes, with the caller's nonce,
and the MEASUREMENTS response, whose last 96 bytes sign all others. That shows a genuine device of
the vendor and a fresh report. The measurements of the firmware are not compared with anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP384R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import (
    BasicConstraints,
    Certificate,
    ExtensionNotFound,
    ObjectIdentifier,
    UnrecognizedExtension,
    load_pem_x509_certificate,
)

from autopilot.attestation.verdict import Refusal, RefusedError

NVIDIA_ROOT: Final = bytes.fromhex(
    "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48"
)
"""SHA-256 of the DER of the certificate "NVIDIA Device Identity CA"."""

MAX_REPORT_BYTES: Final = 65_536
MAX_CHAIN: Final = 8
MAX_CHAIN_BYTES: Final = 65_536

_REQUEST_SIZE: Final = 37
_REQUEST_NONCE: Final = slice(4, 36)
_REQUEST_START: Final = b"\x11\xe0"
_RESPONSE_START: Final = b"\x11\x60"
_NONCE_SIZE: Final = 32
_HEADER_SIZE: Final = 8
_RECORD_LENGTH: Final = slice(5, 8)
_OPAQUE_LENGTH: Final = Struct("<H")
_FIELD: Final = Struct("<HH")
_NUMBER_SIZE: Final = 48
_SIGNATURE_SIZE: Final = 2 * _NUMBER_SIZE
_FIRMWARE_ID: Final = 20
_FIRMWARE_ID_SIZE: Final = 48
_DEVICE_INFORMATION: Final = ObjectIdentifier("2.23.133.5.4.1")
_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\r\n]++-----END CERTIFICATE-----"
)


@dataclass(frozen=True, slots=True)
class SpdmReport:
    """The parts of a report that are compared."""

    nonce: bytes
    firmware_id: bytes | None
    signed: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "SpdmReport()"


def read_report(data: bytes) -> SpdmReport:
    """Parse a report. Raises `RefusedError`."""
    if len(data) > MAX_REPORT_BYTES:
        raise RefusedError(Refusal.GPU_MALFORMED)
    signed, signature = data[:-_SIGNATURE_SIZE], data[-_SIGNATURE_SIZE:]
    request, response = signed[:_REQUEST_SIZE], signed[_REQUEST_SIZE:]
    if not (request.startswith(_REQUEST_START) and response.startswith(_RESPONSE_START)):
        raise RefusedError(Refusal.GPU_MALFORMED)
    record = int.from_bytes(response[_RECORD_LENGTH], "little")
    at = _HEADER_SIZE + record + _NONCE_SIZE
    if at + _OPAQUE_LENGTH.size > len(response):
        raise RefusedError(Refusal.GPU_MALFORMED)
    (length,) = _OPAQUE_LENGTH.unpack_from(response, at)
    opaque = response[at + _OPAQUE_LENGTH.size :]
    if length != len(opaque):
        raise RefusedError(Refusal.GPU_MALFORMED)
    fields = dict(_fields(opaque))
    return SpdmReport(request[_REQUEST_NONCE], fields.get(_FIRMWARE_ID), signed, signature)


def _fields(opaque: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(opaque):
        if at + _FIELD.size > len(opaque):
            raise RefusedError(Refusal.GPU_MALFORMED)
        kind, length = _FIELD.unpack_from(opaque, at)
        at += _FIELD.size
        if at + length > len(opaque):
            raise RefusedError(Refusal.GPU_MALFORMED)
        yield kind, opaque[at : at + length]
        at += length


def read_chain(pem: bytes) -> tuple[Certificate, ...]:
    """Parse a chain, the leaf first. Raises `RefusedError`."""
    if len(pem) > MAX_CHAIN_BYTES:
        raise RefusedError(Refusal.GPU_CHAIN)
    blocks = _PEM.findall(pem)
    if len(blocks) > MAX_CHAIN:
        raise RefusedError(Refusal.GPU_CHAIN)
    if not blocks:
        raise RefusedError(Refusal.GPU_MALFORMED)
    try:
        return tuple(map(load_pem_x509_certificate, blocks))
    except ValueError:
        raise RefusedError(Refusal.GPU_MALFORMED) from None


def leaf_key(chain: Sequence[Certificate]) -> bytes:
    """Return the public key that identifies the device. Raises `RefusedError`."""
    try:
        return chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        raise RefusedError(Refusal.GPU_MALFORMED) from None


def verify_chain(
    chain: Sequence[Certificate], root: bytes, now: int, known: set[bytes] | None = None
) -> None:
    """Verify that each certificate is issued by the next, and the last one is the root.

    ``root`` is the SHA-256 of its DER. GPUs of a kind share all but the first links: ``known``
    remembers the links that hold. Raises `RefusedError`.
    """
    ders = [each.public_bytes(Encoding.DER) for each in chain]
    if not compare_digest(sha256(ders[-1]).digest(), root):
        raise RefusedError(Refusal.GPU_CHAIN)
    moment = datetime.fromtimestamp(now, UTC)
    for place, certificate in enumerate(chain):
        if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
            raise RefusedError(Refusal.GPU_CHAIN)
        if place and not _may_issue(certificate, below=place - 1):
            raise RefusedError(Refusal.GPU_CHAIN)
    known = set() if known is None else known
    # The root is its own issuer.
    issuers = [*chain[1:], chain[-1]]
    for place, (certificate, issuer) in enumerate(zip(chain, issuers, strict=True)):
        issuer_der = ders[min(place + 1, len(ders) - 1)]
        link = sha256(sha256(ders[place]).digest() + sha256(issuer_der).digest()).digest()
        if link not in known:
            _verify_link(certificate, issuer)
            known.add(link)


def _may_issue(certificate: Certificate, below: int) -> bool:
    """Return whether it is an authority that allows ``below`` further authorities under it."""
    try:
        constraints = certificate.extensions.get_extension_for_class(BasicConstraints).value
    except (ExtensionNotFound, ValueError):
        return False
    longest = constraints.path_length
    return constraints.ca and (longest is None or below <= longest)


def _verify_link(certificate: Certificate, issuer: Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        raise RefusedError(Refusal.GPU_CHAIN) from None


def verify_report(report: SpdmReport, leaf: Certificate, nonce: bytes) -> None:
    """Verify nonce, signature and firmware id of a report. Raises `RefusedError`."""
    if not compare_digest(report.nonce, nonce):
        raise RefusedError(Refusal.GPU_NONCE)
    key = leaf.public_key()
    if not (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP384R1)):
        raise RefusedError(Refusal.GPU_SIGNATURE)
    numbers = report.signature[:_NUMBER_SIZE], report.signature[_NUMBER_SIZE:]
    r, s = (int.from_bytes(each, "big") for each in numbers)
    try:
        key.verify(encode_dss_signature(r, s), report.signed, ECDSA(SHA384()))
    except InvalidSignature:
        raise RefusedError(Refusal.GPU_SIGNATURE) from None
    firmware_id = _certified_firmware_id(leaf)
    if report.firmware_id is None or firmware_id is None:
        raise RefusedError(Refusal.GPU_FIRMWARE_ID)
    if not compare_digest(report.firmware_id, firmware_id):
        raise RefusedError(Refusal.GPU_FIRMWARE_ID)


def _certified_firmware_id(leaf: Certificate) -> bytes | None:
    """Return the firmware id that the leaf was issued for: the end of its device information."""
    try:
        extension = leaf.extensions.get_extension_for_oid(_DEVICE_INFORMATION).value
    except (ExtensionNotFound, ValueError):
        return None
    if not isinstance(extension, UnrecognizedExtension):
        return None
    value = extension.value
    return value[-_FIRMWARE_ID_SIZE:] if len(value) >= _FIRMWARE_ID_SIZE else None
