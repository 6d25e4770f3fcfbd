"""The server side of HTTP/1.1: Twisted's channel with llhttp as its parser, and deadlines.

Requests to a relayed endpoint go straight to it; for every other one the channel builds an ordinary
Twisted request, so that everything above works unchanged. A site with Twisted's own channel works
too, only slower: there the endpoints are leaves of the tree. What the parser rejects, what is too
large and what is too slow is answered here with an error of the usual shape, and the connection is
closed: after a framing error nothing on it can be trusted (RFC 9112 §9.6).

A client that closes its sending side counts as gone, whether or not it still reads: the router
cannot tell the two apart until it writes, and an abandoned request keeps costing upstream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet.interfaces import ISSLTransport, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.web.http import HTTPChannel

from autopilot.http import immediate_write
from autopilot.http.error_bodies import INTERNAL
from autopilot.http.headers import by_name
from autopilot.http.request_id import REQUEST_ID, request_id
from autopilot.http.request_parser import ArrivedRequest, Phase, RequestParser
from autopilot.http.timers import Deadline
from autopilot.routing.router_error import RouterError
from autopilot.web.channel_response import ChannelResponse, error_response
from autopilot.web.endpoint import RELAYED

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure
    from twisted.web.server import Request

    from autopilot.http.limits import Limits
    from autopilot.observability.log_rate_limit import FailureLog
    from autopilot.web.endpoint import Endpoint

_LINGER = 5.0
_TOO_SLOW = RouterError(408, "request_timeout", "The request took too long to arrive.")


class ChannelSite(Protocol):
    """What a channel needs of its site."""

    reactor: IReactorTime
    limits: Limits
    endpoints: Mapping[bytes, Endpoint]
    draining: bool
    refused: Callable[[int], None]
    failures: FailureLog

    def opened(self, channel: Channel) -> None:
        """A client connected."""

    def closed(self, channel: Channel) -> None:
        """A client's connection is gone."""


class Channel(HTTPChannel):
    """One client connection.

    Bytes go to the parser only while no request is being answered; what a pipelining client sends
    meanwhile is kept, up to a limit, and parsed afterwards. Requests that came in one read wait in
    the parser.
    """

    site: ChannelSite

    def __init__(self) -> None:
        super().__init__()
        self._deaf = False
        self._lost = False
        self._dispatching = False
        self._reading_paused = False
        self._peer_host = ""

    # -- the connection

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        super().connectionMade()
        immediate_write.enable(self.transport)
        self._peer_host = getattr(self.getPeer(), "host", "")
        self._parser = RequestParser(self.site.limits)
        # Lent to the response at hand, while the connection itself waits for nothing.
        self.deadline = Deadline(self.site.reactor, self._too_slow)
        self.deadline.set(self.site.limits.head_timeout)
        self.site.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self._deaf = self._lost = True
        self.deadline.close()
        try:
            super().connectionLost(reason)
        finally:
            self.unregisterProducer()  # it refers to this channel in turn
            immediate_write.disable(self.transport)
            self.site.closed(self)

    def loseConnection(self) -> None:
        """Close when what was written has left; a client that takes too long over it is cut off."""
        if self._lost:
            return
        self._deaf = True
        self.deadline.expired = self._too_slow
        self.deadline.set(self.site.limits.flush_timeout)
        super().loseConnection()

    def forceAbortClient(self) -> None:
        """Close at once."""
        cast("Any", self.transport).abortConnection()

    @property
    def idle(self) -> bool:
        """Whether no request is being received or answered."""
        return not self.requests and self._parser.phase is Phase.IDLE

    @property
    def expecting(self) -> bool:
        """Whether a request may come, with none being answered."""
        return not self.requests and not self._deaf

    def drain(self) -> None:
        """Close now if idle, else after the response under way."""
        if self.idle:
            self.loseConnection()
            return
        self.persistent = False
        if not self._handlingRequest:
            return
        request = self.requests[0]
        if isinstance(request, ChannelResponse):
            request.announce_close()
        elif not request.startedWriting:
            _announce_close(request)

    # -- bytes

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        if self._deaf:
            return
        if self._handlingRequest:
            self._keep(data)
            return
        parser = self._parser
        before = parser.phase
        if before is Phase.IDLE:
            parser.limits = self.site.limits  # they may have changed since the last request
        parser.feed(data)
        self._dispatch(before)

    def _keep(self, data: bytes) -> None:
        self._dataBuffer.append(data)
        kept = sum(map(len, self._dataBuffer))
        if kept > self._optimisticEagerReadSize:
            self._reading_paused = True
            self._networkProducer.pauseProducing()

    # -- requests, one at a time

    def _dispatch(self, before: Phase | None) -> None:
        """Answer what has arrived, as far as it can be answered now; called again from within.

        ``before`` is the phase that the parser was in until now, ``None`` after a response.
        """
        if self._dispatching:
            return
        self._dispatching = True
        arrived = self._parser.arrived
        try:
            while arrived and not self._handlingRequest and not self._deaf:
                before = None
                request = arrived.popleft()
                self._handlingRequest = True
                self.deadline.due = inf  # it rests while the request is answered
                self.persistent = request.persistent and not self.site.draining
                endpoint = self.site.endpoints.get(request.path)
                try:
                    if endpoint is None or request.method != b"POST":
                        self._serve(request)
                    else:
                        self._relay(request, endpoint)
                except Exception:  # noqa: BLE001  a bug; the response before must not pay for it
                    self._fail()
        finally:
            self._dispatching = False
        if not (self._handlingRequest or self._deaf):
            self._await(before)

    def _await(self, before: Phase | None) -> None:
        """Wait for more of the next request, or answer what the parser rejected."""
        parser = self._parser
        if parser.error is not None:
            self._reject(parser.error)
            return
        if parser.phase is not before:
            self.deadline.set(self._patience)
        if parser.continue_expected and parser.phase is Phase.BODY:
            # Not before its turn: the client would take it for part of the answer before.
            parser.continue_expected = False
            self._send100Continue()

    def _relay(self, request: ArrivedRequest, endpoint: Endpoint) -> None:
        headers = request.headers
        identity = request_id(headers.named.get(REQUEST_ID, ()))
        response = ChannelResponse(
            self,
            endpoint.dialect,
            identity,
            modern=request.version == b"HTTP/1.1",
            closing=not self.persistent,
            sharing=None if endpoint.cors is None else endpoint.sharing(headers.named),
        )
        self.requests.append(response)
        exchange = endpoint.accept(
            response, request.query, headers, request.body, self._peer_host, identity
        )
        if self._handlingRequest:  # else it is over, and refers to its response in turn
            response.exchange = exchange

    def _serve(self, arrived: ArrivedRequest) -> None:
        """Let Twisted and the tree of resources answer."""
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

    def requestDone(self, request: Any) -> None:
        """The response is written: go on with what the client sent meanwhile, or close."""
        if request is not self.requests[0]:
            raise TypeError("a request that is not the first cannot be done")
        del self.requests[0]
        self._handlingRequest = False
        if not self.persistent:
            self.loseConnection()
            return
        deadline, parser = self.deadline, self._parser
        deadline.expired = self._too_slow
        if parser.phase is Phase.IDLE and not (
            parser.arrived or self._dataBuffer or self._reading_paused
        ):
            deadline.set(self.site.limits.idle_timeout)  # the usual case
            return
        deadline.set(self._patience)
        try:
            self._go_on()
        except Exception:  # noqa: BLE001  a bug; the response that is done must not pay for it
            self._fail()

    def _go_on(self) -> None:
        """Answer what a pipelining client sent during the response before."""
        if self._reading_paused and not self._waitingForTransport:
            self._reading_paused = False
            self._networkProducer.resumeProducing()
        self._dispatch(None)
        while self._dataBuffer and not self._handlingRequest and not self._deaf:
            data, self._dataBuffer = b"".join(self._dataBuffer), []
            self.dataReceived(data)

    @property
    def _patience(self) -> float:
        """How long the client may take for what it has to send next, in seconds."""
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
        """Handle a fault of ours around a request: a 500, or a cut if a response has begun."""
        self.site.failures.report("A request failed by a fault of the router")
        begun = any(
            request.committed if isinstance(request, ChannelResponse) else request.startedWriting
            for request in self.requests
        )
        if begun or self._deaf:
            self.forceAbortClient()
        else:
            self._reject(INTERNAL)

    def _too_slow(self) -> None:
        if self._deaf:
            self.forceAbortClient()
        elif self.idle:
            self.loseConnection()
        else:
            self._reject(_TOO_SLOW)

    def _reject(self, error: RouterError) -> None:
        """Answer, then go on receiving for a moment, deaf to what comes.

        A client that is still sending must get to read the answer, and it will not if its data
        meets a closed socket: that resets the connection (RFC 9112 §9.6).
        """
        self._deaf = True
        self.requests.clear()
        self._dataBuffer = []
        transport: Any = self.transport
        transport.write(self._rejection(error))
        if ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
            transport.loseWriteConnection()
            self.deadline.expired = self._too_slow
            self.deadline.set(_LINGER)
        else:
            self.loseConnection()
        self.site.refused(error.status)

    def _rejection(self, error: RouterError) -> bytes:
        named, path = by_name(self._parser.fields), self._parser.path
        endpoint = self.site.endpoints.get(path)
        sharing = endpoint.sharing(named) if endpoint is not None else None
        identity = request_id(named.get(REQUEST_ID, ()))
        return error_response(error, identity, RELAYED.get(path), sharing or (), closing=True)


def _announce_close(request: Request) -> None:
    request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
