"""Fast scanner of the request body's relevant members, with two decodes by msgspec.

A decoder returns values without their offsets. The offset of a key is known if the body holds its
text only once and no escape that could spell it. Otherwise the scanner guesses the offset and
proves it: it changes a letter of the key there and decodes again. If the object then lacks the
member, the key was at that offset and nowhere else; no escape, nesting or duplicate key passes this
test. Unusual bodies are left to `json_scan`, which reads member by member.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw, structs

from autopilot.request.json_scan import (
    DECODED_AT_ONCE,
    MAX_MEMBERS,
    begins_with_a_crowd,
    is_utf8,
    without_surrogates,
)

_ABSENT = Raw()
# A body of this size cannot hold more than `MAX_MEMBERS` members, however short they are.
_SMALL = MAX_MEMBERS * len('"":1,')
_JUST_ABOVE = _SMALL + 1
_OTHER_LETTER = ord("-")
_NULL = Raw(b"null")
_MODEL_KEY, _STREAM_KEY, _OPTIONS_KEY = b'"model"', b'"stream"', b'"stream_options"'
_BOTH_STREAM_KEYS = b'"stream'
_BACKSLASH = ord("\\")  # an int: `in` finds it in bytes at a third of the cost
_LETTER_ESCAPE = b"\\u"  # the only escape that can spell a letter (RFC 8259 §7)
_HANDLED_KEYS = (_MODEL_KEY, _STREAM_KEY, _OPTIONS_KEY)


class BodyFields(msgspec.Struct, frozen=True, gc=False):
    """The members that the router inspects, as JSON texts; empty if absent."""

    model: Raw = _ABSENT
    models: Raw = _ABSENT
    stream: Raw = _ABSENT
    stream_options: Raw = _ABSENT
    messages: Raw = _ABSENT
    input: Raw = _ABSENT
    system: Raw = _ABSENT
    instructions: Raw = _ABSENT
    prompt: Raw = _ABSENT
    tools: Raw = _ABSENT
    response_format: Raw = _ABSENT
    max_completion_tokens: Raw = _ABSENT
    max_tokens: Raw = _ABSENT
    max_output_tokens: Raw = _ABSENT
    n: Raw = _ABSENT
    prompt_cache_key: Raw = _ABSENT
    session_id: Raw = _ABSENT

    @classmethod
    def of(cls, values: Mapping[str, bytes | memoryview]) -> BodyFields:
        """Return the fields from the texts of members by key."""
        found = (name for name in cls.__struct_fields__ if name in values)
        return cls(**{name: Raw(values[name]) for name in found})

    def __repr__(self) -> str:
        return "BodyFields()"


class FastScan(msgspec.Struct, frozen=True, gc=False):
    """The fields of a body, and the offsets of the value of its only ``model``."""

    fields: BodyFields
    start: int
    end: int


class _Handled(msgspec.Struct, gc=False):
    """The members that the router changes or removes."""

    model: Raw = _ABSENT
    stream: Raw = _ABSENT
    stream_options: Raw = _ABSENT


_fields = msgspec.json.Decoder(BodyFields)
_handled = msgspec.json.Decoder(_Handled)


def scan_fast(body: bytes) -> FastScan | None:
    """Return the scan of a JSON object in which only the value of ``model`` has to change.

    ``None`` means that the slow scanner must decide; the body may still be valid.
    """
    # Before decoding them all. The test for a large body costs less than a call of `len`.
    if body[_SMALL:_JUST_ABOVE] and begins_with_a_crowd(body):
        return None
    try:
        fields = _fields.decode(body)
        if not body.isascii():
            if len(body) <= DECODED_AT_ONCE:
                str(body, "utf-8")
            elif not is_utf8(body):
                return None
        if not fields.model or fields.models:
            return None
        streams = fields.stream or fields.stream_options
        if streams and (fields.stream == _NULL or fields.stream_options == _NULL):
            return None
        if len(body) > _SMALL and _may_have_many_members(body, fields):
            return None
        place = _place_of_model(body, fields)
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        return _scan_without_surrogates(body)
    if place < 0:
        return None
    # Between a key and its value are only blanks and a colon, with which no value begins.
    start = body.find(fields.model, place + len(_MODEL_KEY))
    return FastScan(fields, start, start + len(fields.model))


def _scan_without_surrogates(body: bytes) -> FastScan | None:
    """Return the scan of a body that msgspec rejects, if only for half of a surrogate pair."""
    text = without_surrogates(body)
    found = None if text is body else scan_fast(text)
    if found is None:
        return None
    model = Raw(body[found.start : found.end])
    return FastScan(structs.replace(found.fields, model=model), found.start, found.end)


def _may_have_many_members(body: bytes, fields: BodyFields) -> bool:
    """Return whether the bytes outside the large fields could hold too many members.

    Each member has a colon. To count those costs a fraction of the second decode that is saved.
    """
    large = (fields.messages, fields.input, fields.prompt, fields.tools)
    return len(body) - sum(map(len, large)) > _SMALL and body.count(b":") > MAX_MEMBERS


def _place_of_model(body: bytes, fields: BodyFields) -> int:
    """Return the offset of the key ``model``; -1 if a handled key may occur twice."""
    # In all alternatives the first test usually suffices, and is the cheapest.
    if (
        body.count(_MODEL_KEY) == 1
        and (
            not (fields.stream or fields.stream_options)
            or body.count(_BOTH_STREAM_KEYS) < 2
            or (body.count(_STREAM_KEY) < 2 and body.count(_OPTIONS_KEY) < 2)
        )
        and (_BACKSLASH not in body or body.find(_LETTER_ESCAPE) < 0)
    ):
        return body.find(_MODEL_KEY)
    return _prove_place(body, fields)


def _prove_place(body: bytes, fields: BodyFields) -> int:
    """Return the offset of the key ``model``; -1 if a handled key may occur twice.

    The search leaves out the largest value, in which the key would be text: with a value of
    ``skipped`` bytes, a key before it lies at least that far from the end, and one behind it at
    least that far from the start.
    """
    altered = bytearray(body)
    skipped = len(fields.messages) or len(fields.input) or len(fields.prompt)
    found = -1
    for key in _HANDLED_KEYS:
        if key == _STREAM_KEY and not fields.stream:
            continue
        if key == _OPTIONS_KEY and not fields.stream_options:
            continue
        place = altered.rfind(key, skipped)
        if place < 0:
            place = altered.find(key, 0, len(altered) - skipped)
        if place >= 0:
            altered[place + 1] = _OTHER_LETTER
        if key == _MODEL_KEY:
            found = place
            if place < 0:
                return -1
    remaining = _handled.decode(altered)
    return -1 if remaining.model or remaining.stream or remaining.stream_options else found
