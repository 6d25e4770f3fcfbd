"""Client of the measured router: one kept connection, one request after another."""

from __future__ import annotations

import re
import socket
from types import TracebackType
from typing import Final, Self

from benchmarks.processes import HOST
from benchmarks.wire import LAST_CHUNK

_PATIENCE: Final = 120.0  # the router may run in an emulator
_RECEIVE_BYTES: Final = 1 << 20
_HEAD_END: Final = b"\r\n\r\n"
_CHUNK_END: Final = b"\n\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class ResponseError(Exception):
    """The router did not answer with a complete 200 response."""


class Client:
    """A blocking client with one connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=_PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, request: bytes) -> None:
        """Send a whole request."""
        self._socket.sendall(request)

    def read_response(self) -> None:
        """Read a whole response that has a Content-Length."""
        data = self._read_head()
        length = _LENGTH.search(data)
        if length is None:
            raise ResponseError(f"no Content-Length in {data[:300]!r}")
        size = data.index(_HEAD_END) + len(_HEAD_END) + int(length[1])
        while len(data) < size:
            data += self._receive()
        if len(data) > size:
            raise ResponseError(f"{len(data) - size} bytes too many")

    def read_stream_start(self) -> None:
        """Read the head of a stream and its first event."""
        self._read_until(_CHUNK_END, self._read_head())

    def read_event(self) -> None:
        """Read one event."""
        self._read_until(_CHUNK_END)

    def read_stream_end(self) -> None:
        """Read the rest of a stream."""
        self._read_until(LAST_CHUNK)

    def _read_head(self) -> bytes:
        data = self._receive()
        while _HEAD_END not in data:
            data += self._receive()
        if not data.startswith(b"HTTP/1.1 200 "):
            raise ResponseError(f"not a 200: {data[:500]!r}")
        return data

    def _read_until(self, end: bytes, data: bytes = b"") -> None:
        while not data.endswith(end):
            data += self._receive()

    def _receive(self) -> bytes:
        data = self._socket.recv(_RECEIVE_BYTES)
        if not data:
            raise ResponseError("the router closed the connection")
        return data
