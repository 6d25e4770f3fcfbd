"""What one event of a stream means: the tables of contract §6, as data.

OpenAI's chat and text completions, Anthropic's messages and OpenAI's responses all stream
server-sent events; they differ in which events are part of the answer and which end it. Whatever no
row names, such as start-up events, heartbeats, rate limits and events still to be invented, is
empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from autopilot.http.dialect import Dialect
from autopilot.relay.error_objects import (
    MAY_BE_ERROR,
    error_reading,
    reports_bare_error,
    reports_error,
)
from autopilot.relay.long_document import MAX_DECODED, document_value
from autopilot.relay.meaning import (
    GIVE_UP_REASONS,
    GIVE_UP_STATUSES,
    NOTHING,
    Meaning,
    Reading,
)
from autopilot.relay.sse import Event
from autopilot.request.json_scan import value_of

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
_TYPE = re.compile(rb'"type"[ \t]*+:[ \t]*+"([a-z_.]+)"')
_ANSWERING_SUFFIXES = (".delta", ".done", ".partial_image")
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


# -- one event

_EMPTY = Reading(Meaning.EMPTY)
_INVALID = Reading(Meaning.INVALID)
_DONE = Reading(Meaning.DONE)
_CONTENT = Reading(Meaning.CONTENT)
_GAVE_UP = Reading(Meaning.GAVE_UP)


def read_event(event: Event, dialect: Dialect) -> Reading:
    """Return what ``event`` means in ``dialect``."""
    data = event.data
    if event.bare and MAY_BE_ERROR.search(data) is None:
        return _EMPTY
    value = value_of(data) if len(data) <= MAX_DECODED else document_value(data)
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
        return error_reading(value) if reports_bare_error(value) else _EMPTY
    if event.name == b"error" or reports_error(value):
        return error_reading(value)
    if value is None:
        text = data.strip()
        return _DONE if text == _TERMINATOR else _EMPTY if text == b"null" else _INVALID
    return _READERS[dialect](value) if isinstance(value, dict) else _EMPTY


def read_long(head: bytes, dialect: Dialect) -> Reading:
    """Return the meaning of an event by its beginning; one so long holds part of an answer."""
    found = None if dialect is Dialect.COMPLETIONS else _TYPE.search(head)
    if found is None:
        return _CONTENT
    return read_event(Event(b'{"type":"%b"}' % found[1]), dialect)


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
            if reason in GIVE_UP_REASONS:
                return _GAVE_UP
            index = choice.get("index")
            finished.add(index if isinstance(index, int) else 0)
        says = says or choice.get("text") not in NOTHING
        for part in (choice.get("delta"), choice.get("message")):
            if not says and isinstance(part, dict):
                for name, member in part.items():
                    says = says or (name != "role" and member not in NOTHING)
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
        return _GAVE_UP if reason in GIVE_UP_REASONS else _CONTENT if reason else _EMPTY
    response = value.get("response")
    if isinstance(response, dict) and response.get("status") in GIVE_UP_STATUSES:
        return _GAVE_UP
    if kind.endswith(_ANSWERING_SUFFIXES):
        return _CONTENT
    return Reading(_TYPED_EVENTS.get(kind, Meaning.EMPTY))


_READERS: Mapping[Dialect, Callable[[dict[str, Any]], Reading]] = {
    Dialect.COMPLETIONS: _read_completions,
    Dialect.MESSAGES: _read_typed,
    Dialect.RESPONSES: _read_typed,
}
