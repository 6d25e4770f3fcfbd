"""Recognition of the end of a JSON document, for bodies whose framing does not tell it.

A body that ends with its connection looks complete wherever the connection ends (RFC 9112 §8); JSON
shows by its brackets whether it is.
"""

from __future__ import annotations

import re

_ESCAPED = re.compile(rb"\\.", re.DOTALL)


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
        if self._escaped and data:  # the second byte of an escape sequence
            data = data[1:]
            self._escaped = False
        if b"\\" in data:
            data = _ESCAPED.sub(b"", data)
            self._escaped = data.endswith(b"\\")
        # Of what stands between quotation marks every other piece is outside strings. One search,
        # whatever the document holds: a step for each bracket would hold up other requests.
        pieces = data.split(b'"')
        outside = b"".join(pieces[1::2] if self._in_string else pieces[::2])
        opened, listed, closed, ended = map(outside.count, (b"{", b"[", b"}", b"]"))
        self._depth += opened + listed - closed - ended
        self._in_string ^= len(pieces) % 2 == 0
