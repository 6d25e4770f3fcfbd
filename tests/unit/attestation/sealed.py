"""The instance's side of the sealing, and the vectors of tests/data/private."""

from __future__ import annotations

import gzip
import json
import os
from base64 import b64decode, b64encode
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from autopilot.attestation.sealing import InstanceKey, ResponseKey

FOLDER = Path(__file__).resolve().parents[2] / "data" / "private"


@cache
def vectors() -> dict[str, Any]:
    """Return the vectors of the sealing. They must not be changed."""
    found: dict[str, Any] = json.loads((FOLDER / "e2ee_vectors.json").read_text())
    return found


def instance_key(name: str = "A") -> InstanceKey:
    """Return the public key of an instance of the vectors."""
    return InstanceKey(vectors()["instances"][name]["public_b64"])


def response_key(name: str = "response 1") -> ResponseKey:
    """Return a response key of the vectors."""
    seed = bytes.fromhex(vectors()["response_keys"][name]["seed_hex"])
    return ResponseKey(MLKEM768PrivateKey.from_seed_bytes(seed))


def open_request(blob: bytes, name: str = "A") -> bytes:
    """Decrypt a request as its instance does, without decompressing it."""
    seed = bytes.fromhex(vectors()["instances"][name]["seed_hex"])
    private = MLKEM768PrivateKey.from_seed_bytes(seed)
    ciphertext = blob[:1088]
    key = _derived(private.decapsulate(ciphertext), ciphertext, b"e2e-req-v1")
    return ChaCha20Poly1305(key).decrypt(blob[1088:1100], blob[1100:], None)


def read_request(blob: bytes, name: str = "A") -> dict[str, Any]:
    """Return the JSON of a request, as its instance reads it."""
    found: dict[str, Any] = json.loads(gzip.decompress(open_request(blob, name)))
    return found


class Sealer:
    """What an instance seals to the response key of one request."""

    def __init__(self, response_pk: bytes, info: bytes) -> None:
        public = MLKEM768PublicKey.from_public_bytes(b64decode(response_pk))
        secret, self.ciphertext = public.encapsulate()
        self._cipher = ChaCha20Poly1305(_derived(secret, self.ciphertext, info))

    def piece(self, plain: bytes) -> bytes:
        """Return a nonce and one sealed piece."""
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, plain, None)


def sealed_reply(response_pk: bytes, plain: bytes) -> bytes:
    """Return a plain reply; the instance compresses its body first."""
    sealer = Sealer(response_pk, b"e2e-resp-v1")
    return sealer.ciphertext + sealer.piece(plain)


def event(name: str, value: bytes) -> bytes:
    """Return one event of the wire."""
    return b'data: {"%b":"%b"}\n\n' % (name.encode(), b64encode(value))


def sealed_stream(response_pk: bytes, *pieces: bytes) -> list[bytes]:
    """Return the events of a stream, the one that begins it first."""
    sealer = Sealer(response_pk, b"e2e-stream-v1")
    return [event("e2e_init", sealer.ciphertext), *(event("e2e", sealer.piece(p)) for p in pieces)]


def _derived(secret: bytes, ciphertext: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=ciphertext[:16], info=info).derive(secret)
