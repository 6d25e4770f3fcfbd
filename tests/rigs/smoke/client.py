"""An HTTP/1.1 client on a plain socket, which keeps every byte and reports how a response ended.

Client libraries hide what the smoke run tests: a truncated stream, a reset connection, a response
that arrives before the request is complete.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.rigs.smoke.waiting import LIMIT

Headers = tuple[tuple[str, str], ...]
_READ = 65_536
HOST = "127.0.0.1"


class NoAnswerError(Exception):
    """The connection closed, or timed out, before the expected part of the response arrived."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response, possibly incomplete. `clean`: its body ended as its head announced."""

    status: int
    headers: Headers
    body: bytes
    clean: bool

    def header(self, name: str) -> str | None:
        """Return the first value of a header; names are compared without case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> Any:
        """Return the body, decoded as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The `error.code` of a JSON body; None if there is none."""
        try:
            return str(json.loads(self.body)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return None


def parse(raw: bytes) -> Reply | None:
    """Parse the response received so far; return None before the end of its head."""
    head, found, rest = raw.partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    if first.startswith("HTTP/1.1 100"):
        return parse(rest)
    pairs = (line.partition(":") for line in lines)
    headers = tuple((name, value.strip()) for name, _, value in pairs)
    fields = {name.lower(): value for name, value in headers}
    body, clean = _framed(fields, rest)
    return Reply(int(first.split()[1]), headers, body, clean)


def _framed(fields: dict[str, str], rest: bytes) -> tuple[bytes, bool]:
    if fields.get("transfer-encoding", "").lower() == "chunked":
        return _dechunked(rest)
    length = fields.get("content-length")
    return (rest, False) if length is None else (rest[: int(length)], len(rest) >= int(length))


def _dechunked(rest: bytes) -> tuple[bytes, bool]:
    """Decode the chunks received so far; return the data and whether the last chunk arrived."""
    body = b""
    while True:
        line, found, after = rest.partition(b"\r\n")
        if not found:
            return body, False
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            return body, after.endswith(b"\r\n")
        body += after[:size]
        rest = after[size + 2 :]


class Exchange:
    """One connection with one request. Keeps `sent` and `received` for the transcript."""

    def __init__(self, port: int, request: bytes, limit: float = LIMIT) -> None:
        self.sent = b""
        self.received = b""
        self._closed = False
        self._socket = socket.create_connection((HOST, port), timeout=limit)
        self.send(request)

    def send(self, data: bytes) -> None:
        """Send more bytes; a server that has already refused the request may have closed."""
        self.sent += data
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    @property
    def reply(self) -> Reply | None:
        """The response as far as it has arrived."""
        return parse(self.received)

    def read_until(self, marker: bytes) -> Reply:
        """Read until the body contains `marker`; raise NoAnswerError if it ends without."""
        while (reply := self.reply) is None or marker not in reply.body:
            if not self._read():
                raise NoAnswerError(f"the response ended without {marker!r}")
        return reply

    def finish(self) -> Reply:
        """Read to the end of the response or of the connection, and close.

        A second call returns the same reply.
        """
        try:
            while not self._closed and ((reply := self.reply) is None or not reply.clean):
                self._closed = not self._read()
        finally:
            self._closed = True
            self._socket.close()
        reply = self.reply
        if reply is None:
            raise NoAnswerError("the connection ended before a response head")
        return reply

    def _read(self) -> bool:
        try:
            data = self._socket.recv(_READ)
        except ConnectionResetError:
            data = b""
        except TimeoutError:
            raise NoAnswerError("the read timed out") from None
        self.received += data
        return bool(data)


def get(port: int, path: str) -> Exchange:
    """Request a page, without reading the response."""
    return Exchange(port, f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())


def post_head(path: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """Return the head of a POST request."""
    own = (("Host", HOST), ("Content-Type", "application/json"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in (*own, *fields))
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode()


def chunked(body: bytes, size: int = 8192) -> bytes:
    """Return the body in chunks, including the last one."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"


def fetch_json(port: int, path: str, value: object = None) -> Any:
    """Make a request for JSON without a transcript, with a JSON body if `value` is given."""
    if value is None:
        return get(port, path).finish().json()
    body = json.dumps(value).encode()
    head = post_head(path, [("Content-Length", str(len(body)))])
    return Exchange(port, head + body).finish().json()


def refused(port: int) -> bool:
    """Return whether connections to the port are refused."""
    try:
        socket.create_connection((HOST, port), timeout=LIMIT).close()
    except ConnectionRefusedError:
        return True
    return False
