"""The server side of HTTP/1.1: Twisted's channel with llhttp as its parser, and deadlines.

Requests to a relayed endpoint go straight to it; for every other one it builds an ordinary Twisted
request, so that everything above works unchanged. A site with Twisted's own channel works too, only
slower: there the endpoints are leaves of the tree. What the parser refuses, what is too large and
what is too slow is answered here with an error of the usual shape, and the connection is closed:
after a framing error nothing on it can be trusted.

A client that closes its sending side counts as gone, whether or not it still reads: the two cannot
be told apart until something is written, and an abandoned request keeps costing upstream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import ISSLTransport, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.web.http import HTTPChannel

from autopilot.http.fields import Named, by_name
from autopilot.http.immediate_write import hasten, relax
from autopilot.http.request_id import request_id
from autopilot.http.request_parser import Arrived, Phase, RequestParser
from autopilot.http.timers import Deadline
from autopilot.routing.router_error import RouterError
from autopilot.web.channel_response import ChannelResponse, refused
from autopilot.web.endpoint import RELAYED

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.server import Request

    from autopilot.web.endpoint import Endpoint
    from autopilot.web.site import AutopilotSite

_LINGER = 5.0
_TOO_SLOW = RouterError(408, "request_timeout", "The request took too long to arrive.")


class Channel(HTTPChannel):
    """One client connection.

    Bytes go to the reader only while no request is being answered; what a pipelining client sends
    meanwhile is kept, up to a limit, and read afterwards. Requests that came in one read wait in
    the reader.
    """

    site: AutopilotSite

    def __init__(self) -> None:
        super().__init__()
        self._deaf = False
        self._lost = False
        self._dispatching = False
        self._host: str | None = None

    # -- the connection

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        super().connectionMade()
        hasten(self.transport)
        self._reader = RequestParser(self.site.limits)
        self._deadline = Deadline(self.site.reactor, self._too_slow)
        self._deadline.set(self.site.limits.head_timeout)
        self.site.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self._deaf = self._lost = True
        self._deadline.clear()
        self.site.closed(self)
        super().connectionLost(reason)
        relax(self.transport)

    def loseConnection(self) -> None:
        """Close when what was written has left; a client that takes too long over it is cut off."""
        if self._lost:
            return
        self._deaf = True
        self._deadline.set(self.site.limits.flush_timeout)
        super().loseConnection()

    def forceAbortClient(self) -> None:
        """Close at once."""
        cast("Any", self.transport).abortConnection()

    @property
    def idle(self) -> bool:
        """Whether no request is being received or answered."""
        return not self.requests and self._reader.phase is Phase.IDLE

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

    @property
    def _peer_host(self) -> str:
        if self._host is None:
            self._host = getattr(self.getPeer(), "host", "")
        return self._host

    # -- bytes

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        if self._deaf:
            return
        if self._handlingRequest:
            self._keep(data)
            return
        reader = self._reader
        before = reader.phase
        if before is Phase.IDLE:
            reader.limits = self.site.limits  # they may have changed since the last request
        reader.feed(data)
        self._dispatch(before)

    def _keep(self, data: bytes) -> None:
        self._dataBuffer.append(data)
        kept = sum(map(len, self._dataBuffer))
        if kept > self._optimisticEagerReadSize and not self._waitingForTransport:
            self._networkProducer.pauseProducing()

    # -- requests, one at a time

    def _dispatch(self, before: Phase | None) -> None:
        """Answer what has arrived, as far as it can be answered now; called again from within.

        ``before`` is the phase that the reader was in until now, ``None`` after a response.
        """
        if self._dispatching:
            return
        self._dispatching = True
        arrived = self._reader.arrived
        try:
            while arrived and not self._handlingRequest and not self._deaf:
                before = None
                self._answer(arrived.popleft())
        finally:
            self._dispatching = False
        if self._handlingRequest or self._deaf:
            return
        reader = self._reader
        if reader.refusal is not None:
            self._reject(reader.refusal)
            return
        if reader.phase is not before:
            self._deadline.set(self._patience)
        if reader.continue_expected and reader.phase is Phase.BODY:
            # Not before its turn: it would be taken for part of the answer before.
            reader.continue_expected = False
            self._send100Continue()

    def _answer(self, arrived: Arrived) -> None:
        self._handlingRequest = True
        self._deadline.rest()
        self.persistent = arrived.persistent and not self.site.draining
        endpoint = self.site.endpoint(arrived.target) if arrived.method == b"POST" else None
        if endpoint is None:
            self._serve(arrived)
        else:
            self._relay(arrived, endpoint)

    def _relay(self, arrived: Arrived, endpoint: Endpoint) -> None:
        identity = _identity(arrived.named)
        answer = ChannelResponse(
            self,
            endpoint.dialect,
            identity,
            modern=arrived.version == b"HTTP/1.1",
            closing=not self.persistent,
            sharing=endpoint.sharing(arrived.named),
        )
        self.requests.append(answer)
        answer.exchange = endpoint.accept(
            answer,
            query=arrived.target.partition(b"?")[2],
            fields=arrived.fields,
            named=arrived.named,
            body=arrived.body,
            peer=self._peer_host,
            request_id=identity,
        )

    def _serve(self, arrived: Arrived) -> None:
        """Let Twisted and the tree of resources answer."""
        request = cast("Request", self.requestFactory(self))
        add = request.requestHeaders.addRawHeader
        for name, value in arrived.fields:
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
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()
        self._deadline.set(self._patience)
        if self._reader.arrived or self._reader.phase is not Phase.IDLE:
            self._dispatch(None)
        while self._dataBuffer and not self._handlingRequest and not self._deaf:
            data, self._dataBuffer = b"".join(self._dataBuffer), []
            self.dataReceived(data)

    @property
    def _patience(self) -> float:
        """How long the client may take for what it has to send next, in seconds."""
        limits = self.site.limits
        match self._reader.phase:
            case Phase.IDLE:
                return limits.idle_timeout
            case Phase.HEAD:
                return limits.head_timeout
            case Phase.BODY:
                return limits.body_timeout

    # -- refusals

    def _too_slow(self) -> None:
        if self._deaf:
            self.forceAbortClient()
        elif self.idle:
            self.loseConnection()
        else:
            self._reject(_TOO_SLOW)

    def _reject(self, refusal: RouterError) -> None:
        """Answer, then go on receiving for a moment, deaf to what comes.

        A client that is still sending must get to read the answer, and it will not if its data
        meets a closed socket: that resets the connection.
        """
        self._deaf = True
        self.requests.clear()
        self._dataBuffer = []
        transport: Any = self.transport
        transport.write(self._rejection(refusal))
        self.site.refused(refusal.status)
        if ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
            transport.loseWriteConnection()
            self._deadline.set(_LINGER)
        else:
            self.loseConnection()

    def _rejection(self, refusal: RouterError) -> bytes:
        named, path = by_name(self._reader.fields), self._reader.path
        endpoint = self.site.endpoint(path)
        sharing = endpoint.sharing(named) if endpoint is not None else None
        return refused(refusal, _identity(named), RELAYED.get(path), sharing or (), closing=True)


def _identity(named: Named) -> str:
    values = named.get(b"x-request-id")
    return request_id(values[-1].decode("latin-1") if values else None)


def _announce_close(request: Request) -> None:
    request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
