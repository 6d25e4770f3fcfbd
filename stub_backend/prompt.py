"""A request's prompt as an engine reads it: the words of all its messages, each a token."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

# The members that precede the conversation, and those that contain it, in any API.
_BEFORE = ("system", "instructions")
_CONVERSATION = ("messages", "input", "prompt")
# The tokens that a chat template adds.
TEMPLATE = 8


def prompt_words(body: Mapping[str, Any]) -> list[str]:
    """Return the words of a prompt in order.

    The next turn of a conversation repeats all of them before its own.
    """
    return [word for text in _texts(body) for word in text.split()]


def _texts(body: Mapping[str, Any]) -> Iterator[str]:
    for member in _BEFORE:
        yield from _content(body.get(member))
    conversation = next((body[each] for each in _CONVERSATION if body.get(each)), "")
    if not isinstance(conversation, list):
        yield from _content(conversation)
        return
    for message in conversation:
        yield from _message(message) if isinstance(message, dict) else _content(message)


def _message(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield a message's content, and its calls of tools in any API's form."""
    yield from _content(message.get("content"))
    for member in ("tool_calls", "arguments", "output"):
        yield from _content(message.get(member))


def _content(content: Any) -> Iterator[str]:
    """Yield a text, or the texts of a list of parts; a part without a text is one word."""
    if isinstance(content, list):
        for part in content:
            text = part.get("text") if isinstance(part, dict) else part
            yield text if isinstance(text, str) else _word(part)
    elif isinstance(content, str):
        yield content
    elif content is not None:
        yield _word(content)


def _word(value: object) -> str:
    return "".join(json.dumps(value).split())
