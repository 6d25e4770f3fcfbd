"""The request body, read once: what it asks for, and its bytes with a hole where the model goes.

Only ``model`` changes on the way up. Every other member keeps its exact bytes and order, so numbers
no float can hold, escapes and white space survive, and equal requests stay equal (the platform
bills repeats less).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from autopilot.request.json_fast import BodyFields, glance
from autopilot.request.json_scan import (
    MAX_MEMBERS,
    InvalidJSONError,
    Member,
    NotAnObjectError,
    TooManyMembersError,
    members,
)
from autopilot.request.lenient import value_of
from autopilot.request.prompt_length import tokens_beyond
from autopilot.routing.requirements import NOTHING, Needs
from autopilot.routing.router_error import RouterError

# OpenAI's API takes null for "not given"; the platform answers these two with an error.
_DROPPED_WHEN_NULL = ("stream", "stream_options")
_BLANKS = " \t\r\n\v\f"
_PART_KINDS = {
    "image_url": "images",
    "input_image": "images",
    "image": "images",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
    "input_video": "video",
}
_PART_HINTS = (b"image", b"audio", b"video")
_LETTER_AS_ESCAPE = b"\\u00"
_FORMATS = {"json_schema": "json_schema", "json_object": "json_mode"}
# Bytes from which on a view of a body is cheaper than a copy of it.
_LARGE = 16384


# A list, and not an empty one; what begins with a number holds no tools.
_TOOLS = re.compile(rb"\[[ \t\r\n]*+[^\]\-0-9]")


class _Typed(msgspec.Struct, gc=False):
    type: str = ""


_text = msgspec.json.Decoder(str)
_typed = msgspec.json.Decoder(_Typed)


class BodyTemplate(msgspec.Struct, frozen=True, gc=False):
    """A request body with a hole, from ``start`` to ``end``, where the value of ``model`` goes."""

    whole: bytes
    start: int
    end: int

    def pieces(self, model: str) -> tuple[bytes | memoryview, bytes, bytes | memoryview]:
        """The body for ``model``, to be joined; nothing large is copied before that."""
        whole = self.whole if len(self.whole) < _LARGE else memoryview(self.whole)
        return whole[: self.start], msgspec.json.encode(model), whole[self.end :]

    def naming(self, model: str) -> bytes:
        """The body for ``model``."""
        return b"".join(self.pieces(model))

    def __len__(self) -> int:
        return len(self.whole) - (self.end - self.start)

    def __repr__(self) -> str:
        return f"HoledBody(start={self.start}, end={self.end})"


class ParsedBody(msgspec.Struct, frozen=True, gc=False):
    """What a client asks for."""

    model: str
    stream: bool
    body: BodyTemplate
    seen: BodyFields

    def needs(self, least_context: int | None = None) -> Needs:
        """What a model must be able to do to answer.

        A prompt counts as long when it surely has more tokens than ``least_context``, the shortest
        context that is known of any model. It takes a second look at the body, so it is asked only
        where the router chooses the model.
        What has an absurd shape is no need: the platform will say what it thinks of it.
        """
        seen = self.seen
        needed: dict[str, Any] = {}
        if _may_hold_parts(self.body.whole):
            needed.update(dict.fromkeys(_part_kinds(seen), True))
        if seen.tools and _TOOLS.match(seen.tools):
            needed["tools"] = True
        if seen.response_format and (wanted := _format(seen.response_format)):
            needed[wanted] = True
        for limit in (seen.max_completion_tokens, seen.max_tokens, seen.max_output_tokens):
            if limit and type(tokens := value_of(limit)) is int:
                needed["completion_tokens"] = tokens
                break
        if least_context is not None and len(self.body) > 2 * least_context:  # a word and its blank
            needed["prompt_tokens"] = tokens_beyond(seen, least_context)
        return Needs(**needed) if needed else NOTHING


def read(body: bytes) -> ParsedBody | RouterError:
    """Read a request body. Every kind of bad input is a 400 with its own code, never an exception.

    Codes: ``invalid_json``, ``invalid_body`` (not an object, or absurdly many members),
    ``missing_model`` (absent, null, empty or blank) and ``invalid_model`` (not text).
    """
    glanced = glance(body)
    if glanced is None:
        return _read_closely(body)
    model = _model(glanced.seen.model)
    if isinstance(model, RouterError):
        return model
    return _asking(model, BodyTemplate(body, glanced.start, glanced.end), glanced.seen)


def _read_closely(body: bytes) -> ParsedBody | RouterError:
    """Read a body that is bad, or that must lose some of its members, or is merely unusual."""
    try:
        found = members(body)
    except NotAnObjectError:
        return RouterError(400, "invalid_body", "The request body must be a JSON object.")
    except TooManyMembersError:
        message = f"The request body has more than the {MAX_MEMBERS} members allowed."
        return RouterError(400, "invalid_body", message)
    except InvalidJSONError as error:
        return RouterError(400, "invalid_json", f"The request body is not valid JSON: {error}.")
    kept = _kept(body, found)
    seen = BodyFields.of({member.key: body[member.value : member.end] for member in kept})
    model = _model(seen.model)
    if isinstance(model, RouterError):
        return model
    return _asking(model, _holed(body, found, kept), seen)


def _asking(model: str, body: BodyTemplate, seen: BodyFields) -> ParsedBody:
    return ParsedBody(model, bytes(seen.stream) == b"true", body, seen)


def _kept(body: bytes, found: Sequence[Member]) -> list[Member]:
    """The members that go up: of several ``model``\\ s the last, as every common parser reads it.

    Where the last of several members is dropped because it is null, the others go with it: they
    meant nothing behind it and would come back to life.
    """
    last = {member.key: member for member in found}
    dropped = {key for key in _DROPPED_WHEN_NULL if key in last and _is_null(body, last[key])}
    return [
        member
        for member in found
        if (member is last["model"] if member.key == "model" else member.key not in dropped)
        and not (member.key in _DROPPED_WHEN_NULL and _is_null(body, member))
    ]


def _is_null(body: bytes, member: Member) -> bool:
    return body[member.value : member.end] == b"null"


def _model(raw: Raw) -> str | RouterError:
    try:
        model = _text.decode(raw) if raw else ""
    except msgspec.ValidationError:
        if bytes(raw) != b"null":
            return RouterError(400, "invalid_model", "'model' must be a string.", "model")
        model = ""
    except msgspec.DecodeError:  # half of a surrogate pair is JSON, but no text
        return RouterError(400, "invalid_model", "'model' must be valid Unicode text.", "model")
    if not model.strip(_BLANKS):
        message = "The request body must name a model in its member 'model'."
        return RouterError(400, "missing_model", message, "model")
    return model


def _holed(body: bytes, found: Sequence[Member], kept: Sequence[Member]) -> BodyTemplate:
    """The bytes of the members that are kept, around the value of the one ``model`` among them."""
    if len(kept) == len(found):
        hole = next(member for member in kept if member.key == "model")
        return BodyTemplate(body, hole.value, hole.end)
    before, after = [body[: found[0].start]], list[bytes]()
    side = before
    for place, member in enumerate(kept):
        start = member.comma if place else member.start
        if member.key == "model":
            before.append(body[start : member.value])
            side = after
        else:
            side.append(body[start : member.end])
    after.append(body[found[-1].end :])
    place = sum(map(len, before))
    return BodyTemplate(b"".join(before + after), place, place)


def _format(raw: Raw) -> str | None:
    """The need that a ``response_format`` makes, if it makes one."""
    try:
        kind = _typed.decode(raw).type
    except (ValueError, RecursionError):
        shape = value_of(raw)
        kind = str(shape.get("type")) if isinstance(shape, dict) else ""
    return _FORMATS.get(kind)


def _may_hold_parts(body: bytes) -> bool:
    """Whether there can be content parts that are not text, as far as a search can tell."""
    if body.find(b"[", body.find(b"[") + 1) < 0:  # they are lists in the list of messages
        return False
    if _LETTER_AS_ESCAPE in body:
        return True
    return b'"type"' in body and any(hint in body for hint in _PART_HINTS)


def _part_kinds(seen: BodyFields) -> Iterator[str]:
    """Which kinds of content parts other than text the conversation holds."""
    for text in (seen.messages, seen.input):
        if text:
            for message in _dicts(value_of(text)):
                for part in _dicts(message.get("content")):
                    yield from _kinds_of(part)


def _kinds_of(part: Mapping[str, Any]) -> Iterator[str]:
    """The kind of a part, or of those within it: a tool may answer with pictures."""
    for each in (part, *_dicts(part.get("content"))):
        if (kind := _PART_KINDS.get(str(each.get("type")))) is not None:
            yield kind


def _dicts(value: object) -> list[dict[str, Any]]:
    """The objects in a list; none in anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
