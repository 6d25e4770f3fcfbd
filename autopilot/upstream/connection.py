"""Client side of one HTTP/1.1 connection to the upstream, which carries calls in sequence.

Calls are never pipelined, and models, candidates and clients are unknown here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from httptools import HttpParserError, HttpParserUpgrade
from twisted.internet import protocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from autopilot.http import immediate_write
from autopilot.http.response_parser import ResponseHead, ResponseParser
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.types import UpstreamCall, UpstreamError

if TYPE_CHECKING:
    from twisted.python.failure import Failure

_log = Logger()


READ_BYTES = 2**14
"""The most that is read in a turn, a quarter of what Twisted reads: the events of a chunk may each
have to be parsed, and other connections wait meanwhile. It is the size of a TLS record."""

_PROXY_AUTHENTICATION_REQUIRED = 407


class Owner(Protocol):
    """The receiver of a connection's state changes: its opening, then its server in the pool."""

    def ready(self, connection: Connection) -> None:
        """The connection is open and, over TLS, verified; called once."""

    def idle(self, connection: Connection) -> None:
        """The connection can carry another call."""

    def draining(self, connection: Connection) -> None:
        """The rest of a response is discarded: abort the connection if that takes too long."""

    def lost(self, connection: Connection) -> None:
        """The connection is closed."""


@implementer(IHandshakeListener, IPushProducer)
class Connection(protocol.Protocol):
    """One connection to one origin, which reports to its ``owner``.

    It is registered with its transport as the producer of request bytes, although it writes a
    request at once: the transport pauses it while request bytes wait in this process, and a
    connection with such bytes must not carry another call (RFC 9112 §9.3).
    """

    def __init__(self, secure: bool, owner: Owner) -> None:
        self._secure = secure
        self.owner = owner
        self._parser = ResponseParser()
        self._call: UpstreamCall | None = None
        self._received = False
        self._paused = False
        self._owes_request = False
        self.closing = False

    # -- opening

    def connectionMade(self) -> None:
        """Prepare the transport; over TLS the peer is not verified yet."""
        transport: Any = self.transport
        socket_transport = innermost(transport)
        immediate_write.enable(socket_transport)
        socket_transport.bufferSize = READ_BYTES
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)
        if not self._secure:
            self.owner.ready(self)

    def handshakeCompleted(self) -> None:
        """Report readiness: TLS has verified the peer, so it may receive credentials."""
        self.owner.ready(self)

    # -- carrying a call

    def carry(self, call: UpstreamCall, reused: bool) -> None:
        """Send the request of a call, and deliver the response to its handler."""
        self._parser.expect()
        self._received = False
        self._call = call
        call.reused = reused
        call.transport = self
        # Released, because it may be large: a call is sent once, and a repetition is a new call.
        payload, call.payload = call.payload, b""
        assert self.transport is not None
        self.transport.write(payload)

    def abort(self) -> None:
        """Close at once, without the closing handshake of TLS."""
        self._call = None
        self.closing = True
        transport: Any = self.transport
        transport.abortConnection()

    def drain(self) -> None:
        """Discard the rest of the response; `Owner.idle` or `Owner.lost` follows."""
        if self._parser.until_close:  # never to be kept
            self.abort()
            return
        if self._paused:
            self.resume()
        self.owner.draining(self)

    def pause(self) -> None:
        """Stop reading, so that TCP flow control stops the upstream."""
        self._paused = True
        innermost(self.transport).pauseProducing()

    def resume(self) -> None:
        """Resume reading."""
        self._paused = False
        innermost(self.transport).resumeProducing()

    def pauseProducing(self) -> None:
        """See `IPushProducer`: request bytes wait in the transport's buffer."""
        self._owes_request = True

    def resumeProducing(self) -> None:
        """See `IPushProducer`: the socket has taken the whole request."""
        self._owes_request = False

    def stopProducing(self) -> None:
        """See `IPushProducer`; `connectionLost` follows."""

    # -- the response

    def dataReceived(self, data: bytes) -> None:
        """Parse more of the response, and deliver it to the call's handler."""
        call = self._call
        if call is None:
            # Unsolicited bytes must not be taken for the next response (RFC 9112 §9.2).
            self.abort()
            return
        self._received = True
        parser = self._parser
        if parser.head is None:
            parser.head_read += data
        try:
            parser.parse(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            parser.stop(error)
        parts = parser.parts
        if parts and parser.flowing:
            # A chunk of a stream, the hot path: straight to the handler, which is the stream.
            call.handler.body(parts.pop() if len(parts) == 1 else parser.take_body())
            return
        head, body = parser.take(len(data))
        if parser.complete or parser.malformed:
            self._finish(call, head, body)
        elif head is not None:
            call.handler.head(head, body)

    def _finish(self, call: UpstreamCall, head: ResponseHead | None, body: bytes) -> None:
        """Free the connection, then deliver the end of the response.

        In this order, because the handler may send its next request at once, on this connection.
        After `Owner.idle` only local variables belong to the ended call.
        """
        parser = self._parser
        complete, failed = parser.complete, parser.failed
        self._call = None
        try:
            if not parser.reusable or self._owes_request:
                self.abort()
            else:
                if self._paused:  # TLS delivers what it has decrypted even after the pause
                    self.resume()
                self.owner.idle(self)
        except Exception:  # noqa: BLE001  a bug; the response is whole all the same
            _log.failure("An upstream connection could not be kept")
            self.abort()
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
        if call.transport is over:  # the handler has not aborted the call meanwhile
            call.transport = None
            call.handler.broken(UpstreamError(FailureReason.PROTOCOL_ERROR, internal=failed))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report the loss to the owner, and to the call, whose response it may end cleanly.

        A body without a declared length ends with the connection (RFC 9112 §6.3), if the peer
        closed it in order; a reset is never a clean end, nor is any end within JSON.
        """
        self.closing = True
        immediate_write.disable(innermost(self.transport))
        try:
            self.owner.lost(self)
        except Exception:  # noqa: BLE001  a bug; the call must learn of the loss all the same
            _log.failure("The loss of an upstream connection could not be noted")
        call, self._call = self._call, None
        if call is None:
            return
        call.transport = None
        if self._parser.ends_with_connection and reason.check(ConnectionDone):
            call.handler.end(b"")
        else:
            # An idle connection that the server closed: safe to repeat (RFC 9112 §9.3.1).
            stale = call.reused and not self._received
            call.handler.broken(UpstreamError(FailureReason.CONNECTION_LOST, stale=stale))


class ForwardedConnection(Connection):
    """A connection to a proxy that forwards requests and may refuse to."""

    def carry(self, call: UpstreamCall, reused: bool) -> None:
        """See `Connection.carry`."""
        call.handler = _Forwarded(call)
        super().carry(call, reused)


class _Forwarded:
    """Receives the head of a forwarded response; the call's own handler receives all else.

    A 407 is the proxy's: its client is this router (RFC 9110 §15.5.8).
    """

    __slots__ = ("_call", "_handler")

    def __init__(self, call: UpstreamCall) -> None:
        self._call = call
        self._handler = call.handler

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`."""
        handler = self._call.handler = self._handler
        if head.status == _PROXY_AUTHENTICATION_REQUIRED:
            handler.broken(UpstreamError(FailureReason.PROXY_ERROR))
        else:
            handler.whole(head, body)

    def head(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`."""
        handler = self._call.handler = self._handler
        if head.status == _PROXY_AUTHENTICATION_REQUIRED:
            self._call.abort()
            handler.broken(UpstreamError(FailureReason.PROXY_ERROR))
        else:
            handler.head(head, body)

    def body(self, data: bytes) -> None:
        """See `ResponseHandler`."""
        self._handler.body(data)

    def end(self, body: bytes) -> None:
        """See `ResponseHandler`."""
        self._handler.end(body)

    def broken(self, error: UpstreamError) -> None:
        """See `ResponseHandler`."""
        self._call.handler = self._handler  # breaks the reference cycle
        self._handler.broken(error)


class _Over:
    """The transport of a call while the last part of a malformed response is delivered.

    Its identity shows afterwards whether the handler aborted the call.
    """

    __slots__ = ()

    def abort(self) -> None:
        """Do nothing: the connection is closed already."""

    drain = pause = resume = abort


def innermost(transport: Any) -> Any:
    """Return the transport that owns the socket, below TLS: only it stops reading the socket."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport
