"""The request id of responses and records: the client's own if a header field can carry it."""

from __future__ import annotations

from collections.abc import Sequence
from random import getrandbits

REQUEST_ID = b"x-request-id"
"""The lower-case name of the field that carries the id, in requests and responses."""

_MAX_CHARS = 128
# Version 4 and variant 10 of RFC 9562 §4, as tools that parse the id expect. The digits between are
# those of the process: the others suffice, and each group costs a slice.
_MIDDLE = f"-4{getrandbits(12):03x}-a{getrandbits(12):03x}-"


def request_id(values: Sequence[bytes]) -> str:
    """Return the id of a request, given the values of its ``x-request-id`` fields.

    The last value counts if it is printable ASCII of at most 128 characters. Otherwise the id is
    new, in the form of a random UUID (RFC 9562 §5.4); it needs to be unique, not unguessable, so it
    does not use the system's random source.
    """
    if values:
        received = values[-1].decode("latin-1")
        if 0 < len(received) <= _MAX_CHARS and received.isascii() and received.isprintable():
            return received
    digits = getrandbits(96).to_bytes(12, "big").hex()
    return f"{digits[:8]}-{digits[8:12]}{_MIDDLE}{digits[12:]}"
