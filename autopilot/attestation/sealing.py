"""Encryption of requests to one instance, and decryption of its plain replies.

ML-KEM-768 (FIPS 203) agrees on a secret, HKDF-SHA256 makes the key of it, and ChaCha20-Poly1305
seals. The layout is that of the platform's package ``chutes-e2ee``. A reply carries no signature:
it is authentic because the public key for it travels inside the seal only, so that each attempt
must have a key of its own. `seal` therefore makes one for each call.

Import this module only for private mode: older versions of ``cryptography`` lack ML-KEM.
"""

from __future__ import annotations

import os
import zlib
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

KEM_SIZE: Final = 1088
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
RESPONSE_KEY_MEMBER: Final = "e2e_response_pk"
MAX_REPLY_BYTES: Final = 64 * 1024 * 1024

_PUBLIC_KEY_SIZE: Final = 1184
_KEY_SIZE: Final = 32
_SALT_SIZE: Final = 16
_LEAST: Final = KEM_SIZE + NONCE_SIZE + TAG_SIZE
_GZIP: Final = zlib.MAX_WBITS | 16
# Stored blocks: compressed sizes would tell whoever watches them, and can place text into the same
# prompt, about the rest of it.
_STORED: Final = 0


class Purpose(StrEnum):
    """The use of a derived key, which is a part of its derivation."""

    REQUEST = "e2e-req-v1"
    REPLY = "e2e-resp-v1"
    STREAM = "e2e-stream-v1"


class ReplyFault(StrEnum):
    """Why a sealed reply is refused."""

    TOO_SHORT = "too_short"
    BAD_SEAL = "bad_seal"
    NOT_GZIP = "not_gzip"
    TOO_LARGE = "too_large"
    NOT_AN_OBJECT = "not_an_object"


class ReplyError(Exception):
    """A sealed reply that must not reach a client. Its text names the fault only."""

    def __init__(self, fault: ReplyFault) -> None:
        super().__init__(fault)
        self.fault = fault


class UnsealableError(ValueError):
    """A key or a body that cannot be used. Its text contains neither."""


class _Body(Struct):
    e2e_response_pk: Raw = Raw()


class _Object(Struct):
    pass


_body = Decoder(_Body)
_object = Decoder(_Object)


def strict_base64(text: bytes) -> bytes:
    """Decode base64 in its one canonical spelling. Raises ValueError for any other text."""
    raw = a2b_base64(text)
    if b2a_base64(raw, newline=False) != text:
        raise ValueError
    return raw


class InstanceKey:
    """The public key of an instance: its text, as discovery wrote it, and the parsed key.

    The quote binds the text. Raises `UnsealableError` for a text that is not such a key.
    """

    __slots__ = ("public", "text")

    def __init__(self, text: str) -> None:
        try:
            raw = strict_base64(text.encode())
            if len(raw) != _PUBLIC_KEY_SIZE:
                raise ValueError
            self.public = MLKEM768PublicKey.from_public_bytes(raw)
        except ValueError:
            raise UnsealableError("not an ML-KEM-768 public key in base64") from None
        self.text = text

    def __repr__(self) -> str:
        return "InstanceKey()"


class ResponseKey:
    """The private key for the reply to one attempt. It must not serve a second attempt."""

    __slots__ = ("_private",)

    def __init__(self, private: MLKEM768PrivateKey | None = None) -> None:
        self._private = private or MLKEM768PrivateKey.generate()

    @property
    def text(self) -> bytes:
        """The public key in base64, as the instance reads it."""
        return b2a_base64(self._private.public_key().public_bytes_raw(), newline=False)

    def cipher(self, kem_ciphertext: bytes, purpose: Purpose) -> ChaCha20Poly1305:
        """Return the cipher of a reply. Raises ValueError for a ciphertext of a wrong length."""
        return derive(self._private.decapsulate(kem_ciphertext), kem_ciphertext, purpose)

    def __repr__(self) -> str:
        return "ResponseKey()"


@dataclass(frozen=True, slots=True)
class SealedRequest:
    """The bytes for the platform, and the key that opens the reply to them."""

    blob: bytes = field(repr=False)
    response_key: ResponseKey


def derive(secret: bytes, kem_ciphertext: bytes, purpose: Purpose) -> ChaCha20Poly1305:
    """Return the cipher for a shared secret."""
    salt = kem_ciphertext[:_SALT_SIZE]
    key = HKDF(algorithm=SHA256(), length=_KEY_SIZE, salt=salt, info=purpose.encode())
    return ChaCha20Poly1305(key.derive(secret))


def seal(body: bytes, key: InstanceKey) -> SealedRequest:
    """Seal a request body to an instance, with a fresh response key.

    The caller's bytes stay as they are; the response key becomes the last member. Raises
    `UnsealableError` if the body is not a JSON object, or names a response key itself: an instance
    would seal the answer to whoever holds the last key in the body.
    """
    response_key = ResponseKey()
    plain = zlib.compress(_with_response_key(body, response_key.text), _STORED, _GZIP)
    secret, kem_ciphertext = key.public.encapsulate()
    nonce = os.urandom(NONCE_SIZE)
    sealed = derive(secret, kem_ciphertext, Purpose.REQUEST).encrypt(nonce, plain, None)
    return SealedRequest(b"".join((kem_ciphertext, nonce, sealed)), response_key)


def _with_response_key(body: bytes, text: bytes) -> bytes:
    try:
        named = bool(_body.decode(body).e2e_response_pk)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise UnsealableError("the body is not a JSON object") from None
    if named:
        raise UnsealableError(f"the body has a member {RESPONSE_KEY_MEMBER}")
    members = body.rstrip()[:-1]
    comma = b"" if members.strip() == b"{" else b","
    return b'%b%b"%b":"%b"}' % (members, comma, RESPONSE_KEY_MEMBER.encode(), text)


def open_reply(blob: bytes, key: ResponseKey, limit: int = MAX_REPLY_BYTES) -> bytes:
    """Return the engine's body of a plain reply, a JSON object. Raises `ReplyError`."""
    if len(blob) < _LEAST:
        raise ReplyError(ReplyFault.TOO_SHORT)
    view = memoryview(blob)
    nonce, sealed = view[KEM_SIZE : KEM_SIZE + NONCE_SIZE], view[KEM_SIZE + NONCE_SIZE :]
    try:
        plain = key.cipher(blob[:KEM_SIZE], Purpose.REPLY).decrypt(nonce, sealed, None)
    except InvalidTag:
        raise ReplyError(ReplyFault.BAD_SEAL) from None
    body = _gunzip(plain, limit)
    try:
        _object.decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise ReplyError(ReplyFault.NOT_AN_OBJECT) from None
    return body


def _gunzip(data: bytes, limit: int) -> bytes:
    """Return what one gzip member holds. Raises `ReplyError`, before memory exceeds the limit."""
    expanding = zlib.decompressobj(_GZIP)
    try:
        body = expanding.decompress(data, limit + 1)
    except zlib.error:
        raise ReplyError(ReplyFault.NOT_GZIP) from None
    if len(body) > limit:
        raise ReplyError(ReplyFault.TOO_LARGE)
    if not expanding.eof or expanding.unused_data:
        raise ReplyError(ReplyFault.NOT_GZIP)
    return body
