"""The request id of responses and records: the client's own if a header field can carry it."""

from __future__ import annotations

from random import getrandbits

_MAX_CHARS = 128


def new_request_id() -> str:
    """Return a new id in the form of a random UUID (RFC 9562 §5.4).

    It needs to be unique, not unguessable, so it does not use the system's random source.
    """
    bits = f"{getrandbits(128):032x}"
    variant = "89ab"[int(bits[16], 16) & 3]
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{variant}{bits[17:20]}-{bits[20:]}"


def request_id(given: str | None) -> str:
    """Return ``given`` if it is printable ASCII of at most 128 characters, else a new id."""
    if given and len(given) <= _MAX_CHARS and given.isascii() and given.isprintable():
        return given
    return new_request_id()
