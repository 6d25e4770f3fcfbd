"""The platform's own package ``chutes-e2ee`` as a client, and its functions as an instance.

It runs in an environment of its own: each line of the input is a call, each of the output a result.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import httpx
from chutes_e2ee import ChutesE2EETransport, crypto
from chutes_e2ee.transport import _iter_sse_from_e2ee
from cryptography.exceptions import InvalidTag
from pqcrypto.kem.ml_kem_768 import decrypt, encrypt, generate_keypair


def seal(key: str, payload: dict[str, Any]) -> list[str]:
    """Seal a request as the client does; return it, and the key for its reply."""
    result = crypto.build_e2ee_request(key, payload)
    return [_text(result.blob), _text(result.response_sk)]


def open_reply(blob: str, key: str) -> Any:
    """Open a plain reply as the client does."""
    return crypto.decrypt_response(b64decode(blob), b64decode(key))


def open_stream(wire: str, key: str) -> str:
    """Open a stream as the client does."""
    opened: bytes = b"".join(_iter_sse_from_e2ee(iter([wire.encode()]), b64decode(key)))
    return opened.decode()


def keys() -> list[str]:
    """Return the public and the private key of an instance."""
    return [_text(each) for each in generate_keypair()]


def open_request(blob: str, key: str) -> str | None:
    """Open a request as its instance does; return None if it was sealed to another key."""
    raw = b64decode(blob)
    ciphertext, nonce, sealed, tag = raw[:1088], raw[1088:1100], raw[1100:-16], raw[-16:]
    try:
        secret = decrypt(b64decode(key), ciphertext)
        derived = crypto.derive_key(secret, ciphertext, crypto.INFO_REQ)
        plain: bytes = gzip.decompress(crypto.chacha_decrypt(derived, nonce, sealed, tag))
    except (InvalidTag, ValueError):
        return None
    return plain.decode()


def reply(public: str, body: str) -> str:
    """Seal a plain reply as an instance does."""
    ciphertext, secret = encrypt(b64decode(public))
    key = crypto.derive_key(secret, ciphertext, crypto.INFO_RESP)
    return _text(ciphertext + _piece(key, gzip.compress(body.encode())))


def begin_stream(public: str) -> list[str]:
    """Return what begins a stream, and the key of its pieces, as an instance makes them."""
    ciphertext, secret = encrypt(b64decode(public))
    return [_text(ciphertext), _text(crypto.derive_key(secret, ciphertext, crypto.INFO_STREAM))]


def piece(key: str, plain: str) -> str:
    """Seal a piece of a stream as an instance does."""
    return _text(_piece(b64decode(key), b64decode(plain)))


def stream(public: str, pieces: list[str]) -> str:
    """Seal the pieces of a stream as an instance does."""
    ciphertext, key = begin_stream(public)
    events = [{"e2e_init": ciphertext}]
    events += [{"e2e": piece(key, _text(each.encode()))} for each in pieces]
    return "".join(f"data: {json.dumps(each)}\n\n" for each in events)


def post(api: str, key: str, body: dict[str, Any]) -> list[Any]:
    """Send a chat completion through the package's transport; return status and text."""
    transport = ChutesE2EETransport(api_key=key, api_base=api)
    with httpx.Client(transport=transport, base_url="http://any.invalid", timeout=60) as client:
        response = client.post("/v1/chat/completions", json=body)
        return [response.status_code, response.text]


def _piece(key: bytes, plain: bytes) -> bytes:
    nonce = os.urandom(12)
    sealed, tag = crypto.chacha_encrypt(key, nonce, plain)
    return bytes(nonce + sealed + tag)


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


CALLS: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        *(seal, open_reply, open_stream, keys, open_request),
        *(reply, stream, begin_stream, piece, post),
    )
}

if __name__ == "__main__":
    for line in sys.stdin:
        name, *given = json.loads(line)
        print(json.dumps(CALLS[name](*given)), flush=True)
