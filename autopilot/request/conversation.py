"""The conversation of a request: its parts and texts, decoded no further than necessary.

A body of megabytes must not cost many times its size in memory, nor hold the reactor: each JSON
value that is decoded costs 50 to 100 bytes and as many nanoseconds. msgspec skips what no type
mentions without creating objects, so the types here mention little and the rest stays JSON text.
Where a conversation would create too many objects all the same, nothing is known about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
from msgspec import Raw

_ABSENT = Raw()
_QUOTE, _LIST, _OBJECT, _BACKSLASH = b'"[{\\'

# Objects that any body may hold, and bytes of the body for each one beyond them. An empty one
# creates nothing but itself.
_MAX_OBJECTS = 8192
_BYTES_PER_OBJECT = 256
_BYTES_PER_EMPTY_OBJECT = 16
# All that can follow the brace of a JSON object. What is in a string is seldom mistaken for one,
# even if it is code or JSON: quotes and line feeds are escaped there.
_OBJECTS = (b'{"', b"{\n", b"{\r", b"{\t", b'{ "', b"{  ", b"{ \n", b"{ \r", b"{ \t")
_EMPTY_OBJECTS = (b"{}", b"{ }")
_COUNTED_AT_ONCE = 65_536

# Lists of parts that are decoded for their texts, and those decoded for kinds in vain.
_MAX_LISTS = 2048
_MAX_FRUITLESS = 64
# Bytes of a list of parts in which strings may stand among the objects.
_SHORT = 16_384

_ASSISTANT = b'"assistant"'
_KINDS = {
    "image_url": "images",
    "input_image": "images",
    "image": "images",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
    "input_video": "video",
}
_KIND_BY_TEXT = {b'"%b"' % name.encode(): kind for name, kind in _KINDS.items()}
_LONGEST_KIND = max(map(len, _KINDS)) * len("\\u0000") + len('""')
_HINTS = {b"image": "images", b"audio": "audio", b"video": "video"}
# In a string the quotes would be escaped, so what this finds is a member of some object.
_PART = re.compile(rb'"type"[ \t\r\n]*+:[ \t\r\n]*+"(?:%b)"' % b"|".join(map(str.encode, _KINDS)))
# The end of a member's name that a link has, or an escape that may spell it.
_LINK = re.compile(rb'_url"|\\u00(?:[67]|5[fF])')
_DATA = b"data:"
_LONGEST_LINK_START = 64
_LETTER_AS_ESCAPE = b"\\u00"
# One that can stand for a character of the names above.
_ESCAPED_LETTER = re.compile(rb"\\u00(?:[67]|5[fF])")


class _Part(msgspec.Struct, gc=False):
    type: Raw = _ABSENT
    text: Raw = _ABSENT
    content: Raw = _ABSENT


class _Linked(msgspec.Struct, gc=False):
    image_url: Raw = _ABSENT
    video_url: Raw = _ABSENT
    audio_url: Raw = _ABSENT
    content: Raw = _ABSENT

    @property
    def links(self) -> tuple[Raw, ...]:
        return self.image_url, self.video_url, self.audio_url


class _Link(msgspec.Struct, gc=False):
    url: Raw = _ABSENT


class _Content(msgspec.Struct, gc=False):
    content: Raw = _ABSENT


class _Message(msgspec.Struct, gc=False):
    role: Raw = _ABSENT
    content: Raw = _ABSENT


_text = msgspec.json.Decoder(str)
_contents = msgspec.json.Decoder(list[_Content])
_messages = msgspec.json.Decoder(list[_Message])
_parts = msgspec.json.Decoder(list[_Part])
_linked = msgspec.json.Decoder(list[_Linked | str | None])
_link = msgspec.json.Decoder(_Link)
_mixed_parts = msgspec.json.Decoder(list[_Part | str | None])


def may_hold_parts(body: bytes) -> bool:
    """Return whether a byte search finds a sign of content parts other than text."""
    # The search for several bytes is slow in a text that has many of the last one.
    if _BACKSLASH in body and _LETTER_AS_ESCAPE in body:
        return True
    return b'"type"' in body and any(hint in body for hint in _HINTS)


class Conversation:
    """The messages of a body: of its members ``messages`` and ``input``, of which it has one."""

    __slots__ = ("_body", "_many", "_members")

    def __init__(self, body: bytes, *members: Raw) -> None:
        """``members`` are values in ``body``, empty if absent."""
        self._body = body
        self._members = members
        self._many: bool | None = None

    def part_kinds(self) -> set[str]:
        """Return the kinds of content parts other than text."""
        body, found = self._body, set[str]()
        # No escape can spell a name above in most bodies; then byte searches tell what is possible.
        escaped = _LETTER_AS_ESCAPE in body and _ESCAPED_LETTER.search(body) is not None
        possible = {kind for hint, kind in _HINTS.items() if escaped or hint in body}
        if not possible or not (escaped or _PART.search(body)) or self._has_many_objects():
            return found
        fruitless = 0
        for message in chain.from_iterable(_decoded(_contents, each) for each in self._members):
            content = message.content
            if not _is_list(content):
                continue
            if not (_PART.search(content) or (escaped and _ESCAPED_LETTER.search(content))):
                continue
            kinds = _kinds_in(content)
            found |= kinds
            fruitless += not kinds
            if fruitless > _MAX_FRUITLESS or found >= possible:
                break
        return found

    def has_remote_parts(self) -> bool:
        """Return whether a content part is given by a URL from which it would be fetched.

        If there are very many, nothing is known about them.
        """
        if not _LINK.search(self._body) or self._has_many_objects():
            return False
        contents = chain.from_iterable(_decoded(_contents, each) for each in self._members)
        return any(_has_remote(each.content) for each in contents)

    def texts(self) -> Iterator[Sequence[Raw]]:
        """Yield the texts in each member, as JSON: those of all messages but the assistant's.

        If there are very many, some are missing. A member may be a text instead of a list.
        """
        for member in self._members:
            if not member:
                continue
            if memoryview(member)[0] == _QUOTE:
                yield (member,)
            elif not self._has_many_objects():
                yield _texts_in(_decoded(_messages, member))

    def _has_many_objects(self) -> bool:
        """Return whether the body may hold so many objects that they must not be created."""
        if self._many is None:
            self._many = _has_many_objects(self._body)
        return self._many


def _has_many_objects(body: bytes) -> bool:
    size = len(body)
    most = _MAX_OBJECTS + size // _BYTES_PER_OBJECT
    if body.count(b"{") <= most:
        return False
    most_empty = _MAX_OBJECTS + size // _BYTES_PER_EMPTY_OBJECT
    found = empty = 0
    # Slice by slice: where there are very many, the first slices show it.
    for start in range(0, size, _COUNTED_AT_ONCE):
        end = start + _COUNTED_AT_ONCE - 1
        for each in _OBJECTS:
            found += body.count(each, start, end + len(each))
        for each in _EMPTY_OBJECTS:
            empty += body.count(each, start, end + len(each))
        if found > most or empty > most_empty:
            return True
    return False


def _kinds_in(content: Raw) -> set[str]:
    """Return the kinds of parts, and of their own: the result of a tool may hold images."""
    found = set()
    for part in _decoded_parts(content):
        inner = part.content
        for each in (part, *(_decoded_parts(inner) if _is_list(inner) else ())):
            if (kind := _kind(each.type)) is not None:
                found.add(kind)
    return found


def _has_remote(content: Raw) -> bool:
    """Return whether a part is remote, or one of its own: the result of a tool may hold images."""
    for part in _links_in(content):
        if any(map(_is_remote, part.links)):
            return True
        for inner in _links_in(part.content):
            if any(map(_is_remote, inner.links)):
                return True
    return False


def _links_in(content: Raw) -> list[_Linked]:
    if not _is_list(content) or not _LINK.search(content):
        return []
    return [part for part in _decoded(_linked, content) if isinstance(part, _Linked)]


def _is_remote(link: Raw) -> bool:
    """Return whether a link, a text or an object with one, is no ``data:`` URI."""
    if link and memoryview(link)[0] == _OBJECT:
        link = _link.decode(link).url  # what is an object again is for the engine to judge
    if not link or memoryview(link)[0] != _QUOTE:
        return False
    start = bytes(memoryview(link)[1:_LONGEST_LINK_START])
    if _BACKSLASH in start:
        start = _text.decode(link).encode()
    return not start.strip().lower().startswith(_DATA)


def _kind(text: Raw) -> str | None:
    if len(text) > _LONGEST_KIND:
        return None
    spelled = bytes(text)
    if _BACKSLASH in spelled:
        return _KINDS.get(_text.decode(spelled))
    return _KIND_BY_TEXT.get(spelled)


def _texts_in(messages: Sequence[_Message]) -> list[Raw]:
    found: list[Raw] = []
    lists = 0
    for message in messages:
        content, role = message.content, bytes(message.role)
        # An escape may spell the assistant's role.
        if not content or role == _ASSISTANT or _BACKSLASH in role:
            continue
        kind = memoryview(content)[0]
        if kind == _QUOTE:
            found.append(content)
        elif kind == _LIST and lists < _MAX_LISTS:
            lists += 1
            texts = [part.text for part in _decoded_parts(content)]
            found += [text for text in texts if text and memoryview(text)[0] == _QUOTE]
    return found


def _is_list(text: Raw) -> bool:
    return bool(text) and memoryview(text)[0] == _LIST


def _decoded_parts(content: Raw) -> list[_Part]:
    """Return the objects in a list of parts; none if a long one holds anything else."""
    if len(content) > _SHORT:
        return _decoded(_parts, content)
    return [
        _Part(text=Raw(msgspec.json.encode(part))) if isinstance(part, str) else part
        for part in _decoded(_mixed_parts, content)
        if part is not None
    ]


def _decoded(decoder: msgspec.json.Decoder[list[Any]], text: Raw) -> list[Any]:
    """Return the items of a list; none if it is no list, or if one has another type."""
    try:
        return decoder.decode(text) if text else []
    except (ValueError, RecursionError):
        return []
