"""The top-level members of a JSON object, by their place in its bytes.

The usual decoders give values and lose bytes. The relay must keep the bytes, so it needs to know
where each member lies; nested values are never looked into.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import msgspec

# No API has a hundredth of this; a body of nothing but members would block the process for long.
MAX_MEMBERS = 4096

# Bytes. More members than allowed in so many are refused without a look at the rest.
_START = 262_144

_BLANK = re.compile(rb"[ \t\r\n]*+")
# Possessive: a key of megabytes costs no memory to come back to.
_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]++|\\.)*+"')
_RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])


class InvalidJSONError(ValueError):
    """The text is not JSON; the message says why without quoting it."""


class NotAnObjectError(ValueError):
    """The text is JSON, but not an object."""


class TooManyMembersError(ValueError):
    """The text begins with more than `MAX_MEMBERS` members of an object."""


class Member(msgspec.Struct, frozen=True, gc=False):
    """One member: its key, and where it lies.

    ``comma`` is the offset of the comma before it (of the first member: its own first byte),
    ``start`` of its first byte, ``value`` of its value's first byte, ``end`` of the byte after it.
    """

    key: str
    comma: int
    start: int
    value: int
    end: int

    def __repr__(self) -> str:
        return f"Member(start={self.start}, value={self.value}, end={self.end})"


def value_of(text: bytes | msgspec.Raw) -> Any:
    """Return the value of a JSON text, or None (as for ``null``) if it cannot be parsed.

    For text that the router only inspects and never sends on. msgspec rejects two things that real
    servers and clients send: half of a surrogate pair, and ``NaN`` or an infinity among log
    probabilities. The standard parser accepts both.
    """
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        return None
    except ValueError:  # the base of msgspec.DecodeError and of UnicodeDecodeError
        pass
    try:
        return json.loads(str(text, "utf-8"))
    except (ValueError, RecursionError):
        return None


def members(body: bytes) -> list[Member]:
    """Every top-level member in order, those with the same key included.

    :raises InvalidJSONError: not JSON by RFC 8259: bad UTF-8, ``NaN``, trailing text, or nested so
        deeply that a parser runs out of stack.
    :raises NotAnObjectError: JSON, but something else than an object.
    :raises TooManyMembersError: more members than `MAX_MEMBERS`; what follows them is not read.
    """
    if _is_crowded(body):
        raise TooManyMembersError
    try:
        str(body, "utf-8")
        raw = _RAW.decode(body)
    except RecursionError:
        raise InvalidJSONError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise InvalidJSONError("it is not UTF-8") from None
    except msgspec.DecodeError:
        # Not an object, or most likely broken; but half of a surrogate pair is legal JSON, too,
        # that this decoder refuses.
        raw = {}
    try:
        return _first_members(_Walk(body, raw))
    except RecursionError:
        raise InvalidJSONError("it is nested too deeply") from None


def _is_crowded(body: bytes) -> bool:
    """Whether the start of a large body holds too many members already.

    To decode all of them, only to refuse them, would hold up everybody else.
    """
    if body.count(b":", 0, _START) <= MAX_MEMBERS:
        return False
    try:
        _first_members(_Walk(body[:_START], {}))
    except TooManyMembersError:
        return True
    except (ValueError, RecursionError):
        pass  # it is cut off within a value, or is no object: others will tell
    return False


def _first_members(walk: _Walk) -> list[Member]:
    """All members, unless there are too many."""
    found: list[Member] = []
    for member in walk:
        if len(found) == MAX_MEMBERS:
            raise TooManyMembersError
        found.append(member)
    return found


class _Walk:
    """From key to key. A fast decoder has already measured the values, by key.

    Where a key stands twice, its measured value is only one of the two. The text at hand must
    therefore equal it and be followed by a comma or the end of the object; as no complete JSON
    value but a number is the beginning of another, nothing else can pass for it. What fails that is
    measured by the standard scanner.
    """

    def __init__(self, body: bytes, raw: Mapping[str, msgspec.Raw]) -> None:
        self._body = body
        self._raw = raw
        self._texts: dict[str, bytes] = {}
        self._slow: _Scanner | None = None

    def __iter__(self) -> Iterator[Member]:
        body = self._body
        start = self._skip(0)
        if not body.startswith(b"{", start):
            self._refuse_value(start)
        comma = start = self._skip(start + 1)
        while not body.startswith(b"}", start):
            member = self._member(comma, start)
            yield member
            comma = start = self._skip(member.end)
            if not body.startswith(b"}", start):
                start = self._after(b",", start)
                if body.startswith(b"}", start):
                    raise InvalidJSONError("a comma is followed by nothing")
        self._require_end(start + 1)

    def _member(self, comma: int, start: int) -> Member:
        key = _STRING.match(self._body, start)
        if key is None:
            raise InvalidJSONError("a member has no name")
        value = self._after(b":", self._skip(key.end()))
        name = _text(key.group())
        return Member(name, comma, start, value, self._value_end(name, value))

    def _value_end(self, name: str, value: int) -> int:
        text = self._measured(name)
        if text is not None and self._body.startswith(text, value):
            end = value + len(text)
            if self._body.startswith((b",", b"}"), self._skip(end)):
                return end
        return self._scan(value)

    def _measured(self, name: str) -> bytes | None:
        """The text of the value that the fast decoder kept, copied once however often it stands."""
        text = self._texts.get(name)
        if text is None and (raw := self._raw.get(name)) is not None:
            text = self._texts[name] = bytes(raw)
        return text

    def _refuse_value(self, start: int) -> NoReturn:
        """Say what the text is instead of an object."""
        self._require_end(self._scan(start))
        raise NotAnObjectError

    def _require_end(self, end: int) -> None:
        if self._skip(end) != len(self._body):
            raise InvalidJSONError("text follows its end")

    def _scan(self, start: int) -> int:
        if self._slow is None:
            self._slow = _Scanner(self._body)
        return self._slow.end_of_value(start)

    def _skip(self, start: int) -> int:
        blank = _BLANK.match(self._body, start)
        return start if blank is None else blank.end()

    def _after(self, sign: bytes, start: int) -> int:
        if not self._body.startswith(sign, start):
            raise InvalidJSONError("a comma or a colon is missing")
        return self._skip(start + 1)


class _Scanner:
    """The standard library's strict scanner, told not to make numbers of digits nobody will read.

    Bytes become characters one to one, so that offsets stay what they are; JSON's structure is
    ASCII.
    """

    def __init__(self, body: bytes) -> None:
        self._text = body.decode("latin-1")
        self._decoder = json.JSONDecoder(
            parse_int=str, parse_float=str, parse_constant=_refuse_constant
        )

    def end_of_value(self, start: int) -> int:
        """The offset after the value that begins at ``start``."""
        try:
            _, end = self._decoder.raw_decode(self._text, start)
        except json.JSONDecodeError:
            raise InvalidJSONError("it cannot be parsed") from None
        return end


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJSONError(f"it contains {name}")


def _text(key: bytes) -> str:
    if b"\\" not in key:
        return str(key[1:-1], "utf-8")
    try:
        return str(json.loads(str(key, "utf-8")))
    except json.JSONDecodeError:
        raise InvalidJSONError("a member's name cannot be parsed") from None
