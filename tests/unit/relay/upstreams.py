"""An upstream in memory: every connection the router opens to it, driven byte by byte.

The pool and its connections on top are the real ones. As in Twisted, a connection that was aborted
is lost in a later turn of the reactor, and one whose reading is paused keeps what arrives.
"""

from __future__ import annotations

import json
from typing import cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from autopilot.upstream.connection import Connection
from autopilot.upstream.pool import Origin

SSE = b"text/event-stream"
JSON = b"application/json"
ROLE = b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
TOKEN = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
STOP = b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def head(status: int = 200, kind: bytes = SSE, *fields: bytes) -> bytes:
    """A response head; the body is chunked unless a field says otherwise."""
    lines = [b"HTTP/1.1 %d Some Reason" % status, b"Content-Type: " + kind, *fields]
    if not any(field.lower().startswith(b"content-length") for field in fields):
        lines.append(b"Transfer-Encoding: chunked")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; of no bytes, the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def whole(status: int, body: bytes, kind: bytes = JSON, *fields: bytes) -> bytes:
    """A complete response with its length."""
    return head(status, kind, b"Content-Length: %d" % len(body), *fields) + body


def shaped(body: bytes, kind: str) -> bytes:
    """A platform's error with a text as its detail, as the client receives it."""
    member = b',"error":{"type":"%b","message":%b,"param":null,"code":null}}'
    words = json.dumps(json.loads(body)["detail"])
    return body[:-1] + member % (kind.encode(), words.encode())


@implementer(ITCPTransport)
class Wire(StringTransport):
    """The upstream's view of one connection."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._unread: list[bytes] = []
        self.protocol: IProtocol | None = None
        self.aborted = False
        self.lost = False
        self.no_delay = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`."""
        self.no_delay = bool(enabled)

    def getTcpNoDelay(self) -> bool:
        """See `ITCPTransport`."""
        return self.no_delay

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See `ITCPTransport`."""

    def getTcpKeepAlive(self) -> bool:
        """See `ITCPTransport`."""
        return True

    def loseWriteConnection(self) -> None:
        """See `ITCPTransport`."""

    def abortConnection(self) -> None:
        """See `ITCPTransport`."""
        if not self.aborted:
            self.aborted = True
            self._clock.callLater(0, self._lose, ConnectionAborted())

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        super().resumeProducing()
        self._clock.callLater(0, self._read)

    @property
    def alive(self) -> bool:
        """Whether the router still wants this connection."""
        return not (self.aborted or self.lost)

    @property
    def models(self) -> list[str]:
        """The models of the requests received."""
        parts = self.value().split(b"\r\n\r\n")[1:]
        bodies = [part.split(b"POST ", 1)[0] for part in parts]
        return [json.loads(body)["model"] for body in bodies]

    def says(self, *data: bytes) -> None:
        """Send each of ``data`` as one read of the router's socket."""
        self._unread.extend(data)
        self._read()

    def closes(self) -> None:
        """Close in good order."""
        self._lose(ConnectionDone())

    def resets(self) -> None:
        """Break the connection off."""
        self._lose(ConnectionLost())

    def _read(self) -> None:
        while self._unread and self.alive and self.producerState == "producing":
            assert self.protocol is not None
            self.protocol.dataReceived(self._unread.pop(0))

    def _lose(self, error: Exception) -> None:
        if not self.lost:
            self.lost = True
            assert self.protocol is not None
            self.protocol.connectionLost(Failure(error))


class Upstreams:
    """Makes endpoints that connect at once, refuse so many times, or leave it in the air."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.wires: list[Wire] = []
        self.origins: list[Origin] = []
        self.refusing = 0
        self.refusal: Exception = ConnectionRefusedError()
        self.hanging = False
        self.cancelled = 0
        self.waiting: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = []

    def __call__(self, origin: Origin) -> IStreamClientEndpoint:
        """See `EndpointMaker`."""
        self.origins.append(origin)
        return Endpoint(self)

    @property
    def wire(self) -> Wire:
        """The connection opened last."""
        return self.wires[-1]

    @property
    def models(self) -> list[str]:
        """The models of all requests, connection by connection."""
        return [model for wire in self.wires for model in wire.models]

    @property
    def alive(self) -> list[Wire]:
        """The connections the router still wants."""
        return [wire for wire in self.wires if wire.alive]

    def open(self, factory: IProtocolFactory) -> Connection:
        """Complete one connection."""
        wire = Wire(self.clock)
        protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.2", 80))
        assert protocol is not None
        wire.protocol = protocol
        self.wires.append(wire)
        protocol.makeConnection(wire)
        return cast(Connection, protocol)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Answer one attempt to connect."""
        if self.refusing:
            self.refusing -= 1
            return fail(self.refusal)
        if not self.hanging:
            return succeed(self.open(factory))
        connecting: Deferred[IProtocol] = Deferred(self._cancel)
        self.waiting.append((factory, connecting))
        return connecting

    def lets_in(self) -> Connection:
        """Complete the connection that has been in the air longest."""
        factory, connecting = self.waiting.pop(0)
        protocol = self.open(factory)
        connecting.callback(protocol)
        return protocol

    def _cancel(self, connecting: Deferred[IProtocol]) -> None:
        self.cancelled += 1
        self.waiting = [each for each in self.waiting if each[1] is not connecting]


@implementer(IStreamClientEndpoint)
class Endpoint:
    """The way to an `Upstreams`."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        return self._upstreams.connect(protocolFactory)
