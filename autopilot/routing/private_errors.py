"""The meaning of the platform's errors on the way of sealed requests, by status and text.

An instance's status is repeated as the platform's own, so that a status has several causes, which
only the text tells apart. What the engine itself says is sealed, or lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from autopilot.routing.error_text import read_error


class PrivateError(StrEnum):
    """A kind of error.

    RELAYED: about the client's account or its calls, as on the plain path. OURS: the platform did
    not understand the sealed request, or says what it is not known to say; no seal vouches for its
    words, so that a client must not read them. REJECTED: the engine refused what the client asks.
    STREAM_ONLY, NOT_SERVED: the instance, or the model, does not answer such requests.
    """

    __hash__ = str.__hash__  # of an enum it is a call of Python

    RELAYED = "relayed"
    OURS = "ours"
    REJECTED = "rejected"
    NONCE = "nonce"
    INSTANCE_GONE = "instance_gone"
    KEY_CHANGED = "key_changed"
    CAPACITY = "capacity"
    TROUBLE = "trouble"
    MODEL_ABSENT = "model_absent"
    STREAM_ONLY = "stream_only"
    NOT_SERVED = "not_served"


_BY_TEXT: Final[Mapping[str, PrivateError]] = {
    "Invalid, expired, or already-used nonce": PrivateError.NONCE,
    "Instance not found": PrivateError.INSTANCE_GONE,
    "Instance does not belong to the specified chute": PrivateError.INSTANCE_GONE,
    "Instance is no longer active": PrivateError.INSTANCE_GONE,
    "Chute not found": PrivateError.MODEL_ABSENT,
    "This chute is currently disabled.": PrivateError.MODEL_ABSENT,
    "Instance is at maximum capacity, try again later": PrivateError.CAPACITY,
    "Infrastructure is at maximum capacity, try again later": PrivateError.CAPACITY,
    "Empty request body": PrivateError.OURS,
}
_STREAM_ONLY: Final = "Non-streaming E2E requests require"
_UNOPENED: Final = "E2E decryption failed"
_BY_INSTANCE: Final = re.compile(r"Instance returned status ([0-9]{3})")
_INSTANCE_STATUS: Final[Mapping[str, PrivateError]] = {
    "400": PrivateError.REJECTED,
    "403": PrivateError.NOT_SERVED,
    "413": PrivateError.REJECTED,
    "422": PrivateError.REJECTED,
    "429": PrivateError.CAPACITY,
}
# What the engine says is sealed for the transport once more, and cannot be read.
_SEALED: Final = re.compile(r"[A-Za-z0-9+/=_-]{100,}")
_FIRST_FAULT: Final = 500
# A 408 closes a connection that was idle; the request may have been read all the same.
_BY_STATUS: Final[Mapping[int, PrivateError]] = {
    401: PrivateError.RELAYED,
    402: PrivateError.RELAYED,
    403: PrivateError.RELAYED,
    404: PrivateError.TROUBLE,
    408: PrivateError.TROUBLE,
    410: PrivateError.INSTANCE_GONE,
    413: PrivateError.REJECTED,
    429: PrivateError.RELAYED,
}
_OURS: Final = PrivateError.OURS


def private_error(status: int, body: bytes) -> PrivateError:
    """Return the kind of an error response; a ``body`` that is cut or no JSON has no text."""
    detail = read_error(body).get("detail")
    text = detail.strip() if isinstance(detail, str) else ""
    known = _BY_TEXT.get(text)
    if known is not None:
        return known
    said = _BY_INSTANCE.fullmatch(text)
    if said is not None:
        return _INSTANCE_STATUS.get(said[1], PrivateError.TROUBLE)
    if status == 400:
        return _of_400(text)
    return PrivateError.TROUBLE if status >= _FIRST_FAULT else _BY_STATUS.get(status, _OURS)


def _of_400(text: str) -> PrivateError:
    if text.startswith(_STREAM_ONLY):
        return PrivateError.STREAM_ONLY
    if _SEALED.fullmatch(text):
        return PrivateError.REJECTED
    if _UNOPENED in text:
        return PrivateError.KEY_CHANGED
    return PrivateError.OURS
