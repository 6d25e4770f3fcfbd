"""The server side of HTTP/1.1: Twisted's channel with llhttp as its parser, and deadlines.

It builds ordinary Twisted requests, so everything above it works unchanged; a site with Twisted's
own channel works too, only slower. What the parser refuses, what is too large and what is too slow
is answered here with an error of the usual shape, and the connection is closed: after a framing
error nothing on it can be trusted.

A client that closes its sending side counts as gone, whether or not it still reads: the two cannot
be told apart until something is written, and an abandoned request keeps costing upstream.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import ISSLTransport, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.web.http import HTTPChannel

from autopilot.relay.deadline import Deadline
from autopilot.routing.refusal import Refusal
from autopilot.web import errors
from autopilot.web.reader import Arrived, Field, RequestReader
from autopilot.web.relayed import RELAYED
from autopilot.web.request_id import request_id

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.server import Request

    from autopilot.web.site import AutopilotSite
    from autopilot.web.target import Head

_LINGER = 5.0
_TOO_SLOW = Refusal(408, "request_timeout", "The request took too long to arrive.")


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
        self._owes_continue = False

    # -- the connection

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        super().connectionMade()
        self._reader = RequestReader(self.site.limits, self)
        self._deadline = Deadline(self.site.reactor, self._too_slow)
        self._deadline.set(self.site.limits.head_timeout)
        self.site.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self._deaf = self._lost = True
        self._deadline.clear()
        self.site.closed(self)
        super().connectionLost(reason)

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
        return not self.requests and not self._reader.under_way

    def drain(self) -> None:
        """Close now if idle, else after the response under way."""
        if self.idle:
            self.loseConnection()
            return
        self.persistent = False
        if self._handlingRequest and not self.requests[0].startedWriting:
            self._announce_close(self.requests[0])

    def _announce_close(self, request: Request) -> None:
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])

    # -- bytes

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        if self._deaf:
            return
        if self._handlingRequest:
            self._keep(data)
        else:
            self._reader.feed(data)
            self._dispatch()

    def _keep(self, data: bytes) -> None:
        self._dataBuffer.append(data)
        kept = sum(map(len, self._dataBuffer))
        if kept > self._optimisticEagerReadSize and not self._waitingForTransport:
            self._networkProducer.pauseProducing()

    # -- the reader's events

    def begun(self) -> None:
        """See `Owner`."""
        self._deadline.set(self.site.limits.head_timeout)

    def admit(self, fields: list[Field], head: Head) -> Request:
        """See `Owner`."""
        request = cast("Request", self.requestFactory(self))
        add = request.requestHeaders.addRawHeader
        for name, value in fields:
            add(name, value)
        self.requests.append(request)
        request.gotLength(head.length)
        self._owes_continue = head.continue_expected
        self._deadline.set(self.site.limits.body_timeout)
        return request

    # -- requests, one at a time

    def _dispatch(self) -> None:
        """Answer what has arrived, as far as it can be answered now; called again from within."""
        if self._dispatching:
            return
        self._dispatching = True
        arrived = self._reader.arrived
        try:
            while arrived and not self._handlingRequest and not self._deaf:
                self._answer(arrived.popleft())
        finally:
            self._dispatching = False
        if self._handlingRequest or self._deaf:
            return
        if self._reader.refusal is not None:
            self._reject(self._reader.refusal)
        elif self._owes_continue and self._reader.in_body:
            # Not before its turn: it would be taken for part of the answer before.
            self._owes_continue = False
            self._send100Continue()

    def _answer(self, whole: Arrived) -> None:
        request = whole.request
        self._handlingRequest = True
        self._deadline.rest()
        self.persistent = whole.persistent and not self.site.draining
        if not self.persistent:
            self._announce_close(request)
        request.requestReceived(whole.method, whole.target, whole.version)

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
        self._dispatch()
        while self._dataBuffer and not self._handlingRequest and not self._deaf:
            data, self._dataBuffer = b"".join(self._dataBuffer), []
            self.dataReceived(data)

    @property
    def _patience(self) -> float:
        """How long the client may take for what it has to send next, in seconds."""
        limits = self.site.limits
        if self._reader.in_body:
            return limits.body_timeout
        return limits.head_timeout if self._reader.under_way else limits.idle_timeout

    # -- refusals

    def _too_slow(self) -> None:
        if self._deaf:
            self.forceAbortClient()
        elif self.idle:
            self.loseConnection()
        else:
            self._reject(_TOO_SLOW)

    def _reject(self, refusal: Refusal) -> None:
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

    def _rejection(self, refusal: Refusal) -> bytes:
        given = [value for name, value in self._reader.fields if name.lower() == b"x-request-id"]
        return errors.raw_response(
            refusal,
            HTTPStatus(refusal.status).phrase.encode("ascii"),
            request_id(given[-1].decode("latin-1") if given else None),
            RELAYED.get(self._reader.path),
        )
