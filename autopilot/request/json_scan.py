"""Scanner of a JSON object's top-level members with their offsets, and a lenient decoder.

Decoders return values and lose the bytes. The router must forward the bytes unchanged (contract
§2), so it needs the offset of each member. Nested values are not inspected: msgspec skips them, at
some nanoseconds a byte and without creating objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec

# Real bodies have a few dozen. A body that consists of members only would block the process.
MAX_MEMBERS = 4096

DECODED_AT_ONCE = 262_144
"""Bytes of UTF-8: as text they may need four times the memory."""

_CONTINUATION = 0b1100_0000, 0b1000_0000

# Bytes of JSON. No name that anything looks for is longer, however it is spelled.
_LONGEST_KEY = 1024

_BLANK = re.compile(rb"[ \t\r\n]*+")
# Nothing is backtracked, so that a text of megabytes needs no memory for it. Groups are atomic:
# their possessive quantifiers find too little before Python 3.11.5 (CPython issue 106052).
_COLON = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+")
_NUMBER_OR_NAME = (
    rb"true|false|null|-?+(?:0|[1-9][0-9]*+)(?>(?:\.[0-9]++)?)(?>(?:[eE][+-]?+[0-9]++)?)"
)
_SCALAR = rb'"[^"\\\x00-\x1f]*+"|' + _NUMBER_OR_NAME
_SEPARATOR = re.compile(rb"[ \t\r\n]*+(?>(,[ \t\r\n]*+)?)")
# A member with a simple name: the name, its value if that is simple, and the comma behind that. Few
# calls for each member matter where a body consists of members.
_MEMBER = re.compile(
    rb'"([^"\\\x00-\x1f]*+)"[ \t\r\n]*+:[ \t\r\n]*+(?>(?:(%b)%b)?)' % (_SCALAR, _SEPARATOR.pattern)
)
_SIMPLE_VALUE = re.compile(_SCALAR)
# The start of an object with too many members, if they are as short and simple as they have to be
# for a body to have millions of them.
_CROWD = re.compile(
    rb'[ \t\r\n]*+\{(?>[ \t\r\n]*+"[^"\\\x00-\x1f]{0,256}+"[ \t\r\n]*+:[ \t\r\n]*+'
    rb'(?:"[^"\\\x00-\x1f]{0,256}+"|%b)[ \t\r\n]*+,){%d}' % (_NUMBER_OR_NAME, MAX_MEMBERS + 1)
)
_RAW = msgspec.json.Decoder(msgspec.Raw)
# What msgspec says of a text whose first value is valid and has something behind it.
_TRAILING = re.compile(r"trailing characters \(byte ([0-9]+)\)")
_AT = re.compile(r"\(byte ([0-9]+)\)$")
_CONSTANTS = (b"NaN", b"Infinity")


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
    The ``key`` of a name of more than 1 KiB is empty: nothing looks for such a name.
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


def is_utf8(text: bytes) -> bool:
    """Return whether ``text`` is valid UTF-8, without decoding all of it at once."""
    if text.isascii():
        return True
    start, size = 0, len(text)
    try:
        while size - start > DECODED_AT_ONCE:
            end = start + DECODED_AT_ONCE
            # Not between the bytes of a character, of which there are at most four.
            for _ in range(3):
                if text[end] & _CONTINUATION[0] == _CONTINUATION[1]:
                    end -= 1
            str(memoryview(text)[start:end], "utf-8")
            start = end
        str(memoryview(text)[start:], "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def begins_with_a_crowd(body: bytes) -> bool:
    """Return whether ``body`` begins with too many short members, which need not be decoded."""
    return _CROWD.match(body) is not None


def without_surrogates(text: bytes) -> bytes:
    """Return ``text`` with other escapes of the same length in place of ``\\ud…``.

    msgspec rejects half of a surrogate pair, which is valid JSON (RFC 8259 §8.2). The result is
    valid exactly if ``text`` is, its values have the same offsets, and those that differ in it are
    strings with such an escape. It stays an escape of a character that no name contains.
    """
    return text.replace(b"\\ud", b"\\ue").replace(b"\\uD", b"\\uE")


def members(body: bytes) -> list[Member]:
    """Return the top-level members in order, including those with equal keys.

    :raises InvalidJSONError: not JSON by RFC 8259: bad UTF-8, ``NaN``, trailing text, or nested so
        deeply that a parser runs out of stack.
    :raises NotAnObjectError: JSON, but not an object.
    :raises TooManyMembersError: more than `MAX_MEMBERS` members; the rest is not read.
    """
    return scan(body)[0]


def scan(body: bytes) -> tuple[list[Member], bytes]:
    """Return the members of ``body``, and the text from which to decode their values.

    That is `without_surrogates`, where ``body`` has any, else ``body`` itself. It raises what
    `members` raises.
    """
    if not is_utf8(body):
        raise InvalidJSONError("it is not UTF-8")
    if begins_with_a_crowd(body):
        raise TooManyMembersError
    found: list[Member] = []
    walk = _Walk(body)
    for member in walk:
        if len(found) == MAX_MEMBERS:
            raise TooManyMembersError
        found.append(member)
    return found, walk.text


class _Walk:
    """Iterates over members; the end of a long value is where msgspec stops to read one value."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.text = body

    def __iter__(self) -> Iterator[Member]:
        body = self._body
        start = self._skip(0)
        if not body.startswith(b"{", start):
            self._refuse_value(start)
        comma = start = self._skip(start + 1)
        while not body.startswith(b"}", start):
            found = _MEMBER.match(body, start)
            if found is None:
                member = self._oddly_named(comma, start)
            else:
                name = str(found[1], "utf-8") if found.end(1) - start <= _LONGEST_KEY else ""
                value, end = found.span(2)
                if value < 0:
                    value = found.end()
                    end, found = self._measure(value), None
                member = Member(name, comma, start, value, end)
            yield member
            if found is None:
                separator = _SEPARATOR.match(body, member.end)
                assert separator is not None  # it matches nothing, too
                comma, start = separator.start(1), separator.end()
            else:
                comma, start = found.start(3), found.end()
            if comma >= 0 and body.startswith(b"}", start):
                raise InvalidJSONError("a comma is followed by nothing")
            if comma < 0 and not body.startswith(b"}", start):
                raise InvalidJSONError("a comma or a colon is missing")
        self._require_end(start + 1)

    def _oddly_named(self, comma: int, start: int) -> Member:
        """Return the member that begins at ``start``, if its name has escapes."""
        if not self._body.startswith(b'"', start):
            raise InvalidJSONError("a member has no name")
        end = self._measure(start)
        colon = _COLON.match(self._body, end)
        if colon is None:
            raise InvalidJSONError("a comma or a colon is missing")
        name = ""
        if end - start <= _LONGEST_KEY:
            name = json.loads(str(self._body[start:end], "utf-8"))
        return Member(name, comma, start, colon.end(), self._end_of_value(colon.end()))

    def _end_of_value(self, start: int) -> int:
        scalar = _SIMPLE_VALUE.match(self._body, start)
        return self._measure(start) if scalar is None else scalar.end()

    def _measure(self, start: int) -> int:
        """Return the offset after the value that begins at ``start``."""
        text = memoryview(self.text)[start:]
        try:
            _RAW.decode(text)
        except RecursionError:
            raise InvalidJSONError("it is nested too deeply") from None
        except msgspec.DecodeError as error:
            trailing = _TRAILING.search(str(error))
            if trailing is None:
                return self._measure_without_surrogates(start, str(error))
            text = text[: int(trailing[1]) - 1]  # it counts the byte behind the value
        return start + len(bytes(text).rstrip(b" \t\r\n"))

    def _measure_without_surrogates(self, start: int, error: str) -> int:
        """Return what `_measure` returns, unless the error has another reason than surrogates."""
        text = without_surrogates(self.text)
        if text is self.text:
            raise InvalidJSONError(self._cause(start, error))
        self.text = text
        return self._measure(start)

    def _cause(self, start: int, error: str) -> str:
        """Return what is wrong with a value, by the offset in msgspec's error."""
        if (at := _AT.search(error)) is not None:
            for name in _CONSTANTS:
                if self._body.startswith(name, start + int(at[1])):
                    return f"it contains {name.decode()}"
        return "it cannot be parsed"

    def _refuse_value(self, start: int) -> NoReturn:
        """Raise the error for a text that is not an object."""
        self._require_end(self._end_of_value(start))
        raise NotAnObjectError

    def _require_end(self, end: int) -> None:
        if self._skip(end) != len(self._body):
            raise InvalidJSONError("text follows its end")

    def _skip(self, start: int) -> int:
        blank = _BLANK.match(self._body, start)
        return start if blank is None else blank.end()
