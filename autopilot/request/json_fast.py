"""The members of a request body that the router looks at, found in two fast decodes.

A decoder gives values and hides where they stand. So the place of a key is guessed and then proven:
the key there is respelled, and if the object then has no such member any more, it stood there and
nowhere else. No escape, nesting or repeated key can pass for it. Whatever is unusual is left to the
scanner that reads member by member.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec import Raw

from autopilot.request.json_scan import MAX_MEMBERS

_ABSENT = Raw()
# So many bytes cannot hold more members than are allowed, whatever they are.
_SMALL = MAX_MEMBERS * len('"":1,')
_COLON = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+")
_OTHER_LETTER = ord("-")
_NULL = b"null"
_MODEL_KEY, _STREAM_KEY, _OPTIONS_KEY = b'"model"', b'"stream"', b'"stream_options"'
_HANDLED_KEYS = (_MODEL_KEY, _STREAM_KEY, _OPTIONS_KEY)


class BodyFields(msgspec.Struct, frozen=True, gc=False):
    """The members that the router looks at: JSON texts, empty where there is no such member."""

    model: Raw = _ABSENT
    models: Raw = _ABSENT
    stream: Raw = _ABSENT
    stream_options: Raw = _ABSENT
    messages: Raw = _ABSENT
    input: Raw = _ABSENT
    prompt: Raw = _ABSENT
    tools: Raw = _ABSENT
    response_format: Raw = _ABSENT
    max_completion_tokens: Raw = _ABSENT
    max_tokens: Raw = _ABSENT
    max_output_tokens: Raw = _ABSENT

    @classmethod
    def of(cls, values: Mapping[str, bytes]) -> BodyFields:
        """Return the fields of members that were found one by one."""
        found = (name for name in cls.__struct_fields__ if name in values)
        return cls(**{name: Raw(values[name]) for name in found})

    def __repr__(self) -> str:
        return "BodyFields()"


class FastScan(msgspec.Struct, frozen=True, gc=False):
    """The fields of a body, and from where to where the value of its one ``model`` lies."""

    fields: BodyFields
    start: int
    end: int


class _Handled(msgspec.Struct, gc=False):
    """The members that may have to be taken out."""

    model: Raw = _ABSENT
    stream: Raw = _ABSENT
    stream_options: Raw = _ABSENT


_fields = msgspec.json.Decoder(BodyFields)
_handled = msgspec.json.Decoder(_Handled)


def scan_fast(body: bytes) -> FastScan | None:
    """Return a scan of a JSON object in which nothing but the value of ``model`` has to change.

    ``None`` says only that a closer look is needed: the body may still be valid.
    """
    try:
        fields = _fields.decode(body)
        if not body.isascii():
            str(body, "utf-8")
        if (
            not fields.model
            or fields.models
            or _NULL in (bytes(fields.stream), bytes(fields.stream_options))
        ):
            return None
        if len(body) > _SMALL and _may_have_many_members(body, fields):
            return None
        place = _prove_place(body, fields)
    except (ValueError, RecursionError):  # the decoder's own errors are ValueErrors
        return None
    if place < 0:
        return None
    colon = _COLON.match(body, place + len(_MODEL_KEY))
    assert colon is not None
    return FastScan(fields, colon.end(), colon.end() + len(fields.model))


def _may_have_many_members(body: bytes, fields: BodyFields) -> bool:
    """Return whether more members than allowed could fit beside those that are known."""
    large = (fields.messages, fields.input, fields.prompt, fields.tools)
    return len(body) - sum(map(len, large)) > _SMALL


def _prove_place(body: bytes, fields: BodyFields) -> int:
    """Return where the key ``model`` stands; -1 if it or another handled key may stand twice.

    A key is most likely a member's where it is not inside the largest value: what is not part of a
    value ``skipped`` bytes long lies that far from one end or the other.
    """
    respelled = bytearray(body)
    skipped = len(fields.messages) or len(fields.input) or len(fields.prompt)
    found = -1
    for key in _HANDLED_KEYS:
        if key == _STREAM_KEY and not fields.stream:
            continue
        if key == _OPTIONS_KEY and not fields.stream_options:
            continue
        place = respelled.rfind(key, skipped)
        if place < 0:
            place = respelled.find(key, 0, len(respelled) - skipped)
        if place >= 0:
            respelled[place + 1] = _OTHER_LETTER
        if key == _MODEL_KEY:
            found = place
            if place < 0:
                return -1
    left = _handled.decode(respelled)
    return -1 if left.model or left.stream or left.stream_options else found
