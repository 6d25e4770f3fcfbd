"""Server side of HTTP/1.1: Twisted's channel with llhttp as its parser, and with deadlines.

The channel passes requests to a relayed endpoint directly to it. For all others it creates an
ordinary Twisted request, so that Klein and Twisted resources work unchanged. A site with Twisted's
own channel also works, but slower; its endpoints are leaves of the resource tree. The channel
itself responds to requests that the parser rejects, that are too large or too slow, and then closes
the connection: after a framing error no later byte can be trusted (RFC 9112 §11.2).

A client that closes its sending side counts as disconnected even if it still reads. The router
could distinguish the two only by writing, and an abandoned request costs money upstream.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet.interfaces import ISSLTransport, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.web.http import HTTPChannel

from autopilot.http import immediate_write
from autopilot.http.client_socket import buffered_bytes, has_hung_up, unsent_bytes
from autopilot.http.dialect import error_dialect
from autopilot.http.error_bodies import INTERNAL
from autopilot.http.headers import by_name
from autopilot.http.request_id import REQUEST_ID, request_id
from autopilot.http.request_parser import ArrivedRequest, Phase, RequestParser
from autopilot.http.resource_ledger import Admission
from autopilot.http.timers import Deadline
from autopilot.http.tls_server import ServerTLS
from autopilot.routing.router_error import RouterError
from autopilot.web.channel_response import ChannelResponse, error_response

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure
    from twisted.web.server import Request

    from autopilot.http.head_gate import HeadGate
    from autopilot.http.headers import Named
    from autopilot.http.limits import Limits
    from autopilot.http.resource_ledger import ResourceLedger
    from autopilot.observability.log_rate_limit import FailureLog
    from autopilot.observability.refusals import Refused
    from autopilot.web.endpoint import Endpoint
    from autopilot.web.turn_queue import TurnQueue

_LINGER = 5.0
"""Seconds for which a rejected client may go on sending before its connection is closed."""

_PIECE = 8192
"""Bytes that the parser receives at once, while they may hold many requests."""

_SMALL_PIECE = 1024
"""The same, if they consist of lines, so that they may hold very many: each takes ten microseconds,
and sixty connections may have something to be read in a turn."""

_MANY_LINES = 64

_MOST_PIECES = 64
"""Pieces of pipelined bytes above which they are joined: one of two bytes takes over forty."""

# Looked up once: through its enum, a member costs as much as a call.
_IDLE = Phase.IDLE

_LOOK_EVERY = 1.0
"""Seconds between two looks for the end of a connection that is not read."""

_LINGER_FOR_REQUEST = 0.25
"""Seconds for one more request of a client whose response could not say that it is the last."""

_TOO_SLOW = RouterError(408, "request_timeout", "The request took too long to arrive.")


class ChannelSite(Protocol):
    """The interface of a site to its channels."""

    reactor: IReactorTime
    limits: Limits
    endpoints: Mapping[bytes, Endpoint]
    gate: HeadGate
    ledger: ResourceLedger
    turns: TurnQueue
    draining: bool
    lingers_until: float
    refused: Refused
    failures: FailureLog

    def opened(self, channel: Channel) -> None:
        """Register the channel of a new connection."""

    def closed(self, channel: Channel) -> None:
        """Unregister the channel of a closed connection."""


class Channel(HTTPChannel):
    """One client connection.

    Responses must have the order of the requests (RFC 9112 §9.3.2), so one request is handled at a
    time. The channel buffers the bytes that a pipelining client sends meanwhile, and stops reading
    at a limit. It handles the next request in a later turn of the reactor, so that pipelines of any
    length and number delay other clients by a few requests at a time, and not before the client has
    read enough of the earlier responses.
    """

    site: ChannelSite

    def __init__(self) -> None:
        super().__init__()
        self._discarding = False
        self._lost = False
        self._persists = False  # as far as the client is concerned; set while the site drains
        self._awaits_turn = False
        self._watching: IDelayedCall | None = None
        self._charging: IDelayedCall | None = None
        self._reading_paused = False
        self._body_due = inf
        self._unsent: int | None = None
        self._peer_host = ""

    # -- the connection

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        super().connectionMade()
        immediate_write.enable(self.transport)
        self._peer_host = getattr(self.getPeer(), "host", "")
        site = self.site
        self._admission = Admission(site.ledger, self._peer_host)
        self._parser = RequestParser(site.limits, site.gate, self._admission)
        # Lent to the response while a request is handled: the connection has no deadline then.
        self.deadline = Deadline(self.site.reactor, self._too_slow)
        self.deadline.set(self.site.limits.head_timeout)
        self.site.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self._discarding = self._lost = True
        self.deadline.close()
        self._parser.drop()
        self._admission.close()
        for call in (self._watching, self._charging):
            if call is not None:
                call.cancel()
        self._watching = self._charging = None
        if self._awaits_turn:
            self.site.turns.remove(self)
        try:
            super().connectionLost(reason)
        finally:
            self.unregisterProducer()  # breaks the reference cycle with this channel
            immediate_write.disable(self.transport)
            self.site.closed(self)

    def loseConnection(self) -> None:
        """Close after the written bytes have been sent.

        Abort if the client receives none of them in `flush_timeout`.
        """
        if self._lost:
            return
        self._discarding = True
        self._parser.drop()
        self._unsent = unsent_bytes(self.transport)
        self.deadline.expired = self._too_slow
        self.deadline.set(self.site.limits.flush_timeout)
        super().loseConnection()

    def forceAbortClient(self) -> None:
        """Close at once."""
        cast("Any", self.transport).abortConnection()

    @property
    def idle(self) -> bool:
        """Whether the connection is between two requests, the discarded rest of one included."""
        parser = self._parser
        between = parser.phase is Phase.IDLE or parser.discarding
        return between and not (self.requests or self._has_pipelined)

    @property
    def _has_pipelined(self) -> bool:
        """Whether requests, or bytes of them, wait for the end of an earlier one."""
        return bool(self._parser.arrived or self._dataBuffer or self._awaits_turn)

    @property
    def expecting(self) -> bool:
        """Whether the channel is ready to receive a request or the rest of one."""
        return not self.requests and not self._discarding

    def drain(self) -> None:
        """Close now if idle, else after the current response."""
        if self.idle:
            self.loseConnection()
            return
        if self.persistent:
            self._persists, self.persistent = True, False
        if not self._handlingRequest:
            return
        request = self.requests[0]
        if isinstance(request, ChannelResponse):
            request.announce_close()
        elif not request.startedWriting:
            _announce_close(request)

    # -- bytes

    def dataReceived(self, data: bytes) -> None:
        """Parse up to the end of a request and handle it; keep the rest for later turns."""
        if self._discarding:
            return
        if self._handlingRequest or self._awaits_turn or self._waitingForTransport:
            self._keep(data)
            return
        parser = self._parser
        before = parser.phase
        if before is _IDLE:
            parser.limits = self.site.limits  # a reload may have replaced them
        if data.count(b"\n") > _MANY_LINES or (len(data) > _PIECE and before is not Phase.BODY):
            self._feed_in_pieces(data)
        else:
            parser.feed(data)
        if parser.arrived:
            self._handle(parser.arrived.popleft())
        else:
            self._await(before)

    def _feed_in_pieces(self, data: bytes) -> None:
        """Parse up to the end of the piece with which a request has arrived; keep the rest.

        The parser cannot stop behind a request, and one read can hold thousands.
        """
        parser, at = self._parser, 0
        while at < len(data) and not parser.arrived and parser.error is None:
            in_body = parser.phase is Phase.BODY
            if data.count(b"\n", at, None if in_body else at + _PIECE) > _MANY_LINES:
                size = max(_SMALL_PIECE, parser.body_left)
            else:
                size = len(data) if in_body else _PIECE
            parser.feed(data[at : at + size])
            at += size
        if at < len(data):
            self._dataBuffer.append(data[at:])

    def _keep(self, data: bytes) -> None:
        """Keep bytes that arrived too early, and stop reading at the limit."""
        kept = self._dataBuffer
        kept.append(data)
        if len(kept) > _MOST_PIECES:
            kept[:] = (b"".join(kept),)
        size = sum(map(len, kept))
        if size > self._optimisticEagerReadSize and not self._reading_paused:
            self._reading_paused = True
            self._networkProducer.pauseProducing()
            self._watch_client()

    def _watch_client(self) -> None:
        """Look periodically for the end of a connection that is not read, and then abort it.

        Otherwise the upstream call of a client that has left would go on until its own end.
        """
        if not self._reading_paused or self._lost:
            return
        if has_hung_up(self.transport):
            self.forceAbortClient()
        elif self._watching is None:
            self._watching = self.site.reactor.callLater(_LOOK_EVERY, self._look_again)

    def _look_again(self) -> None:
        self._watching = None
        self._watch_client()

    # -- requests, one at a time

    def _handle(self, request: ArrivedRequest) -> None:
        self._handlingRequest = True
        self.deadline.due = inf  # as `Deadline.rest`, without a call
        self.persistent = request.persistent
        if self.site.draining:
            self._persists, self.persistent = request.persistent, False
        endpoint = self.site.endpoints.get(request.path)
        try:
            if endpoint is None or request.method != b"POST":
                self._serve(request)
            else:
                self._relay(request, endpoint)
        except Exception:  # noqa: BLE001  a bug, which must not affect earlier responses
            if request.charge is not None:
                request.charge.release()
            self._fail()

    def _await(self, before: Phase | None) -> None:
        """Set the deadline for the rest of the next request, or respond to a rejected one.

        ``before`` is the previous phase of the parser, ``None`` after a response.
        """
        parser = self._parser
        if parser.error is not None:
            if parser.discarding:  # its request has its response
                self._close_in_steps(_LINGER)
            else:
                self._reject(parser.error)
            return
        if parser.phase is not before:
            self.deadline.set(self._time_limit)
            self._body_due = self.deadline.due
        if parser.phase is Phase.BODY:
            # A slow uplink that keeps sending is not a silent client (contract §11).
            self.deadline.due = self._body_due + parser.body_read / self.site.limits.body_rate
        if parser.continue_expected and parser.phase is Phase.BODY:
            # Only now, when earlier responses are complete: a pipelining client would take an
            # earlier 100 (Continue) for part of a previous response (RFC 9112 §9.3.2).
            parser.continue_expected = False
            self._send100Continue()

    def _relay(self, request: ArrivedRequest, endpoint: Endpoint) -> None:
        headers = request.headers
        identity = request_id(headers.named.get(REQUEST_ID, ()))
        modern, closing = request.version == b"HTTP/1.1", not self.persistent
        sharing = None if endpoint.cors is None else endpoint.sharing(headers.named)
        # By position: with keywords, the interpreter would build a dictionary for each request.
        response = ChannelResponse(self, endpoint.dialect, identity, modern, closing, sharing)
        self.requests.append(response)
        exchange = endpoint.accept(
            response,
            request.query,
            headers,
            request.body,
            self._peer_host,
            identity,
            request.charge,
        )
        if self._handlingRequest:  # else the exchange has ended: a reference would be a cycle
            response.exchange = exchange

    def _serve(self, arrived: ArrivedRequest) -> None:
        """Pass a request to Twisted and the tree of resources."""
        request = cast("Request", self.requestFactory(self))
        add = request.requestHeaders.addRawHeader
        for name, value in arrived.headers.fields:
            add(name, value)
        self.requests.append(request)
        request.gotLength(len(arrived.body))
        if arrived.body:
            request.handleContentChunk(arrived.body)
        if not self.persistent:
            _announce_close(request)
        request.requestReceived(arrived.method, arrived.target, arrived.version)
        if arrived.charge is not None:
            arrived.charge.release()

    def requestDone(self, request: Any) -> None:
        """Continue with the next request after a complete response, or close."""
        if request is not self.requests[0]:
            raise TypeError("only the current request can be done")
        del self.requests[0]
        self._handlingRequest = False
        if not self.persistent:
            if not self.site.draining:
                self._close_in_steps(self.site.limits.flush_timeout)
                return
            if not self._lingers_after(request):  # the router waits for its connections
                self.loseConnection()
                return
        deadline, parser = self.deadline, self._parser
        deadline.expired = self._too_slow
        if parser.phase is _IDLE and not (
            parser.arrived or self._dataBuffer or self._reading_paused
        ):
            # The first is the usual case.
            deadline.set(self.site.limits.idle_timeout if self.persistent else _LINGER_FOR_REQUEST)
            return
        deadline.set(self._time_limit)
        self._schedule_turn()

    def _lingers_after(self, request: Any) -> bool:
        """Return whether to wait a moment for another request although the site drains.

        A client whose response did not announce the end of the connection may have sent its next
        request already; closing now would lose that.
        """
        return (
            self._persists
            and isinstance(request, ChannelResponse)
            and not request.announced
            and self.site.reactor.seconds() < self.site.lingers_until
        )

    def pauseProducing(self) -> None:
        """See `IPushProducer`: the client does not take what is written.

        What the transport then holds is charged to the client in the next turn: this may be in the
        middle of a write, and further ones may follow in this turn.
        """
        super().pauseProducing()
        if self._charging is None and not self._lost:
            self._charging = self.site.reactor.callLater(0, self._charge_unsent)

    def _charge_unsent(self) -> None:
        self._charging = None
        self._admission.hold_unsent(buffered_bytes(self.transport) or 0)

    def resumeProducing(self) -> None:
        """See `IPushProducer`: the client reads again."""
        if self._charging is not None:
            self._charging.cancel()
            self._charging = None
        if self._admission.unsent:
            self._admission.hold_unsent(0)
        super().resumeProducing()
        if not self._handlingRequest and self._has_pipelined:
            self._schedule_turn()

    def _schedule_turn(self) -> None:
        """Continue with what the client has pipelined, unless it does not read its responses."""
        if not (self._awaits_turn or self._waitingForTransport or self._discarding):
            self._awaits_turn = True
            self.site.turns.add(self, self._take_turn)

    def _take_turn(self) -> None:
        """Handle what a pipelining client sent during the previous response."""
        self._awaits_turn = False
        # Either may have begun since the turn was scheduled; `resumeProducing` ends the second.
        if self._discarding or self._waitingForTransport:
            return
        try:
            if self._reading_paused:
                self._reading_paused = False
                self._networkProducer.resumeProducing()
            parser = self._parser
            if parser.arrived:
                self._handle(parser.arrived.popleft())
            elif self._dataBuffer:
                data, self._dataBuffer = b"".join(self._dataBuffer), []
                self.dataReceived(data)
            else:
                self._await(None)
        except Exception:  # noqa: BLE001  a bug, which must not affect the complete response
            self._fail()

    @property
    def _time_limit(self) -> float:
        """The seconds that the client has for the next part of a request."""
        limits = self.site.limits
        match self._parser.phase:
            case Phase.IDLE:
                return limits.idle_timeout
            case Phase.HEAD:
                return limits.head_timeout
            case Phase.BODY:
                return limits.body_timeout

    # -- errors

    def _fail(self) -> None:
        """Handle an exception: respond with a 500, or abort if a response has begun."""
        self.site.failures.report("A request failed because of an exception in the router")
        begun = any(
            request.committed if isinstance(request, ChannelResponse) else request.startedWriting
            for request in self.requests
        )
        if begun or self._discarding:
            self.forceAbortClient()
        else:
            self._reject(INTERNAL)

    def _too_slow(self) -> None:
        if self._discarding:
            unsent, before = unsent_bytes(self.transport), self._unsent
            if unsent is not None and before is not None and unsent < before:
                self._unsent = unsent
                self.deadline.set(self.site.limits.flush_timeout)
            else:
                self.forceAbortClient()
        elif self.idle or self._has_pipelined:
            self.loseConnection()  # in the second case the client does not read its responses
        else:
            self._reject(_TOO_SLOW)

    def _reject(self, error: RouterError) -> None:
        """Respond with an error, then close."""
        self._discarding = True
        self.requests.clear()
        named, path = by_name(self._parser.fields), self._parser.path
        identity = request_id(named.get(REQUEST_ID, ()))
        cast("Any", self.transport).write(self._rejection(error, named, identity))
        self._close_in_steps(_LINGER)
        relayed = path.decode("ascii") if path in self.site.endpoints else ""
        self.site.refused(relayed, error, identity)

    def _close_in_steps(self, patience: float) -> None:
        """Close the sending side, and the socket when the client closes its own (RFC 9112 §9.6).

        If data arrives at a closed socket, TCP resets the connection, and a client that is still
        sending may lose the response. So what arrives is discarded, for ``patience`` seconds.
        """
        transport: Any = self.transport
        half_closes = ITCPTransport.providedBy(transport)
        if ISSLTransport.providedBy(transport):  # Twisted's own would close the socket's side
            half_closes = isinstance(transport, ServerTLS)
        if self._lost or not half_closes:
            self.loseConnection()
            return
        self._discarding = True
        self._parser.drop()
        self._dataBuffer = []
        if self._reading_paused:
            self._reading_paused = False
            self._networkProducer.resumeProducing()
        transport.unregisterProducer()  # else a full transport never half-closes
        self._unsent = unsent_bytes(transport)
        transport.loseWriteConnection()
        self.deadline.expired = self._too_slow
        self.deadline.set(patience)

    def _rejection(self, error: RouterError, named: Named, identity: str) -> bytes:
        path = self._parser.path
        endpoint = self.site.endpoints.get(path)
        sharing = endpoint.sharing(named) if endpoint is not None else None
        return error_response(error, identity, error_dialect(path), sharing or (), closing=True)


def _announce_close(request: Request) -> None:
    request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
