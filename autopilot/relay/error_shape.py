"""Adds the ``error`` member that SDKs expect to JSON errors of the platform, which lack it.

The platform describes an error in ``detail``, while SDKs show ``error`` (contract §7). The member
is appended after the last one; every byte of the upstream is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from autopilot.http.error_bodies import status_type
from autopilot.request import json_scan
from autopilot.routing.retry_policy import is_json

if TYPE_CHECKING:
    from autopilot.http.dialect import Dialect
    from autopilot.http.response_parser import ResponseHead

MAX_SHAPED_BYTES = 65536
_FIRST_ERROR_STATUS = 400
_BLANKS = b" \t\r\n"


def may_lack_error(head: ResponseHead, begun: bytes, size: int) -> bool:
    """Return whether the complete body of an error might need an ``error`` member.

    ``begun`` is the part of the body that has arrived. If the result is false, waiting for the rest
    is pointless.
    """
    if head.status < _FIRST_ERROR_STATUS or head.coded or not is_json(head.content_type):
        return False
    if max(head.length or 0, size) > MAX_SHAPED_BYTES:
        return False
    start = begun.lstrip(_BLANKS)[:1]
    return not start or start == b"{"


def with_error(body: bytes, status: int, dialect: Dialect) -> bytes:
    """Return the body of an error with an ``error`` member in the dialect's format.

    A body is unchanged unless it is a JSON object with a text in ``detail`` and without ``error``.
    Of equal keys the last counts, as in the parsers of clients.
    """
    if len(body) > MAX_SHAPED_BYTES:
        return body
    try:
        members = json_scan.members(body)
    except ValueError:
        return body
    details = [member for member in members if member.key == "detail"]
    if not details or any(member.key == "error" for member in members):
        return body
    words = _words(json_scan.value_of(body[details[-1].value : details[-1].end]))
    if not words.strip():
        return body
    facts = {"type": status_type(status, dialect), "message": words, "param": None, "code": None}
    try:
        error = msgspec.json.encode(facts)
    except UnicodeEncodeError:  # half of a surrogate pair
        return body
    end = members[-1].end
    return b'%b,"error":%b%b' % (body[:end], error, body[end:])


def _words(detail: object) -> str:
    """Return the text of a ``detail``: a string, an engine's error object, or validation errors."""
    match detail:
        case str():
            return detail
        case {"message": str(message)}:
            return message
        case list():
            messages = (each.get("msg") for each in detail if isinstance(each, dict))
            return "; ".join(each for each in messages if isinstance(each, str))
    return ""
