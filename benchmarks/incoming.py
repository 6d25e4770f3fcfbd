"""The parser of the requests that a proxy sends on a keep-alive connection.

Of a large body it keeps only the first and last part: the members that determine the response are
at one of its ends, and the upstream must cost as little as possible.
"""

from __future__ import annotations

import re
from typing import Final

from benchmarks.wire import FRAMING, LAST_CHUNK

_KEPT: Final = 4096
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)")
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked")
_CLOSE: Final = b"\r\nconnection: close\r\n"


class Incoming:
    """The current request. Pipelining is not supported, because no proxy uses it."""

    __slots__ = ("_chunked", "_left", "_whole", "body", "closing", "head")

    def __init__(self) -> None:
        self.head = b""
        self.body = b""
        self.closing = False
        self._whole = True
        self._left = 0
        self._chunked = False

    def feed(self, data: bytes) -> bool:
        """Parse received bytes, and return whether `head` and `body` are now complete."""
        if self._whole:
            self._whole = False
            self.head = self.body = b""
            self._left = -1
        if self._left < 0:
            data = self.head + data if self.head else data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self.head = data
                return False
            self.head = data[: end + 2]
            self._frame(self.head.lower())
            data = data[end + 4 :]
        self._add(data)
        return self._whole

    def _frame(self, head: bytes) -> None:
        length = _LENGTH.search(head)
        self._left = int(length[1]) if length else 0
        self._chunked = not length and _CHUNKED.search(head) is not None
        self.closing = _CLOSE in head

    def _add(self, data: bytes) -> None:
        self.body = _ends(self.body, data) if self.body else _ends(data, b"")
        if self._chunked:
            self._whole = self.body.endswith(LAST_CHUNK)
            if self._whole:
                self.body = FRAMING.sub(b"", self.body)
            return
        self._left -= len(data)
        self._whole = self._left <= 0


def _ends(first: bytes, more: bytes) -> bytes:
    """Return both joined, or only their first and last part if that would be large."""
    if len(first) + len(more) <= 2 * _KEPT:
        return first + more
    start = (first[:_KEPT] + more[:_KEPT])[:_KEPT]
    return start + (first[-_KEPT:] + more[-_KEPT:])[-_KEPT:]
