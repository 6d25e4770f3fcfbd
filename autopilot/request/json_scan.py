"""Scanner of a JSON object's top-level members with their offsets, and a lenient decoder.

Decoders return values and lose the bytes. The router must forward the bytes unchanged (contract
§2), so it needs the offset of each member. Nested values are not inspected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import msgspec

# Real bodies have a few dozen. A body that consists of members only would block the process.
MAX_MEMBERS = 4096

# Bytes. If they hold too many members already, the rest is not decoded.
_START = 262_144

_BLANK = re.compile(rb"[ \t\r\n]*+")
# Possessive quantifiers: a key of megabytes needs no memory for backtracking.
_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]++|\\.)*+"')
_RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])


class InvalidJSONError(ValueError):
    """The text is not JSON; the message gives the cause without a quotation."""


class NotAnObjectError(ValueError):
    """The text is JSON, but not an object."""


class TooManyMembersError(ValueError):
    """The text begins with more than `MAX_MEMBERS` members of an object."""


class Member(msgspec.Struct, frozen=True, gc=False):
    """One member: its key and its offsets.

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
    """Return the top-level members in order, including those with equal keys.

    :raises InvalidJSONError: not JSON by RFC 8259: bad UTF-8, ``NaN``, trailing text, or nested so
        deeply that a parser runs out of stack.
    :raises NotAnObjectError: JSON, but not an object.
    :raises TooManyMembersError: more than `MAX_MEMBERS` members; the rest is not read.
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
        # Not an object or, most likely, not JSON. But msgspec also rejects half of a surrogate pair
        # in a string, which is valid JSON (RFC 8259 §8.2).
        raw = {}
    try:
        return _first_members(_Walk(body, raw))
    except RecursionError:
        raise InvalidJSONError("it is nested too deeply") from None


def _is_crowded(body: bytes) -> bool:
    """Return whether the start of a large body holds too many members already.

    Decoding a whole body only to reject it would delay every other request.
    """
    if body.count(b":", 0, _START) <= MAX_MEMBERS:
        return False
    try:
        _first_members(_Walk(body[:_START], {}))
    except TooManyMembersError:
        return True
    except (ValueError, RecursionError):
        pass  # cut off within a value, or invalid, which the caller finds out
    return False


def _first_members(walk: _Walk) -> list[Member]:
    """Return all members, unless there are too many."""
    found: list[Member] = []
    for member in walk:
        if len(found) == MAX_MEMBERS:
            raise TooManyMembersError
        found.append(member)
    return found


class _Walk:
    """Iterates over members; a fast decoder has already measured their values, by key.

    For a duplicate key it has measured only one of the values. Therefore the text at the current
    offset must equal the measured value and a comma or the object's end must follow; since no
    complete JSON value except a number is a prefix of another, this proves the value's end. The
    standard library's scanner measures all other values.
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
        """Return the value that the fast decoder found for a key, copied once per key."""
        text = self._texts.get(name)
        if text is None and (raw := self._raw.get(name)) is not None:
            text = self._texts[name] = bytes(raw)
        return text

    def _refuse_value(self, start: int) -> NoReturn:
        """Raise the error for a text that is not an object."""
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
    """The standard library's scanner, set to reject ``NaN`` and to leave numbers as text.

    The bytes are decoded as Latin-1, one character each, so that offsets remain valid; the syntax
    of JSON is ASCII.
    """

    def __init__(self, body: bytes) -> None:
        self._text = body.decode("latin-1")
        self._decoder = json.JSONDecoder(
            parse_int=str, parse_float=str, parse_constant=_refuse_constant
        )

    def end_of_value(self, start: int) -> int:
        """Return the offset after the value that begins at ``start``."""
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
