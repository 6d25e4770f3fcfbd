"""The members of a request body that the router looks at, found in two fast decodes.

A decoder gives values and hides where they stand. So a place is guessed, and then proven: the key
there is respelled, and if the object then has no such member any more, it stood there and nowhere
else. No escape, no nesting and no repeated key can pass for it. Whatever is out of the ordinary is
left to those who read member by member.
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


class BodyFields(msgspec.Struct, frozen=True, gc=False):
    """What the router looks at in a body: JSON texts, empty where there is no such member."""

    model: Raw = _ABSENT
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
        """The same of members that were found one by one."""
        found = (name for name in cls.__struct_fields__ if name in values)
        return cls(**{name: Raw(values[name]) for name in found})

    def __repr__(self) -> str:
        return "Seen()"


class Glance(msgspec.Struct, frozen=True, gc=False):
    """What is seen of a body, and from where to where the value of its one ``model`` lies."""

    seen: BodyFields
    start: int
    end: int


class _Handled(msgspec.Struct, gc=False):
    """The members that may have to be taken out."""

    model: Raw = _ABSENT
    stream: Raw = _ABSENT
    stream_options: Raw = _ABSENT


_seen = msgspec.json.Decoder(BodyFields)
_handled = msgspec.json.Decoder(_Handled)


def glance(body: bytes) -> Glance | None:
    """A JSON object in which nothing but the value of ``model`` has to change.

    ``None`` says only that a closer look is needed: the body may still be a good one.
    """
    try:
        return _glance(body)
    except (ValueError, RecursionError):  # the decoder's own errors are of the first kind
        return None


def _glance(body: bytes) -> Glance | None:
    seen = _seen.decode(body)
    if not body.isascii():
        str(body, "utf-8")
    if not seen.model or _is_null(seen.stream) or _is_null(seen.stream_options):
        return None
    place = None if _may_be_crowded(body, seen) else _proven(body, seen)
    if place is None:
        return None
    colon = _COLON.match(body, place + len(b'"model"'))
    assert colon is not None
    return Glance(seen, colon.end(), colon.end() + len(seen.model))


def _is_null(raw: Raw) -> bool:
    return len(raw) == len(b"null") and bytes(raw) == b"null"


def _may_be_crowded(body: bytes, seen: BodyFields) -> bool:
    """Whether there is room for more members than allowed beside those that are seen."""
    if len(body) <= _SMALL:
        return False
    large = (seen.messages, seen.input, seen.prompt, seen.tools)
    return len(body) - sum(map(len, large)) > _SMALL


def _proven(body: bytes, seen: BodyFields) -> int | None:
    """Where the key ``model`` stands, if it and the others that are handled stand there once."""
    respelled = bytearray(body)
    skipped = len(seen.messages) or len(seen.input) or len(seen.prompt)
    place = _respell(respelled, b'"model"', skipped)
    if place < 0:
        return None
    if seen.stream:
        _respell(respelled, b'"stream"', skipped)
    if seen.stream_options:
        _respell(respelled, b'"stream_options"', skipped)
    left = _handled.decode(respelled)
    return None if left.model or left.stream or left.stream_options else place


def _respell(text: bytearray, key: bytes, skipped: int) -> int:
    """Change ``key`` into another one, where it is most likely a member's; at which place, or -1.

    What is not part of a value ``skipped`` bytes long lies that far from one end or the other.
    """
    place = text.rfind(key, skipped)
    if place < 0:
        place = text.find(key, 0, len(text) - skipped)
    if place >= 0:
        text[place + 1] = _OTHER_LETTER
    return place
