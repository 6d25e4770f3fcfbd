"""Parser of request bodies: the members that routing needs, and a template for the upstream's body.

The router replaces the value of ``model``, and removes ``models`` or turns it into ``model``. Every
other member keeps its bytes and order (contract §2), so that large numbers, escapes and white space
survive, and equal requests stay equal (the platform bills cached prompts less).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from autopilot.request.conversation import Conversation, may_hold_parts
from autopilot.request.json_fast import BodyFields, scan_fast
from autopilot.request.json_scan import (
    MAX_MEMBERS,
    InvalidJSONError,
    Member,
    NotAnObjectError,
    TooManyMembersError,
    scan,
    value_of,
)
from autopilot.request.models import join_models, read_models
from autopilot.request.prompt_length import MAX_PROMPTS, prompts, tokens_beyond
from autopilot.routing.requirements import NOTHING, Needs
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import MAX_BYTES, MISSING_MODEL, TOO_LONG

# OpenAI's API treats null as absent; the platform rejects a null in these two members.
_DROPPED_WHEN_NULL = ("stream", "stream_options")
_NAMING = ("model", "models")
LARGE = 16384
"""Size in bytes above which a memoryview is cheaper than a copy."""
_BLANKS = " \t\r\n\v\f"
_FORMATS = {b'"json_schema"': "json_schema", b'"json_object"': "json_mode"}
_TRUE = Raw(b"true")
_QUOTE = ord('"')
_MOST_DIGITS = 19
# Bytes of a number or of a short string that are worth decoding.
_LONGEST_VALUE = 64
# More answers than any stream has.
_MANY = 1 << 30
# With its quotes. A selector of escapes is refused earlier than one without.
_MAX_RAW_MODEL = MAX_BYTES + 2


# A non-empty list. A list that begins with a number holds no tools.
_TOOLS = re.compile(rb"\[[ \t\r\n]*+[^\]\-0-9]")


class _Typed(msgspec.Struct, gc=False):
    type: Raw = Raw()


_encode = msgspec.json.encode
_text = msgspec.json.Decoder(str)
_typed = msgspec.json.Decoder(_Typed)


class BodyTemplate(msgspec.Struct, frozen=True, gc=False):
    """A request body in which the bytes from ``start`` to ``end`` are the value of ``model``."""

    asks_usage: ClassVar[bool] = False
    """Whether the router has added a request for usage."""
    whole: bytes
    start: int
    end: int
    size: int
    """Number of bytes without that value."""

    @classmethod
    def of(cls, whole: bytes, start: int, end: int) -> BodyTemplate:
        """Return the template of a body whose ``model`` value lies from ``start`` to ``end``."""
        return cls(whole, start, end, len(whole) - (end - start))

    def pieces(self, model: str) -> Sequence[bytes | memoryview]:
        """Return the parts of the body for ``model``: views of large ones, which a join copies."""
        whole: bytes | memoryview = self.whole
        if len(whole) >= LARGE:
            whole = memoryview(whole)
        return whole[: self.start], _encode(model), whole[self.end :]

    def naming(self, model: str) -> bytes:
        """Return the body for ``model``."""
        return b"".join(self.pieces(model))

    def __repr__(self) -> str:
        return f"BodyTemplate(start={self.start}, end={self.end})"


class SignedBody(BodyTemplate, frozen=True, gc=False):
    """A request body that is sent as it is, because a signature covers its bytes."""

    def pieces(self, model: str) -> Sequence[bytes | memoryview]:
        """Return the body, which has to name ``model`` already."""
        return self.whole, b"", b""


class ParsedBody(msgspec.Struct, frozen=True, gc=False):
    """A request body: its models, whether it requests a stream, and its other members."""

    model: str
    stream: bool
    template: BodyTemplate
    fields: BodyFields

    @property
    def choices(self) -> int:
        """The number of answers that the request asks for: ``n`` (else 1) for each prompt.

        Of very many prompts it is a number that no stream reaches.
        """
        fields = self.fields
        wanted = _number(fields.n) if fields.n else None
        answers = wanted if wanted is not None and wanted > 0 else 1
        several = prompts(fields.prompt) if fields.prompt else None
        if several is None:
            return answers
        return answers * len(several) if len(several) <= MAX_PROMPTS else _MANY

    @property
    def completion_limit(self) -> int | None:
        """The limit on the tokens of the answer, if the request has one."""
        fields = self.fields
        for limit in (fields.max_completion_tokens, fields.max_tokens, fields.max_output_tokens):
            if not limit:
                continue
            digits = bytes(limit)
            if digits.isdigit() and len(digits) < _MOST_DIGITS:  # the usual case
                return int(digits)
            if (tokens := _number(limit)) is not None:
                return tokens
        return None

    def needs(self, least_context: int | None = None) -> Needs:
        """Return the capabilities that a model needs for this request.

        The length of the prompt is a need if it certainly has more tokens than ``least_context``,
        the shortest context known of any model. This inspects the body a second time, so it is
        called only if the router chooses the model. A member of an unexpected type is ignored: the
        platform reports the error. So is one that is too dear to inspect: an unknown need excludes
        no model (contract §3).
        """
        fields, body = self.fields, self.template.whole
        needed: dict[str, Any] = {}
        # Content parts are lists in the list of messages, so a body with one bracket has none.
        conversation: Conversation | None = None
        if body.find(b"[", body.find(b"[") + 1) >= 0 and may_hold_parts(body):
            conversation = Conversation(body, fields.messages, fields.input)
            needed.update(dict.fromkeys(conversation.part_kinds(), True))
        if fields.tools and _TOOLS.match(fields.tools):
            needed["tools"] = True
        if fields.response_format and (output := _format(fields.response_format)):
            needed[output] = True
        limited = fields.max_completion_tokens or fields.max_tokens or fields.max_output_tokens
        if limited and (tokens := self.completion_limit) is not None:
            needed["completion_tokens"] = tokens
        # A word has at least two bytes, with its blank, so a shorter body holds fewer words.
        if least_context is not None and len(body) > 2 * least_context:
            conversation = conversation or Conversation(body, fields.messages, fields.input)
            needed["prompt_tokens"] = tokens_beyond(conversation, fields, least_context)
        return Needs(**needed) if needed else NOTHING


NO_BODY = ParsedBody("", False, BodyTemplate(b"", 0, 0, 0), BodyFields())
"""The body of a request that needs none any more."""


def parse_body(body: bytes) -> ParsedBody | RouterError:
    """Parse a request body, or return the error 400 with a code for each kind of invalid input.

    Codes: ``invalid_json``, ``invalid_body`` (not an object, or too many members),
    ``missing_model`` (absent, null, empty or blank), ``invalid_model`` (not a string) and
    ``invalid_model_list`` (``models`` is not a list of strings).
    """
    found = scan_fast(body)
    if found is None:
        return _parse_members(body)
    fields, start, end = found.fields, found.start, found.end
    if end - start > _MAX_RAW_MODEL and body[start] == _QUOTE:
        return TOO_LONG
    model = _model(fields.model)
    if isinstance(model, RouterError):
        return model
    template = BodyTemplate(body, start, end, len(body) - (end - start))
    return ParsedBody(model, fields.stream == _TRUE, template, fields)


def as_signed(parsed: ParsedBody, body: bytes) -> ParsedBody | None:
    """Return the same request with ``body`` unchanged; None if its models differ from those.

    ``parsed`` is from ``body``. A null that the platform may reject stays in it (contract §2), but
    router and platform must not see different models.
    """
    template = parsed.template
    if template.whole is not body and [
        member.key for member in scan(body)[0] if member.key in _NAMING
    ] != ["model"]:
        return None
    size = template.size
    return msgspec.structs.replace(parsed, template=SignedBody(body, len(body), len(body), size))


def _parse_members(body: bytes) -> ParsedBody | RouterError:
    """Parse a body that is invalid, has members to drop, or is unusual, member by member."""
    try:
        found, text = scan(body)
    except NotAnObjectError:
        return RouterError(400, "invalid_body", "The request body must be a JSON object.")
    except TooManyMembersError:
        message = f"The request body has more than the {MAX_MEMBERS} members allowed."
        return RouterError(400, "invalid_body", message)
    except InvalidJSONError as error:
        return RouterError(400, "invalid_json", f"The request body is not valid JSON: {error}.")
    last = {member.key: member for member in found}
    models = read_models(_value(body, last["models"])) if "models" in last else ()
    if isinstance(models, RouterError):
        return models
    kept = _kept(body, found, last, models)
    view = memoryview(text)
    fields = BodyFields.of(
        {
            member.key: (body if member.key == "model" else view)[member.value : member.end]
            for member in kept
        }
    )
    if len(fields.model) > _MAX_RAW_MODEL and memoryview(fields.model)[0] == _QUOTE:
        return TOO_LONG
    model = _model(fields.model, required=not models)
    if isinstance(model, RouterError):
        return model
    if models:
        model = join_models(model, models)
    return ParsedBody(model, fields.stream == _TRUE, _template(body, found, kept), fields)


def _kept(
    body: bytes, found: Sequence[Member], last: Mapping[str, Member], models: Sequence[str]
) -> list[Member]:
    """Return the members to forward.

    Of several ``model`` members only the last is kept, which common parsers use (RFC 8259 §4). If
    the last of several equal members is dropped because it is null, so are the others: they had no
    effect before it, and would take effect without it. Without a ``model`` the last ``models`` is
    kept for its place, unless it is empty.
    """
    names = last.get("model", last.get("models") if models else None)
    dropped = {key for key in _DROPPED_WHEN_NULL if key in last and _is_null(body, last[key])}
    return [
        member
        for member in found
        if (member is names if member.key in _NAMING else member.key not in dropped)
        and not (member.key in _DROPPED_WHEN_NULL and _is_null(body, member))
    ]


def _is_null(body: bytes, member: Member) -> bool:
    return body.startswith(b"null", member.value)


def _value(body: bytes, member: Member) -> bytes:
    return body[member.value : member.end]


def _model(raw: Raw, *, required: bool = True) -> str | RouterError:
    try:
        model = _text.decode(raw) if raw else ""
    except msgspec.ValidationError:
        if bytes(raw) != b"null":
            return RouterError(400, "invalid_model", "'model' must be a string.", "model")
        model = ""
    except msgspec.DecodeError:  # half of a surrogate pair is valid JSON, but not Unicode text
        return RouterError(400, "invalid_model", "'model' must be valid Unicode text.", "model")
    if required and not model.strip(_BLANKS):
        return MISSING_MODEL
    return model


def _template(body: bytes, found: Sequence[Member], kept: Sequence[Member]) -> BodyTemplate:
    """Return the template of the members to forward.

    A dropped member takes with it the comma before it or, if no member precedes it, behind it.
    """
    hole = next(member for member in kept if member.key in _NAMING)
    if len(kept) == len(found) and hole.key == "model":
        return BodyTemplate.of(body, hole.value, hole.end)
    starts = {member.start for member in kept}
    pieces, read, place, followed = list[bytes](), 0, 0, False
    for at, member in enumerate(found):
        if member.start not in starts:
            pieces.append(body[read : member.comma if followed else member.start])
            read = member.end if followed else found[at + 1].start
            continue
        followed = True
        if member is hole:
            if hole.key == "model":
                pieces.append(body[read : hole.value])
            else:
                pieces += (body[read : hole.start], b'"model":')
            place = sum(map(len, pieces))
            read = hole.end
    pieces.append(body[read:])
    return BodyTemplate.of(b"".join(pieces), place, place)


def _format(raw: Raw) -> str | None:
    """Return the need that a ``response_format`` implies, if any."""
    try:
        kind = _typed.decode(raw).type
    except (ValueError, RecursionError):
        return None
    if len(kind) > _LONGEST_VALUE:
        return None
    spelled = bytes(kind)
    if b"\\" in spelled:
        spelled = msgspec.json.encode(value_of(kind))
    return _FORMATS.get(spelled)


def _number(text: Raw) -> int | None:
    """Return the whole number that a JSON text of no absurd length is, else None."""
    value = value_of(text) if len(text) <= _LONGEST_VALUE else None
    return value if type(value) is int else None
