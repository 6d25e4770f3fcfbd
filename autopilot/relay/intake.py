"""The request body, read once: what it asks for, and its bytes with a hole where the model goes.

Only ``model`` changes on the way up. Every other member keeps its exact bytes and order, so numbers
no float can hold, escapes and white space survive, and equal requests stay equal (the platform
bills repeats less).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from autopilot.relay.lenient import value_of
from autopilot.relay.members import (
    MAX_MEMBERS,
    InvalidJSONError,
    Member,
    NotAnObjectError,
    TooManyMembersError,
    members,
)
from autopilot.routing.needs import Needs
from autopilot.routing.refusal import Refusal

# OpenAI's API takes null for "not given"; the platform answers these two with an error.
_DROPPED_WHEN_NULL = ("stream", "stream_options")
_BLANKS = " \t\r\n\v\f"
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_PART_KINDS = {
    "image_url": "images",
    "input_image": "images",
    "image": "images",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
    "input_video": "video",
}
_PART_HINTS = (b"image", b"audio", b"video", b"\\u")  # a letter may be spelled as an escape
_FORMATS = {"json_schema": "json_schema", "json_object": "json_mode"}


@dataclass(frozen=True, slots=True)
class HoledBody:
    """A request body with a hole where the value of ``model`` goes."""

    before: bytes = field(repr=False)
    after: bytes = field(repr=False)

    def naming(self, model: str) -> bytes:
        """The body for ``model``."""
        return b"%b%b%b" % (self.before, msgspec.json.encode(model), self.after)

    def __len__(self) -> int:
        return len(self.before) + len(self.after)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client asks for. ``values`` are the members' own JSON texts by key."""

    model: str
    stream: bool
    body: HoledBody
    values: Mapping[str, bytes] = field(repr=False)

    def needs(self) -> Needs:
        """What a model must be able to do to answer.

        It takes a second look at the body, so it is asked only where the router chooses the model.
        What has an absurd shape is no need: the platform will say what it thinks of it.
        """
        needed: dict[str, Any] = dict.fromkeys(_part_kinds(self.values), True)
        tools = self._value("tools")
        if isinstance(tools, list) and tools:
            needed["tools"] = True
        shape = self._value("response_format")
        if isinstance(shape, dict) and (wanted := _FORMATS.get(str(shape.get("type")))):
            needed[wanted] = True
        limits = (limit for name in _LIMITS if type(limit := self._value(name)) is int)
        return Needs(**needed, completion_tokens=next(limits, None))

    def _value(self, name: str) -> Any:
        return value_of(self.values.get(name, b"null"))


def read(body: bytes) -> Ask | Refusal:
    """Read a request body. Every kind of bad input is a 400 with its own code, never an exception.

    Codes: ``invalid_json``, ``invalid_body`` (not an object, or absurdly many members),
    ``missing_model`` (absent, null, empty or blank) and ``invalid_model`` (not text).
    """
    try:
        found = members(body)
    except NotAnObjectError:
        return Refusal(400, "invalid_body", "The request body must be a JSON object.")
    except TooManyMembersError:
        message = f"The request body has more than the {MAX_MEMBERS} members allowed."
        return Refusal(400, "invalid_body", message)
    except InvalidJSONError as error:
        return Refusal(400, "invalid_json", f"The request body is not valid JSON: {error}.")
    kept = _kept(body, found)
    values = {member.key: body[member.value : member.end] for member in kept}
    model = _model(values.get("model", b"null"))
    if isinstance(model, Refusal):
        return model
    return Ask(
        model=model,
        stream=values.get("stream") == b"true",
        body=_holed(body, found, kept),
        values=values,
    )


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


def _model(raw: bytes) -> str | Refusal:
    if raw != b"null" and not raw.startswith(b'"'):
        return Refusal(400, "invalid_model", "'model' must be a string.", "model")
    model = str(json.loads(str(raw, "utf-8")) or "")
    if not model.isascii() and any("\ud800" <= character <= "\udfff" for character in model):
        return Refusal(400, "invalid_model", "'model' must be valid Unicode text.", "model")
    if not model.strip(_BLANKS):
        message = "The request body must name a model in its member 'model'."
        return Refusal(400, "missing_model", message, "model")
    return model


def _holed(body: bytes, found: Sequence[Member], kept: Sequence[Member]) -> HoledBody:
    """The bytes of the members that are kept, around the value of the one ``model`` among them."""
    if len(kept) == len(found):
        hole = next(member for member in kept if member.key == "model")
        return HoledBody(body[: hole.value], body[hole.end :])
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
    return HoledBody(b"".join(before), b"".join(after))


def _part_kinds(values: Mapping[str, bytes]) -> Iterator[str]:
    """Which kinds of content parts other than text the conversation holds."""
    for text in (values.get("messages", b""), values.get("input", b"")):
        if any(hint in text for hint in _PART_HINTS):
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
