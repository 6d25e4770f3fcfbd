"""Lower bound for the length of a prompt in tokens, without a tokenizer.

All tokenizers in use split text at blanks first, so no token contains two words, and a prompt has
at least as many tokens as words. Text that a model's chat template may omit, such as earlier
answers, does not count.
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


def tokens_beyond(fields: BodyFields, limit: int) -> int | None:
    """Return a lower bound for a prompt's tokens if it exceeds ``limit``; else ``None``.

    A cheap upper bound for the words, without decoding, comes first: it suffices for nearly all
    prompts.
    """
    if max(map(_words_at_most, (fields.messages, fields.input, fields.prompt))) <= limit:
        return None
    found = (
        _in_conversation(fields.messages),
        _in_conversation(fields.input),
        _in_prompt(fields.prompt),
    )
    return most if (most := max(found)) > limit else None


def _words_at_most(text: Raw) -> int:
    """Return an upper bound for the words or numbers in a JSON text: the bytes that can end one."""
    return len(bytes(text).translate(None, _NO_END))


def _in_conversation(text: Raw) -> int:
    """Return the words of all messages but the assistant's, or of a text in place of a list."""
    value = value_of(text) if text else None
    if isinstance(value, list):
        return sum(map(_words, _texts(value)))
    return _words(value) if isinstance(value, str) else 0


def _texts(messages: list[Any]) -> Iterator[str]:
    """Yield the texts of all messages but the assistant's."""
    for message in messages:
        if isinstance(message, dict) and message.get("role") != "assistant":
            content = message.get("content")
            for part in content if isinstance(content, list) else [content]:
                text = part.get("text") if isinstance(part, dict) else part
                if isinstance(text, str):
                    yield text


def _in_prompt(text: Raw) -> int:
    """Return the length of the longest prompt, since each has an answer of its own.

    Clients may send a prompt as text or as tokens.
    """
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
    # Faster than `str.split`, which would create every word: each byte becomes a blank or an x.
    marked = text.encode("utf-8", "surrogatepass").translate(_MARKED)
    return marked.count(b"x ") + marked.endswith(b"x")
