"""What one event of a stream, or one plain answer, means: the tables of contract §6, as data.

OpenAI's chat and text completions, Anthropic's messages and OpenAI's responses all stream
server-sent events; they differ in which events are part of the answer and which end it. Whatever no
row names, such as start-up events, heartbeats, rate limits and events still to be invented, is
empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from itertools import islice
from typing import Any

import msgspec
from msgspec import Raw, Struct

from autopilot.http.dialect import Dialect
from autopilot.relay.sse import Event
from autopilot.request.json_scan import value_of, without_surrogates


class Meaning(Enum):
    """What an event says about the answer."""

    EMPTY = "nothing of the answer"
    INVALID = "nothing, for its data is neither JSON nor a terminator"
    CONTENT = "part of the answer"
    FINISH = "a choice of the answer is complete"
    COMPLETED = "the last part of the answer; the stream is over"
    DONE = "the stream is over"
    ERROR = "there will be no answer"
    FAILED = "there will be no answer; the stream is over"
    OWN_ERROR = "the request is refused; that is the answer, and the stream is over"
    GAVE_UP = "the engine gave the answer up"


TERMINATORS = frozenset({Meaning.COMPLETED, Meaning.DONE, Meaning.FAILED, Meaning.OWN_ERROR})


class Reading(Struct, frozen=True, gc=False):
    """The meaning of an event; ``finished`` are the indexes of the choices that it completes."""

    meaning: Meaning
    finished: frozenset[int] = frozenset()


# -- the tables

_TERMINATOR = b"[DONE]"
MARKS: Mapping[Dialect, tuple[bytes, ...]] = {
    Dialect.COMPLETIONS: (b"error", b'finish_reason":"', b'finish_reason": "'),
    Dialect.MESSAGES: (b"error", b"message_stop", b'stop_reason":"', b'stop_reason": "'),
    Dialect.RESPONSES: (
        b"error",
        b"failed",
        b"cancelled",
        b"response.completed",
        b"response.incomplete",
    ),
}
"""Bytes of which an event has at least one unless it is empty or content, ``[DONE]`` excepted.

Once part of an answer has been relayed, an event without any of them need not be parsed.
"""
_AN_ERROR = rb'"error"(?![ \t]*+:[ \t]*+(?:null|""|\[\]|\{\}))|event: ?error|'
_A_TERMINATOR = rb"|data:[ \t]*+\[DONE\]"
SIGNS: Mapping[Dialect, re.Pattern[bytes]] = {
    dialect: re.compile(_AN_ERROR + rest + _A_TERMINATOR)
    for dialect, rest in {
        Dialect.COMPLETIONS: rb'finish_reason"[ \t]*+:[ \t]*+"',
        Dialect.MESSAGES: rb'"message_stop"|stop_reason"[ \t]*+:[ \t]*+"',
        Dialect.RESPONSES: rb'"(?:failed|cancelled|response\.(?:completed|incomplete|failed))"',
    }.items()
}
"""What has one of these marks beside the quotation marks and colons that make it a member or value.

They tell an error from an answer that only writes of errors, whose events need not be parsed.
"""
_TYPED_EVENTS: Mapping[str, Meaning] = {
    "content_block_delta": Meaning.CONTENT,
    "message_stop": Meaning.DONE,
    "response.completed": Meaning.COMPLETED,
    "response.incomplete": Meaning.COMPLETED,
}
_ANSWERING_SUFFIXES = (".delta", ".done", ".partial_image")
# Tuples, for what is looked up in them may be of any type, hashable or not.
_FAILED_TYPE = "response.failed"
_ERROR_TYPES = ("error", _FAILED_TYPE)
_GIVE_UP_REASONS = ("abort", "error", "network_error", "cancelled")
_GIVE_UP_STATUSES = ("failed", "cancelled")
# An error beside one of these is a remark on an answer.
_TOP_LEVEL_ANSWERS = ("choices", "content", "output")
# Errors that are the request's own fault: another model would refuse it as well.
_OWN_CODES = (400, 413, 422, "400", "413", "422")
_OWN_TYPES = ("invalid_request_error", "BadRequestError")
ANSWER_MEMBERS = (
    "content",
    "reasoning_content",
    "reasoning",
    "tool_calls",
    "function_call",
    "refusal",
    "audio",
)
"""The members of a chat completion's ``delta`` by which the splice guard knows an answer."""
_NOTHING: tuple[object, ...] = (None, "", [], {})


# -- one event

# A part of every name and value by which `_reports_bare_error` knows an error, or of the escape
# with which it may be spelled. What has none of them need not be decoded.
_MAY_BE_ERROR = re.compile(rb"error|detail|failed|\\u")
# Longer documents are not decoded as a whole, see `_value`.
_MAX_DECODED = 65536
_EMPTY = Reading(Meaning.EMPTY)
_INVALID = Reading(Meaning.INVALID)
_DONE = Reading(Meaning.DONE)
_CONTENT = Reading(Meaning.CONTENT)
_GAVE_UP = Reading(Meaning.GAVE_UP)
_ERROR = Reading(Meaning.ERROR)
_FAILED = Reading(Meaning.FAILED)
_OWN_ERROR = Reading(Meaning.OWN_ERROR)


def read_event(event: Event, dialect: Dialect) -> Reading:
    """Return what ``event`` means in ``dialect``."""
    data = event.data
    if event.bare and _MAY_BE_ERROR.search(data) is None:
        return _EMPTY
    value = value_of(data) if len(data) <= _MAX_DECODED else _value(data)
    if (
        dialect is Dialect.COMPLETIONS
        and not (event.bare or event.name)
        and isinstance(value, dict)
        and value.get("choices")
        and value.get("object") != "error"
        and "type" not in value
    ):  # the usual event, which can be none of what follows
        return _read_completions(value)
    if event.bare:
        return _error(value) if _reports_bare_error(value) else _EMPTY
    if event.name == b"error" or _reports_error(value):
        return _error(value)
    if value is None:
        text = data.strip()
        return _DONE if text == _TERMINATOR else _EMPTY if text == b"null" else _INVALID
    return _READERS[dialect](value) if isinstance(value, dict) else _EMPTY


def meaning(event: Event, dialect: Dialect) -> Meaning:
    """Return what ``event`` means, whichever choices it completes."""
    return read_event(event, dialect).meaning


def _read_completions(value: dict[str, Any]) -> Reading:
    """A choice says something by a text, or by any member of a delta or message but the role."""
    says, finished, choices = False, set[int](), value.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        if reason := choice.get("finish_reason"):
            if reason in _GIVE_UP_REASONS:
                return _GAVE_UP
            index = choice.get("index")
            finished.add(index if isinstance(index, int) else 0)
        says = says or choice.get("text") not in _NOTHING
        for part in (choice.get("delta"), choice.get("message")):
            if not says and isinstance(part, dict):
                for name, member in part.items():
                    says = says or (name != "role" and member not in _NOTHING)
    if finished:
        return Reading(Meaning.FINISH, frozenset(finished))
    return _CONTENT if says else _EMPTY


def _read_typed(value: dict[str, Any]) -> Reading:
    """An event of Anthropic's messages or OpenAI's responses says by its type what it is."""
    kind = value.get("type")
    if not isinstance(kind, str):
        return _EMPTY
    if kind == "message_delta":
        delta = value.get("delta")
        reason = delta.get("stop_reason") if isinstance(delta, dict) else None
        return _GAVE_UP if reason in _GIVE_UP_REASONS else _CONTENT if reason else _EMPTY
    response = value.get("response")
    if isinstance(response, dict) and response.get("status") in _GIVE_UP_STATUSES:
        return _GAVE_UP
    if kind.endswith(_ANSWERING_SUFFIXES):
        return _CONTENT
    return Reading(_TYPED_EVENTS.get(kind, Meaning.EMPTY))


_READERS: Mapping[Dialect, Callable[[dict[str, Any]], Reading]] = {
    Dialect.COMPLETIONS: _read_completions,
    Dialect.MESSAGES: _read_typed,
    Dialect.RESPONSES: _read_typed,
}


# -- long documents

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


def _value(data: bytes) -> Any:
    """Return the value of an event's data, or of a plain answer, as `value_of` does.

    Of one over 64 KiB only the members that matter are decoded: objects for all of it would take
    many times its memory and hold up other requests.
    """
    if len(data) <= _MAX_DECODED:
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
    if len(raw) <= _MAX_DECODED:
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


# -- one plain answer


class _Choice(Struct, gc=False):
    finish_reason: str | None = None


class _UsualAnswer(Struct, gc=False):
    """The members by which a plain answer could be something else, in the types of an answer."""

    object: str = ""
    type: str = ""
    error: None = None
    detail: None = None
    status: str | None = None
    stop_reason: str | None = None
    usage: Raw = Raw()


class _ShortAnswer(_UsualAnswer, gc=False):
    choices: list[_Choice] | None = None


class _LongAnswer(_UsualAnswer, gc=False):
    """One of over 64 KiB, which may hold too many choices to make an object of each."""

    choices: Raw = Raw()


_GAVE_UP_CHOICE = re.compile(
    rb'"finish_reason"[ \t\r\n]*+:[ \t\r\n]*+"(?:%b)"' % "|".join(_GIVE_UP_REASONS).encode()
)
_short_answer = msgspec.json.Decoder(_ShortAnswer)
_long_answer = msgspec.json.Decoder(_LongAnswer)


def usage_of_usual(body: bytes) -> bytes | None:
    """Return the ``usage`` of a plain answer of the usual kind, empty if it has none; else None.

    The usual kind are answers whose `plain_meaning` is ``CONTENT`` at first sight: nearly all. The
    decoder creates no object for the members that do not matter here, and reads the text of the
    answer once.
    """
    answer: _ShortAnswer | _LongAnswer
    try:
        if len(body) <= _MAX_DECODED:
            answer = _short_answer.decode(body)
            for choice in answer.choices or ():
                if choice.finish_reason in _GIVE_UP_REASONS:
                    return None
        else:
            answer = _long_answer.decode(body)
            if _GAVE_UP_CHOICE.search(answer.choices) is not None:
                return None
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        return None
    if answer.object == "error" or answer.type in _ERROR_TYPES:
        return None
    # Nearly every answer has neither, and a look through strings for None would cost more.
    if (answer.status is not None or answer.stop_reason is not None) and (
        answer.status in _GIVE_UP_STATUSES or answer.stop_reason in _GIVE_UP_REASONS
    ):
        return None
    return answer.usage


def plain_meaning(body: bytes) -> Meaning:
    """Return what a plain 2xx means as a whole; what is no JSON object is an answer."""
    if not body:
        return Meaning.EMPTY
    value = _value(body)
    if not isinstance(value, dict):
        return Meaning.CONTENT
    if _reports_error(value) or _reports_detail(value):
        return _error(value).meaning
    reasons = [choice.get("finish_reason") for choice in _dicts(value.get("choices"))]
    gave_up = (
        any(reason in _GIVE_UP_REASONS for reason in (*reasons, value.get("stop_reason")))
        or value.get("status") in _GIVE_UP_STATUSES
    )
    return Meaning.GAVE_UP if gave_up else Meaning.CONTENT


def judge_document(body: bytes) -> Meaning:
    """Return what a plain 2xx means as a whole, without decoding all of a usual one."""
    return plain_meaning(body) if usage_of_usual(body) is None else Meaning.CONTENT


# -- errors


def is_error(data: bytes) -> bool:
    """Return whether bytes that stand outside events are JSON that reports an error."""
    return _MAY_BE_ERROR.search(data) is not None and _reports_bare_error(_value(data))


def error_text(data: bytes) -> str | None:
    """Return the text of an error, in whichever of the usual places it stands."""
    for value in _errors(_value(data)):
        for text in (value.get("message"), value.get("error"), value.get("detail")):
            if isinstance(text, str):
                return text
    return None


def _reports_bare_error(value: object) -> bool:
    """Return whether JSON outside events reports an error; some APIs put theirs in a list."""
    if isinstance(value, list):
        value = value[0] if value else None
    return _reports_error(value) or _reports_detail(value)


def _reports_error(value: object) -> bool:
    """Return whether an object is an error in one of the shapes that engines write."""
    if not isinstance(value, dict):
        return False
    if value.get("object") == "error" or value.get("type") in _ERROR_TYPES:
        return True
    return bool(value.get("error")) and not _holds_answer(value)


def _reports_detail(value: object) -> bool:
    """Return whether an object is an error of the platform's, which says all in ``detail``."""
    return isinstance(value, dict) and bool(value.get("detail")) and not _holds_answer(value)


def _holds_answer(value: dict[str, Any]) -> bool:
    return any(value.get(name) not in _NOTHING for name in _TOP_LEVEL_ANSWERS)


def _error(value: object) -> Reading:
    """Return an error as this request's own, or as one that another model may not have."""
    for error in _errors(value):
        if error.get("code") in _OWN_CODES or error.get("type") in _OWN_TYPES:
            return _OWN_ERROR
    failed = isinstance(value, dict) and value.get("type") == _FAILED_TYPE
    return _FAILED if failed else _ERROR


def _errors(value: object) -> Iterator[dict[str, Any]]:
    """Yield the objects in which an error's code, type and text may stand, innermost first."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):
        response = value.get("response")
        inner = response.get("error") if isinstance(response, dict) else None
        yield from _dicts([inner, value.get("error"), value])


def _dicts(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list; none in anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
