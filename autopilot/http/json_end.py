"""Recognition of the end of a JSON document, for bodies whose framing does not tell it.

A body that ends with its connection looks complete wherever the connection ends (RFC 9112 §8); JSON
shows by its brackets whether it is.
"""

from __future__ import annotations

import re

_NEXT = re.compile(rb'["{}\[\]]')
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_OPENING, _CLOSING = b"{[", b"}]"


class JsonEnd:
    """Tells of a document that arrives in parts whether it is complete.

    Only brackets outside strings are counted; whether they match is not checked.
    """

    __slots__ = ("_depth", "_escaped", "_in_string")

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaped = False

    @property
    def reached(self) -> bool:
        """Whether no bracket or string is open."""
        return self._depth <= 0 and not self._in_string

    def feed(self, data: bytes) -> None:
        """Read the next part of the document."""
        at = 0
        if self._escaped and data:  # the second byte of an escape sequence
            at, self._escaped = 1, False
        while at < len(data):
            at = self._end_of_string(data, at) if self._in_string else self._bracket(data, at)

    def _end_of_string(self, data: bytes, at: int) -> int:
        """Return the offset behind a string, or behind the part of it that is there."""
        found = _STRING.match(data, at)
        end = at if found is None else found.end()
        self._in_string = data[end : end + 1] != b'"'
        self._escaped = data[end : end + 1] == b"\\"
        return end + 1

    def _bracket(self, data: bytes, at: int) -> int:
        """Return the offset behind the next bracket or quotation mark, if there is one."""
        found = _NEXT.search(data, at)
        if found is None:
            return len(data)
        mark = found[0]
        if mark in _OPENING:
            self._depth += 1
        elif mark in _CLOSING:
            self._depth -= 1
        else:
            self._in_string = True
        return found.end()
