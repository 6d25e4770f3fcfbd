"""An HTTP/1.1 client on a plain socket, which keeps every byte and sees how a response ends.

The client libraries hide exactly what the smoke run is about: a stream that was cut, a connection
that was reset, an answer that came before the request was complete.
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
    """The connection ended or kept still before there was what was asked for."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response as far as it came. `clean`: its body ended as its head had promised."""

    status: int
    headers: Headers
    body: bytes
    clean: bool

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever the case of its name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The `error.code` of a JSON body; None when there is none."""
        try:
            return str(json.loads(self.body)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return None


def parse(raw: bytes) -> Reply | None:
    """The response in the bytes so far; None before the end of its head."""
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
    """The data of the chunks so far, a partial one included, and whether the last chunk came."""
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
    """One connection with one request on it. Keeps `sent` and `received` for the transcript."""

    def __init__(self, port: int, request: bytes, limit: float = LIMIT) -> None:
        self.sent = b""
        self.received = b""
        self._closed = False
        self._socket = socket.create_connection((HOST, port), timeout=limit)
        self.send(request)

    def send(self, data: bytes) -> None:
        """Send more; a server that has already refused may have closed, which is no error."""
        self.sent += data
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    @property
    def reply(self) -> Reply | None:
        """The response as far as it has come."""
        return parse(self.received)

    def read_until(self, marker: bytes) -> Reply:
        """Read until the body holds `marker`; raises NoAnswerError when it ends without."""
        while (reply := self.reply) is None or marker not in reply.body:
            if not self._read():
                raise NoAnswerError(f"the response ended without {marker!r}")
        return reply

    def finish(self) -> Reply:
        """Read to the end of the response, or to the end of the connection, and close.

        Once it is over, the same reply again.
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
            raise NoAnswerError("nothing came for too long") from None
        self.received += data
        return bool(data)


def get(port: int, path: str) -> Exchange:
    """Ask for a page; the response is still to be read."""
    return Exchange(port, f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())


def post_head(path: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """The head of a POST."""
    own = (("Host", HOST), ("Content-Type", "application/json"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in (*own, *fields))
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode()


def chunked(body: bytes, size: int = 8192) -> bytes:
    """A body in chunks, the last one included."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"


def fetch_json(port: int, path: str, value: object = None) -> Any:
    """One unrecorded request for JSON, with a JSON body if `value` is given."""
    if value is None:
        return get(port, path).finish().json()
    body = json.dumps(value).encode()
    head = post_head(path, [("Content-Length", str(len(body)))])
    return Exchange(port, head + body).finish().json()


def refused(port: int) -> bool:
    """Whether nobody listens on the port."""
    try:
        socket.create_connection((HOST, port), timeout=LIMIT).close()
    except ConnectionRefusedError:
        return True
    return False
