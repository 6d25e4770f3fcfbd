"""A synthetic world of attestation, read from a folder, and evidence in it for any nonce.

The folder is `tests/data/private` of the checkout. Neither wheel nor image has it, so that a stub
which is installed has no keys to sign evidence with.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm

VIRTUAL_MACHINES = ("A", "B")


@dataclass(frozen=True, slots=True)
class World:
    """The kit that makes evidence, and the cases and collateral that belong to it."""

    kit: Mapping[str, Any] = field(repr=False)
    vectors: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> World:
        """Read a folder. Raises OSError or ValueError."""
        kit, vectors = (
            json.loads((folder / f"evidence_{name}.json").read_text())
            for name in ("kit", "vectors")
        )
        return cls(kit, vectors)

    @property
    def measurements(self) -> list[dict[str, Any]]:
        """The rows of the platform's measurements."""
        found: list[dict[str, Any]] = self.vectors["measurements"]
        return found

    @property
    def collateral(self) -> Mapping[str, Mapping[str, str]]:
        """The sets of Intel's collateral by name."""
        found: Mapping[str, Mapping[str, str]] = self.vectors["collateral"]
        return found

    def foreign_chain(self) -> str:
        """Return the certificates of a GPU that end at another root."""
        cases = {each["name"]: each for each in self.vectors["cases"]}
        listed = cases["gpu_chain_other_root"]["evidence"]["gpu_evidence"]
        found: str = self.vectors["pool"][listed[1]["certificate"].removeprefix("@")]
        return found


@dataclass(frozen=True, slots=True)
class Machine:
    """One virtual machine of a world."""

    world: World
    name: str

    @classmethod
    def of(cls, world: World, instance_id: str) -> Machine:
        """Return the machine of an instance."""
        chosen = hashlib.sha256(instance_id.encode()).digest()[0] % len(VIRTUAL_MACHINES)
        return cls(world, VIRTUAL_MACHINES[chosen])

    @property
    def other(self) -> Machine:
        """Another machine of the world."""
        return Machine(self.world, next(each for each in VIRTUAL_MACHINES if each != self.name))

    @property
    def certificate(self) -> str:
        """The certificate of the attestation service."""
        found: str = self.world.kit["vm"][self.name]["certificate_der_b64"]
        return found

    def report_data(self, nonce: str, key: str) -> bytes:
        """Return what a quote binds: a nonce with an instance's key, and the certificate."""
        spki: str = self.world.kit["vm"][self.name]["spki_sha256"]
        return bound(nonce, key) + bytes.fromhex(spki)

    def quote(self, report_data: bytes, fields: Mapping[str, bytes]) -> bytes:
        """Return a signed quote, with other values of some fields of its report."""
        kit = self.world.kit["tdx"]
        made = bytearray.fromhex(kit["head_and_report_hex"])
        at = kit["report_data_offset"]
        made[at : at + 64] = report_data
        for name, value in fields.items():
            made[slice(*self.field(name))] = value
        signature = _signed(kit["attestation_key_scalar_hex"], ec.SECP256R1(), SHA256(), made)
        length, rest = kit["signature_length_field_hex"], kit["after_signature_hex"]
        return bytes(made) + bytes.fromhex(length) + signature + bytes.fromhex(rest)

    def field(self, name: str) -> tuple[int, int]:
        """Return where a field of a quote's report begins and ends."""
        start, end = self.world.kit["tdx"]["fields"][name]
        return start, end

    def gpu_report(self, place: int, nonce_hash: bytes) -> bytes:
        """Return the report of one GPU, before it is signed."""
        kit = self.world.kit["gpus"][self.name][place]
        made = bytearray.fromhex(kit["report_without_signature_hex"])
        made[slice(*kit["nonce_range"])] = nonce_hash
        return bytes(made)

    def gpu(self, place: int, report: bytes, signer: Machine | None = None) -> dict[str, str]:
        """Return the evidence of one GPU, or one that another machine's GPU has signed."""
        kit = self.world.kit["gpus"][self.name][place]
        scalar = self.world.kit["gpus"][(signer or self).name][place]["leaf_scalar_hex"]
        signature = _signed(scalar, ec.SECP384R1(), SHA384(), report)
        return {
            "certificate": kit["certificate_chain_pem_b64"],
            "evidence": b64encode(report + signature).decode(),
            "arch": kit["arch"],
        }

    def gpus(self, nonce_hash: bytes) -> list[dict[str, str]]:
        """Return the evidence of all GPUs."""
        count = len(self.world.kit["gpus"][self.name])
        return [self.gpu(place, self.gpu_report(place, nonce_hash)) for place in range(count)]

    def signature(self, attested_body: str) -> str:
        """Return the attestation service's signature."""
        kit = self.world.kit["vm"][self.name]
        p, q, e = int(kit["rsa_p_hex"], 16), int(kit["rsa_q_hex"], 16), kit["rsa_e"]
        d = pow(e, -1, (p - 1) * (q - 1))
        public = rsa.RSAPublicNumbers(e, p * q)
        numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
        # Checking the numbers would take longer than all else that makes the evidence.
        key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
        signed = key.sign(b64decode(attested_body), padding.PKCS1v15(), SHA256())
        return b64encode(signed).decode()


def bound(nonce: str, key: str) -> bytes:
    """Return the hash of a nonce and an instance's key, as both are written."""
    return hashlib.sha256((nonce + key).encode()).digest()


def attested_body(nonce: str, quote: str, gpus: Sequence[Mapping[str, str]]) -> str:
    """Return what an attestation service signs."""
    contents = {"tdx_quote": quote, "nvtrust_evidence": json.dumps(gpus)}
    body = json.dumps({"nonce": nonce, "evidence": contents}, separators=(",", ":"))
    return b64encode(body.encode()).decode()


def _signed(
    scalar: str, curve: ec.EllipticCurve, algorithm: HashAlgorithm, data: bytes | bytearray
) -> bytes:
    private = ec.derive_private_key(int(scalar, 16), curve)
    r, s = decode_dss_signature(private.sign(bytes(data), ec.ECDSA(algorithm)))
    size = (curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")
