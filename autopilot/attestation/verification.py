"""Verification of the evidence that one instance's encryption key is in a genuine, current TDX VM.

Everything is given: evidence, question, collateral, measurements, time. The order of the checks is
fixed, and the first one that fails gives the reason. A positive verdict shows that software in a
virtual machine of the platform vouches for the key, and that its GPUs' reports are genuine and
fresh. It shows neither the model nor its code, nor who else holds the key in that machine.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import (
    Certificate,
    load_der_x509_certificate,
    load_pem_x509_certificates,
)
from msgspec import DecodeError, Struct, ValidationError, convert
from msgspec.json import Decoder

from autopilot.attestation import gpu_report
from autopilot.attestation.measurements import matching
from autopilot.attestation.quote import Quote
from autopilot.attestation.quote_verification import (
    MAX_QUOTE_BYTES,
    UP_TO_DATE,
    VerifiedQuote,
    verify_quote,
)
from autopilot.attestation.sealing import strict_base64
from autopilot.attestation.verdict import GpuChecks, Refusal, RefusedError, Verified
from autopilot.measurement import Measurement

MAX_GPUS: Final = 16
MAX_BODY_BYTES: Final = 1024 * 1024
_MAX_CERTIFICATE_BYTES: Final = 65_536
_LEAST_RSA_BITS: Final = 2048
_UNMEASURED: Final = bytes(48)


class Evidence(Struct):
    """The platform's answer for one instance. Unknown members are ignored."""

    quote: str
    certificate: str
    gpu_evidence: list[Any] | None = None
    signature: str | None = None
    attested_body: str | None = None

    def __repr__(self) -> str:
        return "Evidence()"


@dataclass(frozen=True, slots=True)
class Question:
    """A fresh nonce of 64 hexadecimal digits, and the key as discovery wrote it."""

    nonce: str = field(repr=False)
    key: str = field(repr=False)

    @property
    def hash(self) -> bytes:
        """The first half of the quote's report data, and the nonce of the GPUs' reports."""
        return sha256((self.nonce + self.key).encode()).digest()


@dataclass(frozen=True, slots=True)
class Policy:
    """What is accepted. The roots are those of Intel and NVIDIA, unless a test has others."""

    rows: Sequence[Measurement]
    tcb: frozenset[str] = frozenset({UP_TO_DATE})
    gpu_checks: GpuChecks = GpuChecks.SIGNED
    envelope_required: bool = True
    intel_root: bytes | None = None
    nvidia_root: bytes = gpu_report.NVIDIA_ROOT


class _Gpu(Struct):
    certificate: str
    evidence: str


class _Contents(Struct):
    tdx_quote: str
    nvtrust_evidence: str


class _Envelope(Struct):
    nonce: str
    evidence: _Contents


_evidence = Decoder(Evidence)
_envelope = Decoder(_Envelope)
_any = Decoder(Any)


def roots_of(pem: bytes) -> tuple[bytes, bytes]:
    """Return other roots, from two certificates: that of quotes, and the hash of that of GPUs.

    Raises ValueError.
    """
    quotes, gpus = (each.public_bytes(Encoding.DER) for each in load_pem_x509_certificates(pem))
    return quotes, sha256(gpus).digest()


def read_evidence(body: bytes) -> Evidence:
    """Parse the platform's answer. Raises `RefusedError`."""
    try:
        return _evidence.decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise RefusedError(Refusal.QUOTE_MALFORMED) from None


def verify(
    evidence: Evidence, question: Question, collateral: str | None, policy: Policy, now: int
) -> Verified | Refusal:
    """Return the verdict, all steps in one go."""
    steps = verification(evidence, question, collateral, policy, now)
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        verified: Verified = stop.value
        return verified
    except RefusedError as error:
        return error.refusal


def verification(
    evidence: Evidence, question: Question, collateral: str | None, policy: Policy, now: int
) -> Generator[None, None, Verified]:
    """Verify step by step; it yields before each GPU, whose checks take milliseconds.

    ``collateral`` is that of the quote's platform, and None if there is none. Raises
    `RefusedError`.
    """
    raw = decoded(evidence.quote, MAX_QUOTE_BYTES, Refusal.QUOTE_MALFORMED)
    verified = verify_quote(raw, collateral, now, policy.tcb, policy.intel_root)
    quote = verified.quote
    if not compare_digest(quote.nonce_hash, question.hash):
        raise RefusedError(Refusal.BINDING_KEY)
    certificate = _bound_certificate(evidence.certificate, quote, now)
    listed = evidence.gpu_evidence or []
    row = _measured(quote, policy.rows, len(listed))
    enveloped = False
    if policy.gpu_checks is not GpuChecks.OFF:
        enveloped = _check_envelope(evidence, question, certificate, policy.envelope_required)
        yield from _check_gpus(listed, row, policy.nvidia_root, question.hash, now)
    return _verdict(verified, certificate, row, len(listed), policy.gpu_checks, enveloped)


def _verdict(
    verified: VerifiedQuote,
    certificate: Certificate,
    row: Measurement,
    gpus: int,
    gpu_checks: GpuChecks,
    enveloped: bool,
) -> Verified:
    return Verified(
        tcb=verified.tcb,
        advisories=verified.advisories,
        measurement=row,
        gpus=0 if gpu_checks is GpuChecks.OFF else gpus,
        gpu_checks=gpu_checks,
        envelope=enveloped,
        # A certificate is valid through its last second.
        expires=min(verified.expires, int(certificate.not_valid_after_utc.timestamp()) + 1),
    )


def decoded(text: str, limit: int, refusal: Refusal) -> bytes:
    """Decode base64 of at most ``limit`` bytes. Raises `RefusedError` with the given reason."""
    if len(text) > limit * 4 // 3 + 4:
        raise RefusedError(refusal)
    try:
        raw = strict_base64(text.encode())
    except ValueError:
        raise RefusedError(refusal) from None
    if len(raw) > limit:
        raise RefusedError(refusal)
    return raw


def _bound_certificate(text: str, quote: Quote, now: int) -> Certificate:
    """Return the certificate of the VM's attestation service, which the quote must name."""
    der = decoded(text, _MAX_CERTIFICATE_BYTES, Refusal.BINDING_CERTIFICATE)
    try:
        certificate = load_der_x509_certificate(der)
        spki = certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    except (ValueError, UnsupportedAlgorithm):
        raise RefusedError(Refusal.BINDING_CERTIFICATE) from None
    if not compare_digest(quote.key_hash, sha256(spki).digest()):
        raise RefusedError(Refusal.BINDING_CERTIFICATE)
    moment = datetime.fromtimestamp(now, UTC)
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        raise RefusedError(Refusal.BINDING_CERTIFICATE)
    return certificate


def _measured(quote: Quote, rows: Sequence[Measurement], gpus: int) -> Measurement:
    row = matching(rows, quote, gpus)
    if row is None:
        raise RefusedError(Refusal.MEASUREMENT_UNKNOWN)
    if quote.rtmrs[3] == _UNMEASURED:
        raise RefusedError(Refusal.MEASUREMENT_APP_UNMEASURED)
    return row


def _check_envelope(
    evidence: Evidence, question: Question, certificate: Certificate, required: bool
) -> bool:
    """Check the VM's signature over its own evidence; return whether there is one."""
    if evidence.signature is None and evidence.attested_body is None:
        if required:
            raise RefusedError(Refusal.ENVELOPE_MISSING)
        return False
    if evidence.signature is None or evidence.attested_body is None:
        raise RefusedError(Refusal.ENVELOPE_SIGNATURE)
    signature = decoded(evidence.signature, MAX_BODY_BYTES, Refusal.ENVELOPE_SIGNATURE)
    body = decoded(evidence.attested_body, MAX_BODY_BYTES, Refusal.ENVELOPE_SIGNATURE)
    _check_signature(certificate, signature, body)
    try:
        signed = _envelope.decode(body)
        listed: object = _any.decode(signed.evidence.nvtrust_evidence)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise RefusedError(Refusal.ENVELOPE_MISMATCH) from None
    same = (
        compare_digest(signed.nonce.encode(), question.nonce.encode())
        and compare_digest(signed.evidence.tdx_quote.encode(), evidence.quote.encode())
        and listed == evidence.gpu_evidence
    )
    if not same:
        raise RefusedError(Refusal.ENVELOPE_MISMATCH)
    return True


def _check_signature(certificate: Certificate, signature: bytes, body: bytes) -> None:
    key = certificate.public_key()
    if not (isinstance(key, RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS):
        raise RefusedError(Refusal.ENVELOPE_SIGNATURE)
    try:
        key.verify(signature, body, PKCS1v15(), SHA256())
    except InvalidSignature:
        raise RefusedError(Refusal.ENVELOPE_SIGNATURE) from None


def _check_gpus(
    listed: Sequence[Any], row: Measurement, root: bytes, nonce: bytes, now: int
) -> Generator[None, None, None]:
    if len(listed) != row.gpu_count or len(listed) > MAX_GPUS:
        raise RefusedError(Refusal.GPU_COUNT)
    gpus = [_gpu(each) for each in listed]
    if len({gpu_report.leaf_key(chain) for chain, _evidence in gpus}) != len(gpus):
        raise RefusedError(Refusal.GPU_DUPLICATE)
    known: set[bytes] = set()
    for chain, evidence in gpus:
        yield
        raw = decoded(evidence, gpu_report.MAX_REPORT_BYTES, Refusal.GPU_MALFORMED)
        report = gpu_report.read_report(raw)
        gpu_report.verify_chain(chain, root, now, known)
        gpu_report.verify_report(report, chain[0], nonce)


def _gpu(listed: object) -> tuple[Sequence[Certificate], str]:
    """Return the chain of a GPU, and its report as it was sent."""
    try:
        gpu = convert(listed, _Gpu)
    except ValidationError:
        raise RefusedError(Refusal.GPU_MALFORMED) from None
    pem = decoded(gpu.certificate, gpu_report.MAX_CHAIN_BYTES, Refusal.GPU_MALFORMED)
    return gpu_report.read_chain(pem), gpu.evidence
