"""The request id of responses and records: the client's own if a header field can carry it."""

from __future__ import annotations

from collections.abc import Sequence
from random import getrandbits

_MAX_CHARS = 128


def new_request_id() -> str:
    """Return a new id in the form of a random UUID (RFC 9562 §5.4).

    It needs to be unique, not unguessable, so it does not use the system's random source.
    """
    bits = f"{getrandbits(128):032x}"
    # Version 4 and variant 10 of RFC 9562 §4, as tools that parse the id expect.
    variant = "89ab"[int(bits[16], 16) & 3]
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{variant}{bits[17:20]}-{bits[20:]}"


def received_request_id(values: Sequence[bytes]) -> str:
    """Return the id of a request with these ``x-request-id`` fields; the last one counts."""
    return request_id(values[-1].decode("latin-1")) if values else new_request_id()


def request_id(given: str | None) -> str:
    """Return ``given`` if it is printable ASCII of at most 128 characters, else a new id."""
    if given and len(given) <= _MAX_CHARS and given.isascii() and given.isprintable():
        return given
    return new_request_id()
