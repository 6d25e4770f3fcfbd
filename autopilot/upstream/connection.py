"""One HTTP/1.1 connection to the upstream, which carries calls one after another.

It knows nothing of models, candidates or clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet import protocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from autopilot.http.immediate_write import hasten, relax
from autopilot.http.response_parser import ResponseParser
from autopilot.routing.retry_policy import CONNECTION_LOST, MALFORMED
from autopilot.upstream.types import ResponseHead, Transport, UpstreamCall, UpstreamError

if TYPE_CHECKING:
    from twisted.python.failure import Failure


@implementer(IHandshakeListener, IPushProducer)
class Connection(protocol.Protocol):
    """One connection to one origin; its owner is told when it may carry a call, and another one.

    As a producer it is the request body: the transport tells it whether all of it has left this
    process, because a connection that still owes request bytes must not carry a second call.
    """

    def __init__(
        self,
        secure: bool,
        ready: Callable[[Connection], None],
        idle: Callable[[Connection], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self._secure = secure
        self._ready = ready
        self._idle = idle
        self._lost = lost
        self._reader = ResponseParser()
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
        hasten(_innermost(transport))
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)
        if not self._secure:
            self._ready(self)

    def handshakeCompleted(self) -> None:
        """The peer's certificate and name were verified; only now may a request leave."""
        self._ready(self)

    # -- carrying a call

    def carry(self, call: UpstreamCall, reused: bool) -> None:
        """Send the call's request and deliver what comes back to its receiver."""
        self._reader.expect()
        self._heard = False
        self._call = call
        self._reused = reused
        call.carrier = self
        # A call that is sent once more is made anew: this payload has served.
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
        """The transport is closing; ``connectionLost`` says the rest."""

    # -- the response

    def dataReceived(self, data: bytes) -> None:
        """Read on in the response; bytes that nobody asked for end the connection."""
        call = self._call
        if call is None:
            self.abort()
            return
        self._heard = True
        reader = self._reader
        reader.feed(data)
        if reader.flowing:
            body = reader.body()
            if body:
                call.receiver.body(body)
            return
        head, body = reader.take()
        if reader.complete or reader.malformed:
            self._finish(call, head, body)
        else:
            _hand_over(call, self, head, body)

    def _finish(self, call: UpstreamCall, head: ResponseHead | None, body: bytes) -> None:
        """The response ends here; this connection is free before its receiver hears of that.

        The receiver may send its next request at once, so from here on only locals count.
        """
        complete = self._reader.complete
        self._leave()
        over = call.carrier = _Over()
        _hand_over(call, over, head, body)
        if call.carrier is over:
            call.carrier = None
            if complete:
                call.receiver.end()
            else:
                call.receiver.broken(UpstreamError(MALFORMED))

    def _leave(self) -> None:
        """The call is over for this connection: keep it for another one, or close it."""
        self._call = None
        if not self._reader.reusable or self._owes_request:
            self.abort()
            return
        if self._paused:  # over TLS several reads can arrive after the pause
            self.resume()
        self._idle(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, and with it the call, unless its end was the response's end."""
        self.closing = True
        relax(_innermost(self.transport))
        self._lost(self)
        call, self._call = self._call, None
        if call is None:
            return
        call.carrier = None
        reader = self._reader
        if reader.until_close and reason.check(ConnectionDone):
            call.receiver.end()
        else:
            stale = self._reused and not self._heard
            call.receiver.broken(UpstreamError(CONNECTION_LOST, stale=stale))


class _Over:
    """Stands in for the connection while the last of a response is handed over."""

    __slots__ = ()

    def abort(self) -> None:
        """The connection is no longer this call's."""

    pause = resume = abort


def _hand_over(
    call: UpstreamCall, carrier: Transport, head: ResponseHead | None, body: bytes
) -> None:
    """Tell the receiver what one read brought; it may end the call at the head."""
    if head is not None:
        call.receiver.head(head)
    if body and call.carrier is carrier:
        call.receiver.body(body)


def _innermost(transport: Any) -> Any:
    """The transport that owns the socket: only that one can pause reading, below TLS too."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport
