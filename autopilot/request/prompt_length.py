"""Lower bound for the length of a prompt in tokens, without a tokenizer.

All tokenizers in use split text at blanks first, so no token contains two words, and a prompt has
at least as many tokens as words. Text that a model's chat template may omit, such as earlier
answers, does not count. Words are counted in the JSON text, without decoding it: a lower bound may
leave out whatever is dear to find.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

if TYPE_CHECKING:
    from autopilot.request.conversation import Conversation
    from autopilot.request.json_fast import BodyFields

MAX_PROMPTS = 128
"""The prompts of a list that are looked at."""

_ABSENT = Raw()
_LIST, _QUOTE = ord("["), ord('"')
_EMPTY_LIST = re.compile(rb"\[[ \t\r\n]*+\]")
_SLICE = 1 << 18
"""Bytes that are read before asking whether more must be."""
_TOKENS = re.compile(rb"\[[ \t\r\n]*+-?+[0-9]++[ \t\r\n]*+[,\]]")

# msgspec skips what is behind the last field of an array, without creating objects.
_prompts = msgspec.json.Decoder(
    msgspec.defstruct(
        "_Prompts",
        [(f"prompt_{number}", Raw, _ABSENT) for number in range(MAX_PROMPTS + 1)],
        array_like=True,
        gc=False,
    )
)

# Bytes of JSON text that separate words, once escapes are replaced.
_BLANKS = b' \t\n\r\v\f"'
_MARKED = bytes(0x20 if byte in _BLANKS else 0x78 for byte in range(256))
_NO_END = bytes(byte for byte in range(256) if byte not in b' \\",]')
# In this order: a backslash that is escaped begins no other escape. Lengths stay, so that the
# replacement creates no objects.
_ESCAPES = ((rb"\\", b"xx"), (rb"\"", b"xx"), (rb"\n", b"  "), (rb"\t", b"  "), (rb"\r", b"  "))
# Seldom used for blanks; the first ones tell whether there are any.
_SIGNS_OF_RARE_ESCAPES = (rb"\f", rb"\u000", rb"\u0020")
_RARE_ESCAPES = (
    (rb"\f", b"  "),
    *(
        (rb"\u00%b" % digits, b"      ")
        for digits in (b"09", b"0a", b"0A", b"0b", b"0B", b"0c", b"0C", b"0d", b"0D", b"20")
    ),
)
# Escapes that a text may have, and bytes for each one beyond them: all, and where rare ones are.
_FEW_ESCAPES = 4096
_BYTES_PER_ESCAPE = 32
_LEAST_BYTES_PER_ESCAPE = 8


def tokens_beyond(conversation: Conversation, fields: BodyFields, limit: int) -> int | None:
    """Return a lower bound for a prompt's tokens if it exceeds ``limit``; else ``None``.

    A cheap upper bound for the words, without decoding, comes first: it suffices for nearly all
    prompts.
    """
    if not any(_may_exceed(text, limit) for text in (fields.messages, fields.input, fields.prompt)):
        return None
    found = (*map(_words, conversation.texts()), _in_prompt(fields.prompt, limit))
    return most if (most := max(found)) > limit else None


def prompts(text: Raw) -> Sequence[Raw] | None:
    """Return the prompts of a list, at most one more than `MAX_PROMPTS`; None if there are none.

    A text or a list of numbers, tokens, is no list of prompts.
    """
    if not text or memoryview(text)[0] != _LIST or _TOKENS.match(text):
        return None
    try:
        decoded = _prompts.decode(text)
    except (ValueError, RecursionError):
        return None
    found = msgspec.structs.astuple(decoded)
    return tuple(filter(None, found)) or None


def _may_exceed(text: Raw, limit: int) -> bool:
    """Return whether a JSON text may have more than ``limit`` words or numbers.

    It has at most as many as bytes that can end one. Of a long text only so much is read as tells.
    """
    found, view = 0, memoryview(text)
    for start in range(0, len(view), _SLICE):
        found += len(bytes(view[start : start + _SLICE]).translate(None, _NO_END))
        if found > limit:
            return True
    return False


def _in_prompt(text: Raw, limit: int) -> int:
    """Return the length of the longest prompt, since each has an answer of its own.

    Clients may send a prompt as text or as tokens.
    """
    several = prompts(text)
    if several is None:
        return _length(text)
    # A word has at least two bytes, with its blank; so has a token, with its comma.
    return max((_length(each) for each in several if len(each) > 2 * limit), default=0)


def _length(prompt: Raw) -> int:
    if not prompt:
        return 0
    kind = memoryview(prompt)[0]
    if kind == _QUOTE:
        return _words((prompt,))
    return _numbers(bytes(prompt)) if kind == _LIST else 0


def _numbers(text: bytes) -> int:
    """Return the number of items in a list of numbers, 0 for any other list."""
    # Bytes are found ten times as fast as they are counted.
    if b'"' in text or b"{" in text or text.find(b"[", 1) >= 0 or _EMPTY_LIST.match(text):
        return 0
    return text.count(b",") + 1


def _words(found: Sequence[Raw]) -> int:
    """Return the number of words in JSON strings, 0 if it is dear to find."""
    text = b"".join(found)
    if b"\\" in text:
        # A text that consists of escapes is hardly prose, and dear to count.
        if text.count(b"\\") > _FEW_ESCAPES + len(text) // _LEAST_BYTES_PER_ESCAPE:
            return 0
        for escape, blanks in _ESCAPES:
            text = text.replace(escape, blanks)
        if any(sign in text for sign in _SIGNS_OF_RARE_ESCAPES):
            if text.count(b"\\") > _FEW_ESCAPES + len(text) // _BYTES_PER_ESCAPE:
                return 0
            for escape, blanks in _RARE_ESCAPES:
                text = text.replace(escape, blanks)
    # Faster than `split`, which would create every word: each byte becomes a blank or an x.
    return text.translate(_MARKED).count(b"x ")
