"""The id of a request in responses and records: the client's own where a header can carry it."""

from __future__ import annotations

from random import getrandbits

_LONGEST = 128


def new_request_id() -> str:
    """A fresh id in the form of a random UUID; nobody has to be unable to guess it."""
    bits = f"{getrandbits(128):032x}"
    variant = "89ab"[int(bits[16], 16) & 3]
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{variant}{bits[17:20]}-{bits[20:]}"


def request_id(given: str | None) -> str:
    """``given`` if it is printable ASCII of at most 128 characters, else a fresh id."""
    if given and len(given) <= _LONGEST and given.isascii() and given.isprintable():
        return given
    return new_request_id()
