"""The value of an event's data or of a plain answer, whose memory stays bounded if it is long."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import islice
from typing import Any

import msgspec
from msgspec import Raw, Struct

from autopilot.request.json_scan import value_of, without_surrogates

# Longer documents are not decoded as a whole, see `document_value`.
MAX_DECODED = 65536
_MAX_MEMBER = 16384
_MAX_CHOICES = 128  # the most that OpenAI allows
# The constants that msgspec rejects although servers send them, see `value_of`, and as long a text
# with a number in place of each. It begins with a blank, so that no other number goes on with it.
_CONSTANTS = ((b"-Infinity", b" 0       "), (b"Infinity", b" 0      "), (b"NaN", b" 0 "))
_LONG = "..."  # in place of a member over `_MAX_MEMBER`, of which only matters that it is not empty


class _LongResponse(Struct, gc=False):
    status: Raw = Raw()
    error: Raw = Raw()


class _LongDocument(Struct, gc=False):
    """The members that are read of an event or a plain answer."""

    object: Raw = Raw()
    type: Raw = Raw()
    error: Raw = Raw()
    detail: Raw = Raw()
    code: Raw = Raw()
    message: Raw = Raw()
    status: Raw = Raw()
    stop_reason: Raw = Raw()
    choices: Raw = Raw()
    content: Raw = Raw()
    output: Raw = Raw()
    delta: Raw = Raw()
    response: Raw = Raw()


_raw = msgspec.json.Decoder(Raw)
_long_document = msgspec.json.Decoder(_LongDocument)
_long_response = msgspec.json.Decoder(_LongResponse)
_FINISH_REASON = re.compile(rb'"finish_reason"[ \t\r\n]*+:[ \t\r\n]*+"([a-z_]{1,32})"')


def document_value(data: bytes) -> Any:
    """Return the value of an event's data, or of a plain answer, as `value_of` does.

    Of one over 64 KiB only the members that matter are decoded: objects for all of it would take
    many times its memory and hold up other requests.
    """
    if len(data) <= MAX_DECODED:
        return value_of(data)
    try:
        try:
            return _long_value(data)
        except ValueError:
            mended = _mended(data)
            return None if mended is data else _long_value(mended)
    except (ValueError, RecursionError):
        return None


def _mended(data: bytes) -> bytes:
    """Return a document without what msgspec rejects; itself if it has nothing of that.

    A document may consist of it, so it is replaced by as many bytes: no object is made for each,
    and the result is the only copy.
    """
    for rejected, number in _CONSTANTS:
        data = data.replace(rejected, number)
    return without_surrogates(data)


def _long_value(data: bytes) -> Any:
    try:
        document = _long_document.decode(data)
    except msgspec.ValidationError:
        _raw.decode(data)
        return []  # not an object; what it is does not matter
    value = _members(document)
    if "choices" in value:
        value["choices"] = _choices(document.choices)
    if "response" in value:
        with suppress(msgspec.ValidationError):  # then it is of no use, but there
            value["response"] = _members(_long_response.decode(document.response))
    return value


def _choices(raw: Raw) -> Any:
    """Return the choices of a long document; of many, only how they finished.

    An upstream that sends 100,000 empty ones must not have an object made for each.
    """
    if len(raw) <= MAX_DECODED:
        return value_of(raw)
    found = islice(_FINISH_REASON.finditer(raw), _MAX_CHOICES)
    reasons: list[str | None] = [str(each[1], "ascii") for each in found]
    return [
        {"index": index, "finish_reason": reason, "text": _LONG}
        for index, reason in enumerate(reasons or [None])
    ]


def _members(document: Struct) -> dict[str, Any]:
    """Return the members that are there, each by its value or, if that is long, by `_LONG`."""
    found = {}
    for name in document.__struct_fields__:
        raw = getattr(document, name)
        if raw:
            found[name] = value_of(raw) if len(raw) <= _MAX_MEMBER else _LONG
    return found
