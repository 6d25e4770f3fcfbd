"""The id of a request in responses and records: the client's own where a header can carry it."""

from __future__ import annotations

from uuid import uuid4

_LONGEST = 128


def new_request_id() -> str:
    """A fresh id."""
    return str(uuid4())


def request_id(given: str | None) -> str:
    """``given`` if it is printable ASCII of at most 128 characters, else a fresh id."""
    if given and len(given) <= _LONGEST and given.isascii() and given.isprintable():
        return given
    return new_request_id()
