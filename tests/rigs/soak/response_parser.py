"""Strict incremental parser of responses (RFC 9112)."""

from __future__ import annotations

import re
from typing import Final

from autopilot.http.headers import BODILESS

_SIZE: Final = re.compile(rb"[0-9a-f]+\Z")


class NotHttpError(Exception):
    """The bytes are not an HTTP response."""


class ResponseParser:
    """One response, possibly incomplete.

    `whole`: its framing shows that it has ended; `rest` holds the bytes after it.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.fields: dict[str, list[str]] = {}
        self.body = bytearray()
        self.whole = False
        self.rest = b""
        self._pending = bytearray()
        self._left: int | None = None
        self._chunked = False
        self._trailing = False

    def field(self, name: str) -> str | None:
        """Return the value of a field that may occur once at most."""
        values = self.fields.get(name, [])
        if len(values) > 1:
            raise NotHttpError(f"{name} occurs {len(values)} times")
        return values[0] if values else None

    def feed(self, data: bytes) -> None:
        """Feed more bytes of the connection. Raise `NotHttpError` if they are invalid."""
        self._pending += data
        while not self.whole and self._step():
            pass
        if self.whole:
            self.rest = bytes(self._pending)

    def _step(self) -> bool:
        """Parse one element; return whether there was enough data."""
        if self.status is None:
            return self._head()
        if self._chunked and self._left is None:
            return self._chunk_size()
        return self._data()

    def _head(self) -> bool:
        end = self._pending.find(b"\r\n\r\n")
        if end < 0:
            return False
        text = bytes(self._pending[:end])
        del self._pending[: end + 4]
        first, *lines = text.decode("latin-1").split("\r\n")
        found = re.fullmatch(r"HTTP/1\.1 ([1-5]\d\d) [ -~]*", first)
        if found is None:
            raise NotHttpError(f"status line {first[:80]!r}")
        self.fields = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise NotHttpError(f"field {line[:80]!r}")
            self.fields.setdefault(name.lower(), []).append(value.strip())
        self._framing(int(found.group(1)))
        return True

    def _framing(self, status: int) -> None:
        if status < 200:
            if status != 100:
                raise NotHttpError(f"an interim response {status}")
            return
        self.status = status
        length, coding = self.field("content-length"), self.field("transfer-encoding")
        if length is not None and coding is not None:
            raise NotHttpError("two framings")
        if status in BODILESS:
            self.whole = True
        elif coding is not None:
            if coding != "chunked":
                raise NotHttpError(f"coding {coding!r}")
            self._chunked = True
        elif length is not None and length.isdecimal():
            self._left = int(length)
            self.whole = self._left == 0
        else:
            raise NotHttpError("no framing")

    def _chunk_size(self) -> bool:
        end = self._pending.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._pending[:end])
        del self._pending[: end + 2]
        if self._trailing:
            if line:
                raise NotHttpError("trailers")
            self.whole = True
        elif not _SIZE.match(line):
            raise NotHttpError(f"chunk size {line[:40]!r}")
        else:
            self._left = int(line, 16)
            if self._left == 0:
                self._left, self._trailing = None, True
        return True

    def _data(self) -> bool:
        assert self._left is not None
        taken = self._pending[: self._left]
        if taken:
            del self._pending[: len(taken)]
            self.body += taken
            self._left -= len(taken)
        if self._left:
            return False
        if not self._chunked:
            self.whole = True
            return True
        if len(self._pending) < 2:
            return False
        if self._pending[:2] != b"\r\n":
            raise NotHttpError("a chunk without its end")
        del self._pending[:2]
        self._left = None
        return True
