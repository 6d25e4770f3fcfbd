"""The identity of a conversation, which is what sticks to a model (contract §5).

A client's header or body names it, or its opening stands for it: the first system message and the
first user message, which every later turn repeats. Only texts count, because clients move other
members of a message about from turn to turn, such as the marks of what to cache.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from autopilot.request.json_fast import BodyFields

if TYPE_CHECKING:
    from autopilot.http.headers import Named

SESSION_FIELDS = (
    b"x-session-id",
    b"x-session-affinity",
    b"x-claude-code-session-id",
    b"x-opencode-session",
    b"session-id",
    b"session_id",
)
"""The header fields in which agents send the id of a session; the first that has one counts."""

_ANY_SESSION_FIELD = frozenset(SESSION_FIELDS)
_LONGEST_ID = 255
_MAX_TEXT = 16_384
_MAX_PROMPT = 1024
# Of a longer JSON string the escapes are left as they are.
_MAX_DECODED = 4 * _MAX_TEXT
# Messages in which the opening is looked for, and parts of a message that count.
_LOOKED_AT = 16
# Of longer messages only the beginning is read, if the opening lies within it. msgspec would have
# to read all of them, which costs as much as the parser's own look: up to 10 ms for each MB.
_LONG = 16_384
_BEGINNING = 32_768
_TOO_LONG = 1 << 20
_QUOTE, _LIST, _OBJECT, _BACKSLASH = b'"[{\\'
_BLANKS = b" \t"
_BETWEEN = b"\0"  # no text in JSON has it unescaped
_ID, _OPENING = b"id\0", b"opening\0"
_OPENING_OF_USER = _OPENING + _BETWEEN * 2  # no system text, beside the messages or among them
_SYSTEM_ROLES = frozenset({"system", "developer"})
_USER, _SYSTEM, _DEVELOPER = Raw(b'"user"'), Raw(b'"system"'), Raw(b'"developer"')


class _Message(msgspec.Struct, gc=False):
    role: Raw = Raw()
    content: Raw = Raw()


class _Part(msgspec.Struct, gc=False):
    text: Raw = Raw()


class _Plain(msgspec.Struct, gc=False):
    """A message whose content is a text."""

    role: str = ""
    content: str = ""

    def __repr__(self) -> str:
        return "_Plain()"


class _Pair(msgspec.Struct, array_like=True, gc=False):
    """The first two messages; msgspec skips the others without creating an object."""

    first: _Plain
    second: _Plain | None = None


_Items = msgspec.defstruct(
    "_Items",
    [(f"item_{place}", Raw, Raw()) for place in range(_LOOKED_AT)],
    array_like=True,
    gc=False,
)
_pair = msgspec.json.Decoder(_Pair)
_items = msgspec.json.Decoder(_Items)
_message = msgspec.json.Decoder(_Message)
_part = msgspec.json.Decoder(_Part)
_text = msgspec.json.Decoder(str)
_NEITHER = _Pair(_Plain())
_any = json.JSONDecoder()
_gap = re.compile(r"[, \t\r\n]*+")


def conversation_id(named: Named, fields: BodyFields) -> bytes:
    """Return the bytes that stand for a request's conversation; none if nothing does.

    ``named`` are the request's header fields by name, ``fields`` the members of its body. The
    result holds texts of the client's: it must be hashed, and is not to be kept.
    """
    if not _ANY_SESSION_FIELD.isdisjoint(named):
        for name in SESSION_FIELDS:
            value = named[name][0].strip(_BLANKS) if name in named else b""
            if 0 < len(value) <= _LONGEST_ID:
                return _ID + value
    for member in (fields.prompt_cache_key, fields.session_id):
        if member and (value := _id_in(member)):
            return _ID + value
    if fields.messages and not fields.system and len(fields.messages) <= _LONG:
        # The usual conversation: a few plain messages, read without another call of Python. No text
        # in them is too long to count as a whole.
        try:
            pair = _pair.decode(fields.messages)
        except (ValueError, RecursionError):
            pair = _NEITHER
        first, second = pair.first, pair.second
        if first.role == "user" and first.content:
            return _OPENING_OF_USER + first.content.encode()
        if (
            second is not None
            and second.role == "user"
            and second.content
            and first.role in _SYSTEM_ROLES
        ):
            texts = _OPENING, first.content.encode(), second.content.encode()
            return _BETWEEN.join(texts)
    opening = _opening(fields)
    return _OPENING + opening if opening else b""


def told_by(named: Named, fields: BodyFields) -> str | None:
    """Return what tells a request's conversation, in words; None if nothing does."""
    for name in SESSION_FIELDS:
        if name in named and conversation_id({name: named[name]}, BodyFields()):
            return f"header {name.decode()}"
    found = conversation_id({}, fields)
    if found.startswith(_ID):
        first = fields.prompt_cache_key
        return "body prompt_cache_key" if first and _id_in(first) else "body session_id"
    return "opening" if found else None


def _id_in(member: Raw) -> bytes:
    """Return the text of a member that may be an id; empty if it is none."""
    # An escape takes up to six bytes for one, and the quotes two.
    if len(member) > 6 * _LONGEST_ID + 2 or not _is_text(member):
        return b""
    value = _spelled_out(member)
    return value if len(value) <= _LONGEST_ID else b""


def _opening(fields: BodyFields) -> bytes:
    """Return the texts with which a conversation begins (contract §5)."""
    if fields.messages:
        texts = (_texts(fields.system), *_first_texts(fields.messages))
    elif said := fields.input:
        first = (b"", _spelled_out(said)) if _is_text(said) else _first_texts(said)
        texts = (_texts(fields.instructions), *first)
    elif prompt := fields.prompt:
        whole = (
            _spelled_out(prompt) if _is_text(prompt) else bytes(memoryview(prompt)[:_MAX_PROMPT])
        )
        return whole[:_MAX_PROMPT]
    else:
        return b""
    return _BETWEEN.join(texts) if any(texts) else b""


def _first_texts(messages: Raw) -> tuple[bytes, bytes]:
    """Return the texts of the first system message and of the first user message."""
    try:
        if len(messages) > _LONG:
            found = _in_beginning(messages)
            if found is None and len(messages) > _TOO_LONG:
                found = bytes(memoryview(messages)[:_MAX_TEXT]), b""
            if found is not None:
                return found
        return _searched(messages)
    except (ValueError, RecursionError):
        return b"", b""  # no messages that any model would accept


def _in_beginning(messages: Raw) -> tuple[bytes, bytes] | None:
    """Return what `_first_texts` returns, if the first KiB suffice for it."""
    beginning = str(memoryview(messages)[:_BEGINNING], "utf-8", "ignore")
    system, place = b"", len("[")
    for _ in range(_LOOKED_AT):
        gap = _gap.match(beginning, place)
        assert gap is not None  # it may be empty
        try:
            message, place = _any.raw_decode(beginning, gap.end())
        except ValueError:  # it is cut off, or there is none
            return None
        if not isinstance(message, dict):
            return b"", b""
        role, content = message.get("role"), message.get("content")
        if role == "user":
            return system, _texts_in(content)
        if not system and isinstance(role, str) and role in _SYSTEM_ROLES:
            system = _texts_in(content)
    return system, b""


def _texts_in(content: Any) -> bytes:
    """Return what `_texts` returns, of decoded JSON."""
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts[:_LOOKED_AT]]
    kept = [_utf8(text)[:_MAX_TEXT] for text in texts if isinstance(text, str)]
    return _BETWEEN.join(kept)[:_MAX_TEXT]


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _searched(messages: Raw) -> tuple[bytes, bytes]:
    """Return what `_first_texts` returns, of more messages than the first two."""
    system = b""
    for item in msgspec.structs.astuple(_items.decode(messages)):
        if not item:
            break
        message = _message.decode(item)
        if message.role == _USER:
            return system, _texts(message.content)
        if not system and (message.role == _SYSTEM or message.role == _DEVELOPER):
            system = _texts(message.content)
    return system, b""


def _texts(content: Raw) -> bytes:
    """Return the texts in a message's content: itself, or those of its parts."""
    if not content:
        return b""
    kind = memoryview(content)[0]
    if kind == _QUOTE:
        return _spelled_out(content)
    if kind != _LIST:
        return b""
    found = []
    for item in msgspec.structs.astuple(_items.decode(content)):
        if not item:
            break
        if _is_text(item):
            found.append(_spelled_out(item))
        elif memoryview(item)[0] == _OBJECT and _is_text(text := _part.decode(item).text):
            found.append(_spelled_out(text))
    return _BETWEEN.join(found)[:_MAX_TEXT]


def _is_text(value: Raw) -> bool:
    return bool(value) and memoryview(value)[0] == _QUOTE


def _spelled_out(text: Raw) -> bytes:
    """Return a JSON string in UTF-8, without its quotes and escapes, as far as it counts."""
    if len(text) > _MAX_DECODED:
        return bytes(memoryview(text)[1 : _MAX_TEXT + 1])
    spelled = bytes(text)
    if _BACKSLASH in spelled:
        try:
            return _text.decode(spelled).encode()[:_MAX_TEXT]
        except ValueError:  # half of a surrogate pair
            return _utf8(json.loads(spelled))[:_MAX_TEXT]
    return spelled[1:-1][:_MAX_TEXT]
