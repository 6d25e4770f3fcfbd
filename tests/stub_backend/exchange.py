"""HTTP exchanges with a stub in memory, on a clock that the test advances."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from stub_backend import Received, Stub, StubOptions, site

QUICK = StubOptions(token_delay=0.0, time_scale=0.0001, huge_bytes=200_000)
PEER = IPv4Address("TCP", "127.0.0.1", 50_000)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. `complete`: the body ended as its head declared."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    complete: bool

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    @property
    def content_type(self) -> str | None:
        """Return the media type without parameters."""
        given = self.header("content-type")
        return given.partition(";")[0] if given else None

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)

    def events(self) -> list[str]:
        """Return the data of each event of an SSE body."""
        text = self.body.decode().replace("\r\n", "\n")
        lines = (line for block in text.split("\n\n") for line in block.split("\n"))
        return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


class Exchange:
    """A connection to a stub."""

    def __init__(
        self, options: StubOptions = QUICK, shared: tuple[Clock, Stub] | None = None
    ) -> None:
        if shared is None:
            clock = Clock()
            shared = clock, site(clock, options)
        self.clock, self.stub = shared
        self.transport = StringTransport()
        self.channel: Any = self.stub.site.buildProtocol(PEER)
        self.channel.makeConnection(self.transport)

    def another(self) -> Exchange:
        """Return another connection to the same stub."""
        return Exchange(shared=(self.clock, self.stub))

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a request without advancing the clock."""
        fields = {"host": "stub", "content-length": str(len(body))} | dict(headers or {})
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.transport.clear()
        self.channel.dataReceived(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    def run(self, seconds: float = 20.0) -> None:
        """Advance the clock, timer by timer, until the response ends or no timer is left."""
        until = self.clock.seconds() + seconds
        while not (self.transport.disconnecting or (self.stub.log and self.stub.log[-1].ended)):
            due = min((each.getTime() for each in self.clock.getDelayedCalls()), default=until)
            self.clock.advance(max(0.0, min(due, until) - self.clock.seconds()))
            if due >= until:
                return

    def leave(self) -> None:
        """Disconnect."""
        self.channel.connectionLost(Failure(ConnectionDone()))

    def ask(
        self,
        model: str,
        *,
        path: str = "/v1/chat/completions",
        stream: bool = False,
        **members: Any,
    ) -> Answer | None:
        """Call a model, and return the whole response, or None without a valid head."""
        said = [{"role": "user", "content": "What is the weather?"}]
        body = {"model": model, "stream": stream, "messages": said} | members
        self.send("POST", path, json.dumps(body).encode())
        self.run()
        return self.answer()

    def fetch(self, method: str, path: str, value: object = None) -> Answer:
        """Send a request with a JSON body, and return the whole response."""
        self.send(method, path, b"" if value is None else json.dumps(value).encode())
        self.run()
        answer = self.answer()
        assert answer is not None
        return answer

    @property
    def last(self) -> Received:
        """Return the record of the last request."""
        return self.stub.log[-1]

    def answer(self) -> Answer | None:
        """Return the response received so far."""
        raw = self.transport.value()
        while raw.startswith(b"HTTP/1.1 103"):
            raw = raw.partition(b"\r\n\r\n")[2]
        head, found, rest = raw.partition(b"\r\n\r\n")
        if not found or not head.startswith(b"HTTP/1.1 "):
            return None
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = tuple((name.lower(), value.strip()) for name, _, value in pairs)
        return _framed(int(status.split()[1]), headers, rest, self.transport.disconnecting)


def _framed(status: int, headers: tuple[tuple[str, str], ...], rest: bytes, closed: bool) -> Answer:
    fields = dict(headers)
    if status == 204:
        return Answer(status, headers, b"", True)
    if "content-length" in fields:
        length = int(fields["content-length"])
        return Answer(status, headers, rest[:length], len(rest) >= length)
    if fields.get("transfer-encoding") == "chunked":
        body, complete = _dechunked(rest)
        return Answer(status, headers, body, complete)
    return Answer(status, headers, rest, closed and status != 101)


def _dechunked(rest: bytes) -> tuple[bytes, bool]:
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body, True
        body += rest[:length]
        rest = rest[length + 2 :]
    return body, False
