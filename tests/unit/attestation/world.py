"""The synthetic world of tests/data/private: cases of evidence, and evidence for any nonce."""

from __future__ import annotations

import copy
import json
from base64 import b64decode, b64encode
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_der_x509_certificate
from msgspec import convert

from autopilot.attestation.measurements import parse_published
from autopilot.attestation.verification import Evidence, Policy, Question
from autopilot.measurement import Measurement
from tests.unit.attestation.sealed import FOLDER, vectors

REAL = FOLDER / "real-tdx"


@cache
def world() -> dict[str, Any]:
    """Return the cases and what they share. It must not be changed."""
    found: dict[str, Any] = json.loads((FOLDER / "evidence_vectors.json").read_text())
    return found


@cache
def _kit() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "evidence_kit.json").read_text())
    return found


NOW: int = world()["fixed_now"]


def _root_ders() -> list[bytes]:
    ders = world()["roots"]
    return [b64decode(ders[f"{each}_root_der_b64"]) for each in ("intel_like", "gpu")]


def roots() -> tuple[bytes, bytes]:
    """Return the DER of the world's root for quotes, and the hash of that for GPUs."""
    intel, gpu = _root_ders()
    return intel, sha256(gpu).digest()


def roots_pem() -> bytes:
    """Return both roots as PEM, that for quotes first."""
    certificates = map(load_der_x509_certificate, _root_ders())
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def rows() -> tuple[Measurement, ...]:
    """Return the world's measurements."""
    return parse_published(json.dumps(world()["measurements"]).encode())


def policy(**options: Any) -> Policy:
    """Return the policy of the world."""
    intel, gpu = roots()
    given: dict[str, Any] = {
        "rows": rows(),
        "intel_root": intel,
        "nvidia_root": gpu,
        "envelope_required": False,
    }
    return Policy(**given | options)


def collateral(name: str = "fixed_30_days") -> str:
    """Return a set of collateral, as the library reads it."""
    return json.dumps(world()["collateral"][name])


def key(name: str = "A") -> str:
    """Return an instance's public key, as discovery writes it."""
    found: str = vectors()["instances"][name]["public_b64"]
    return found


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """Return the platform's answer of a case."""
    found: dict[str, Any] = _looked_up(case["evidence"])
    body = found.get("attested_body")
    if isinstance(body, dict):
        nonce = body["canonical_with_nonce"]
        found["attested_body"] = attested_body(nonce, found["quote"], found["gpu_evidence"])
    return found


def attested_body(nonce: str, quote: str, gpus: object) -> str:
    """Return the body that a virtual machine signs."""
    contents = {"tdx_quote": quote, "nvtrust_evidence": json.dumps(gpus)}
    signed = json.dumps({"nonce": nonce, "evidence": contents}, separators=(",", ":"))
    return b64encode(signed.encode()).decode()


def _looked_up(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _looked_up(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_looked_up(each) for each in value]
    if isinstance(value, str) and value.startswith("@"):
        return world()["pool"][value[1:]]
    return value


def evidence_of(answered: dict[str, Any]) -> Evidence:
    """Return an answer as the verification reads it."""
    return convert(copy.deepcopy(answered), Evidence)


def question_of(case: dict[str, Any]) -> Question:
    """Return the question of a case."""
    return Question(case["caller_nonce"], key(case["e2e_pubkey_of"]))


def policy_of(case: dict[str, Any]) -> Policy:
    """Return the policy that a case is judged by."""
    options = case.get("options") or {}
    changed: dict[str, Any] = {"envelope_required": options.get("need_signed", False)}
    if "accept" in options:
        changed["tcb"] = frozenset(options["accept"])
    if "rows" in options:
        changed["rows"] = ()
    return policy(**changed)


def make(
    nonce: str,
    name: str = "A",
    fields: dict[str, bytes] | None = None,
    key_text: str | None = None,
    certificate: bytes | None = None,
) -> dict[str, Any]:
    """Return genuine evidence of the world for a nonce; ``fields`` replace parts of the quote.

    So does the DER of another ``certificate``, whose public key the quote then names.
    """
    bound = sha256((nonce + (key_text or key(name))).encode()).digest()
    der = certificate or b64decode(_kit()["vm"][name]["certificate_der_b64"])
    quote = _quote(bound + _spki_hash(der), fields or {})
    listed = [_gpu(each, bound) for each in _kit()["gpus"][name]]
    body = attested_body(nonce, quote, listed)
    signature = sign(b64decode(body), name)
    return {
        "instance_id": world()["instance_ids"][name],
        "quote": quote,
        "gpu_evidence": listed,
        "certificate": b64encode(der).decode(),
        "signature": b64encode(signature).decode(),
        "attested_body": body,
    }


def sign(body: bytes, name: str = "A") -> bytes:
    """Return the signature of a virtual machine."""
    return vm_key(name).sign(body, padding.PKCS1v15(), SHA256())


def _spki_hash(der: bytes) -> bytes:
    public = load_der_x509_certificate(der).public_key()
    return sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _quote(report_data: bytes, fields: dict[str, bytes]) -> str:
    kit = _kit()["tdx"]
    made = bytearray.fromhex(kit["head_and_report_hex"])
    at = kit["report_data_offset"]
    made[at : at + 64] = report_data
    for field, value in fields.items():
        start, end = kit["fields"][field]
        made[start:end] = value
    private = ec.derive_private_key(int(kit["attestation_key_scalar_hex"], 16), ec.SECP256R1())
    signature = _plain(private.sign(bytes(made), ec.ECDSA(SHA256())), 32)
    rest = bytes.fromhex(kit["signature_length_field_hex"]) + signature
    return b64encode(bytes(made) + rest + bytes.fromhex(kit["after_signature_hex"])).decode()


def _gpu(kit: dict[str, Any], bound: bytes) -> dict[str, str]:
    made = bytearray.fromhex(kit["report_without_signature_hex"])
    made[slice(*kit["nonce_range"])] = bound
    return {
        "certificate": kit["certificate_chain_pem_b64"],
        "evidence": b64encode(sign_report(kit, bytes(made))).decode(),
        "arch": kit["arch"],
    }


def sign_report(kit: dict[str, Any], report: bytes) -> bytes:
    """Return a report with the signature of its GPU."""
    private = ec.derive_private_key(int(kit["leaf_scalar_hex"], 16), ec.SECP384R1())
    return signed_report(private, report)


def signed_report(private: ec.EllipticCurvePrivateKey, report: bytes) -> bytes:
    """Return a report with the signature of this key."""
    return report + _plain(private.sign(report, ec.ECDSA(SHA384())), 48)


def gpu_kit(name: str = "A", place: int = 0) -> dict[str, Any]:
    """Return what makes the reports of one GPU."""
    found: dict[str, Any] = _kit()["gpus"][name][place]
    return found


@cache
def vm_key(name: str = "A") -> rsa.RSAPrivateKey:
    """Return the key of a virtual machine's attestation service."""
    kit = _kit()["vm"][name]
    p, q, e = int(kit["rsa_p_hex"], 16), int(kit["rsa_q_hex"], 16), kit["rsa_e"]
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key()


def _plain(signature: bytes, size: int) -> bytes:
    return b"".join(each.to_bytes(size, "big") for each in decode_dss_signature(signature))
