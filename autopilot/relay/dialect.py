"""Meaning of the server-sent events of each streaming dialect.

OpenAI's chat and text completions, Anthropic's messages and OpenAI's responses all stream
server-sent events. They differ in the events that precede the answer and that end it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from autopilot.http.dialect import Dialect
from autopilot.relay.sse import Event
from autopilot.request.json_scan import value_of


class Meaning(Enum):
    """The meaning of an event for the answer."""

    EMPTY = "nothing of the answer yet"
    CONTENT = "part of the answer"
    FINISH = "the answer is complete"
    DONE = "the stream is over"
    ERROR = "there will be no answer"


ANSWER_MEMBERS = (
    "content",
    "reasoning_content",
    "reasoning",
    "tool_calls",
    "function_call",
    "refusal",
    "audio",
)
"""The members of a chat completion's ``delta`` that carry part of the answer."""

_PRELIMINARY = frozenset(
    {
        "message_start",
        "ping",
        "content_block_start",
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    }
)
_FINISHED = frozenset({"message_stop", "response.completed", "response.incomplete"})
_FAILED = frozenset({"error", "response.failed"})


def meaning(event: Event, dialect: Dialect) -> Meaning:
    """Return the meaning of an event; ``EMPTY`` if it cannot be parsed."""
    if event.bare:
        return Meaning.ERROR if is_error(event.data) else Meaning.EMPTY
    if event.name == b"error":
        return Meaning.ERROR
    if event.data.strip() == b"[DONE]":
        return Meaning.DONE
    value = value_of(event.data)
    if not isinstance(value, dict):
        return Meaning.EMPTY
    if value.get("error") or value.get("object") == "error":  # as `_reports_error`
        return Meaning.ERROR
    return _READERS[dialect](value)


def is_error(data: bytes) -> bool:
    """Return whether ``data`` is a JSON object that reports an error."""
    return _reports_error(_object(data))


def error_text(data: bytes) -> str | None:
    """Return the message of an error object, from any of its usual members; None without one."""
    value = _object(data)
    error = value.get("error")
    if isinstance(error, dict):
        error = error.get("message")
    text = error if isinstance(error, str) else value.get("message")
    return text if isinstance(text, str) else None


def _reports_error(value: dict[str, Any]) -> bool:
    # OpenAI and Anthropic have a member `error`; vLLM sends the error's own object.
    return bool(value.get("error")) or value.get("object") == "error"


def _of_completions(value: dict[str, Any]) -> Meaning:
    choices = value.get("choices")
    result = Meaning.EMPTY
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        if choice.get("finish_reason"):
            return Meaning.FINISH
        delta = choice.get("delta")
        if choice.get("text") or (isinstance(delta, dict) and any(map(delta.get, ANSWER_MEMBERS))):
            result = Meaning.CONTENT
    return result


def _of_typed_events(value: dict[str, Any]) -> Meaning:
    kind = value.get("type")
    if not isinstance(kind, str) or kind in _PRELIMINARY:
        return Meaning.EMPTY
    if kind in _FAILED:
        return Meaning.ERROR
    return Meaning.FINISH if kind in _FINISHED else Meaning.CONTENT


_READERS: dict[Dialect, Callable[[dict[str, Any]], Meaning]] = {
    Dialect.COMPLETIONS: _of_completions,
    Dialect.MESSAGES: _of_typed_events,
    Dialect.RESPONSES: _of_typed_events,
}


def _object(data: bytes) -> dict[str, Any]:
    value = value_of(data)
    return value if isinstance(value, dict) else {}
