"""One HTTP/1.1 connection to the upstream, which carries calls one after another.

It knows nothing of models, candidates or clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from httptools import HttpParserError, HttpParserUpgrade
from twisted.internet import protocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from autopilot.http import immediate_write
from autopilot.http.response_parser import ResponseHead, ResponseParser
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.types import UpstreamCall, UpstreamError

if TYPE_CHECKING:
    from twisted.python.failure import Failure


class Owner(Protocol):
    """What a connection reports to."""

    def ready(self, connection: Connection) -> None:
        """The connection was opened and, over TLS, verified; reported once."""

    def idle(self, connection: Connection) -> None:
        """The connection may carry another call."""

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""


@implementer(IHandshakeListener, IPushProducer)
class Connection(protocol.Protocol):
    """One connection to one origin, and the ``owner`` it reports to.

    As a producer the connection stands for the request body: the transport tells it whether all of
    it has left this process, because a connection that still owes request bytes must not carry a
    second call.
    """

    def __init__(self, secure: bool, owner: Owner) -> None:
        self._secure = secure
        self.owner = owner
        self._parser = ResponseParser()
        self._call: UpstreamCall | None = None
        self._reused = False
        self._heard = False
        self._paused = False
        self._owes_request = False
        self.closing = False

    # -- opening

    def connectionMade(self) -> None:
        """TCP is open; over TLS the peer is not known yet."""
        transport: Any = self.transport
        immediate_write.enable(_innermost(transport))
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)
        if not self._secure:
            self.owner.ready(self)

    def handshakeCompleted(self) -> None:
        """The peer's certificate and name were verified; only now may a request leave."""
        self.owner.ready(self)

    # -- carrying a call

    def carry(self, call: UpstreamCall, reused: bool) -> None:
        """Send the call's request and deliver the response to its handler."""
        self._parser.expect()
        self._heard = False
        self._call = call
        self._reused = reused
        call.transport = self
        # A call is never sent twice: a repeated request is a call of its own.
        payload, call.payload = call.payload, b""
        assert self.transport is not None
        self.transport.write(payload)

    def abort(self) -> None:
        """Close at once, without waiting for the peer, also over TLS."""
        self._call = None
        self.closing = True
        transport: Any = self.transport
        transport.abortConnection()

    def pause(self) -> None:
        """Let the response wait in the socket."""
        self._paused = True
        _innermost(self.transport).pauseProducing()

    def resume(self) -> None:
        """Read on."""
        self._paused = False
        _innermost(self.transport).resumeProducing()

    def pauseProducing(self) -> None:
        """The transport holds more request bytes than the socket takes."""
        self._owes_request = True

    def resumeProducing(self) -> None:
        """The request has left."""
        self._owes_request = False

    def stopProducing(self) -> None:
        """The transport is closing; `connectionLost` follows."""

    # -- the response

    def dataReceived(self, data: bytes) -> None:
        """Parse more of the response; bytes that belong to no call end the connection."""
        call = self._call
        if call is None:
            self.abort()
            return
        self._heard = True
        parser = self._parser
        try:
            parser.parse(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            parser.stop(error)
        parts = parser.parts
        if parts and parser.flowing:
            # A chunk of a stream: the straight line.
            call.handler.body(parts.pop() if len(parts) == 1 else parser.take_body())
            return
        head, body = parser.take(len(data))
        if parser.complete or parser.malformed:
            self._finish(call, head, body)
        elif head is not None:
            call.handler.head(head, body)

    def _finish(self, call: UpstreamCall, head: ResponseHead | None, body: bytes) -> None:
        """The response ends here; this connection is free before its handler knows.

        The handler may send its next request at once, so from here on only locals count.
        """
        parser = self._parser
        complete, failed = parser.complete, parser.failed
        self._call = None
        if not parser.reusable or self._owes_request:
            self.abort()
        else:
            if self._paused:  # over TLS several reads can arrive after the pause
                self.resume()
            self.owner.idle(self)
        if complete and head is not None:
            call.transport = None
            call.handler.whole(head, body)
            return
        if complete:
            call.transport = None
            call.handler.end(body)
            return
        over = call.transport = _Over()
        if head is not None:
            call.handler.head(head, body)
        elif body:
            call.handler.body(body)
        if call.transport is over:  # else the handler dropped the call
            call.transport = None
            call.handler.broken(UpstreamError(FailureReason.MALFORMED, internal=failed))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, and with it the call, unless its end was the response's end."""
        self.closing = True
        immediate_write.disable(_innermost(self.transport))
        self.owner.lost(self)
        call, self._call = self._call, None
        if call is None:
            return
        call.transport = None
        if self._parser.until_close and reason.check(ConnectionDone):
            call.handler.end(b"")
        else:
            stale = self._reused and not self._heard
            call.handler.broken(UpstreamError(FailureReason.CONNECTION_LOST, stale=stale))


class _Over:
    """Stands in for the connection while the last of a response is delivered."""

    __slots__ = ()

    def abort(self) -> None:
        """The connection is no longer this call's."""

    pause = resume = abort


def _innermost(transport: Any) -> Any:
    """Return the transport that owns the socket: only that one can pause reading, below TLS too."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport
