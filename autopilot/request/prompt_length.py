"""How long a prompt is at least, in tokens, told without a tokenizer.

All tokenizers in use split at blanks before anything else: no token holds two words. So a prompt
has at least as many tokens as words, whatever the model. What a model's template may leave out, as
it does with earlier answers, is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from autopilot.request.json_scan import value_of

if TYPE_CHECKING:
    from msgspec import Raw

    from autopilot.request.json_fast import BodyFields

_BLANKS = b" \t\n\r\v\f"
_MARKED = bytes(0x20 if byte in _BLANKS else 0x78 for byte in range(256))
_NO_END = bytes(byte for byte in range(256) if byte not in b' \\",]')


def tokens_beyond(seen: BodyFields, limit: int) -> int | None:
    """How many tokens a prompt has at least, if that is more than ``limit``; else ``None``.

    What is looked at first shows of nearly all prompts that they are shorter, at little cost.
    """
    if max(map(_words_at_most, (seen.messages, seen.input, seen.prompt))) <= limit:
        return None
    found = (_in_conversation(seen.messages), _in_conversation(seen.input), _in_prompt(seen.prompt))
    return most if (most := max(found)) > limit else None


def _words_at_most(text: Raw) -> int:
    """A bound for the words in a JSON text, or the numbers: all that can end one is counted."""
    return len(bytes(text).translate(None, _NO_END))


def _in_conversation(text: Raw) -> int:
    """The words of all messages but the assistant's, or of the one text in their place."""
    value = value_of(text) if text else None
    if isinstance(value, list):
        return sum(map(_words, _said(value)))
    return _words(value) if isinstance(value, str) else 0


def _said(messages: list[Any]) -> Iterator[str]:
    for message in messages:
        if isinstance(message, dict) and message.get("role") != "assistant":
            content = message.get("content")
            for part in content if isinstance(content, list) else [content]:
                text = part.get("text") if isinstance(part, dict) else part
                if isinstance(text, str):
                    yield text


def _in_prompt(text: Raw) -> int:
    """The longest of the prompts: each is answered for itself, and may be given in tokens."""
    value = value_of(text) if text else None
    if not isinstance(value, list):
        return _length(value)
    if value and type(value[0]) is int:
        return len(value)
    return max(map(_length, value), default=0)


def _length(prompt: object) -> int:
    if isinstance(prompt, list):
        return len(prompt)
    return _words(prompt) if isinstance(prompt, str) else 0


def _words(text: str) -> int:
    marked = text.encode("utf-8", "surrogatepass").translate(_MARKED)
    return marked.count(b"x ") + marked.endswith(b"x")
