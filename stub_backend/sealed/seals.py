"""The keys of instances, and what an instance opens and seals with them."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEM, _NONCE = 1088, 12
_MEMBER = "e2e_response_pk"
_REQUEST, _REPLY, _STREAM = b"e2e-req-v1", b"e2e-resp-v1", b"e2e-stream-v1"


class UnopenedError(Exception):
    """A request that was not sealed to this instance, or contains no response key."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A request as the engine gets it, and the key for the reply to it."""

    body: dict[str, Any]
    response_key: MLKEM768PublicKey


def instance_key(instance_id: str, generation: int = 0) -> MLKEM768PrivateKey:
    """Return an instance's key, which is derived from its id. A restart makes a new generation."""
    suffix = f"/{generation}" if generation else ""
    seed = hashlib.sha512(f"e2e/{instance_id}{suffix}".encode()).digest()
    return MLKEM768PrivateKey.from_seed_bytes(seed)


def e2e_pubkey(instance_id: str, generation: int = 0) -> str:
    """Return an instance's public key in base64, as in the response of `/e2e/instances`."""
    public = instance_key(instance_id, generation).public_key()
    return b64encode(public.public_bytes_raw()).decode()


def open_request(blob: bytes, key: MLKEM768PrivateKey) -> Opened:
    """Open a request. Raises `UnopenedError`."""
    ciphertext, nonce, sealed = blob[:_KEM], blob[_KEM : _KEM + _NONCE], blob[_KEM + _NONCE :]
    try:
        cipher = _cipher(key.decapsulate(ciphertext), ciphertext, _REQUEST)
        body = json.loads(gzip.decompress(cipher.decrypt(nonce, sealed, None)))
        public = MLKEM768PublicKey.from_public_bytes(b64decode(body.pop(_MEMBER), validate=True))
    except (InvalidTag, ValueError, OSError, EOFError, KeyError, TypeError, AttributeError):
        raise UnopenedError from None
    return Opened(body, public)


def seal_reply(body: bytes, to: MLKEM768PublicKey) -> bytes:
    """Return a plain reply, sealed to a response key."""
    secret, ciphertext = to.encapsulate()
    cipher = _cipher(secret, ciphertext, _REPLY)
    return ciphertext + _piece(cipher, gzip.compress(body, mtime=0))


def seal_twice(body: bytes, to: MLKEM768PublicKey) -> str:
    """Return a reply that the transport sealed once more, with a key that no caller has."""
    transport = ChaCha20Poly1305(ChaCha20Poly1305.generate_key())
    return b64encode(_piece(transport, seal_reply(body, to))).decode()


class StreamSealer:
    """The key of one stream."""

    def __init__(self, to: MLKEM768PublicKey) -> None:
        secret, self.ciphertext = to.encapsulate()
        self._cipher = _cipher(secret, self.ciphertext, _STREAM)

    def init(self) -> bytes:
        """Return the event that begins the stream."""
        return sealed_event("e2e_init", self.ciphertext)

    def event(self, piece: bytes) -> bytes:
        """Return the event of one piece."""
        return sealed_event("e2e", self.sealed(piece))

    def sealed(self, piece: bytes) -> bytes:
        """Return a nonce and a sealed piece."""
        return _piece(self._cipher, piece)


def sealed_event(name: str, value: bytes) -> bytes:
    """Return an event of the wire."""
    return b'data: {"%b":"%b"}\n\n' % (name.encode(), b64encode(value))


def _piece(cipher: ChaCha20Poly1305, plain: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + cipher.encrypt(nonce, plain, None)


def _cipher(secret: bytes, ciphertext: bytes, info: bytes) -> ChaCha20Poly1305:
    derived = HKDF(algorithm=SHA256(), length=32, salt=ciphertext[:16], info=info).derive(secret)
    return ChaCha20Poly1305(derived)
