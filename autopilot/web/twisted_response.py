"""The downstream side of an exchange over a Twisted request, on any site's channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from twisted.web.http_headers import Headers

from autopilot.http import error_bodies
from autopilot.http.client_socket import unsent_bytes
from autopilot.http.headers import BODILESS
from autopilot.http.timers import Deadline
from autopilot.web.cors import shared

if TYPE_CHECKING:
    from twisted.internet.interfaces import IPushProducer, IReactorTime
    from twisted.web.server import Request

    from autopilot.http.dialect import Dialect
    from autopilot.http.headers import Field
    from autopilot.relay.downstream import CommittedHead
    from autopilot.routing.router_error import RouterError


class WireHeaders(Headers):
    """Response fields that keep their order, duplicates and spelling (contract §7).

    Twisted's own class groups fields by name and changes their case.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._fields = list(fields)

    def hasHeader(self, name: Any) -> bool:
        """See `Headers`."""
        return self.getRawHeaders(name) is not None

    def getRawHeaders(self, name: Any, default: Any = None) -> Any:
        """See `Headers`."""
        wanted = _name(name)
        return [value for key, value in self._fields if key.lower() == wanted] or default

    def setRawHeaders(self, name: Any, values: Any) -> None:
        """See `Headers`."""
        self.removeHeader(name)
        for value in values:
            self._fields.append((_spelled(name), value))

    def addRawHeader(self, name: Any, value: Any) -> None:
        """See `Headers`."""
        self._fields.append((_spelled(name), value))

    def removeHeader(self, name: Any) -> None:
        """See `Headers`."""
        wanted = _name(name)
        self._fields = [field for field in self._fields if field[0].lower() != wanted]

    def getAllRawHeaders(self) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        """See `Headers`."""
        for name, value in self._fields:
            yield name, (value,)


def _spelled(name: str | bytes) -> bytes:
    return name if isinstance(name, bytes) else name.encode("ascii")


def _name(name: str | bytes) -> bytes:
    return _spelled(name).lower()


class TwistedResponse:
    """Writes one response; see :class:`Downstream`. No method fails if the client has gone."""

    def __init__(
        self,
        request: Request,
        dialect: Dialect,
        clock: IReactorTime,
        sharing: Sequence[Field] | None = None,
    ) -> None:
        """``sharing`` are the CORS fields for a relayed response; the tree sets those of errors."""
        self._request = request
        self._deadline = Deadline(clock, _never)
        self._dialect = dialect
        self._sharing = sharing
        self._producing = False
        self._unframed = False
        self.gone = False

    @property
    def committed(self) -> bool:
        """See `Downstream`."""
        return bool(self._request.startedWriting)

    @property
    def chunks(self) -> bool:
        """See `Downstream`."""
        return bool(self._request.clientproto == b"HTTP/1.1")

    def lost(self) -> None:
        """Record the client's disconnection."""
        self.gone = True
        self._deadline.close()

    def timer(self, expired: Callable[[], None]) -> Deadline:
        """See `Downstream`."""
        self._deadline.expired = expired
        return self._deadline

    def whole(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`."""
        self.commit(head, body)
        self.finish(b"")

    def commit(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`."""
        request = self._request
        sharing = self._sharing
        fields = WireHeaders(head.fields if sharing is None else shared(head.fields, sharing))
        closing = request.responseHeaders.hasHeader(b"connection")
        if closing and not head.streams:
            # Never on a stream: with "Connection: close", Node's fetch takes a cut stream for a
            # complete one (contract §7).
            fields.addRawHeader(b"Connection", b"close")
        self._unframed = not (
            request.clientproto == b"HTTP/1.1"
            or head.framed
            or head.rechunk
            or head.status in BODILESS
        )
        request.setResponseCode(head.status, head.reason or error_bodies.reason_phrase(head.status))
        request.responseHeaders = fields
        # Another site's request class would add a Content-Type where the upstream sent none.
        request.defaultContentType = None
        request.write(body)

    def write(self, data: bytes) -> None:
        """See `Downstream`."""
        self._request.write(data)

    def finish(self, data: bytes) -> None:
        """See `Downstream`."""
        if data:
            self.write(data)
        self._release()
        if not self.gone:
            self._request.finish()

    def cut(self) -> None:
        """See `Downstream`.

        In a response without length or chunks, closing the connection means a complete body
        (RFC 9112 §6.3); only a reset tells the client that the body is incomplete.
        """
        if self._unframed:
            self.abort()
            return
        self._release()
        channel = self._request.channel
        if not self.gone and channel is not None:
            channel.loseConnection()

    def abort(self) -> None:
        """See `Downstream`."""
        self._release()
        channel = self._request.channel
        if not self.gone and channel is not None:
            # Twisted's own channel would log the client's address in forceAbortClient.
            cast("Any", channel.transport).abortConnection()

    def refuse(self, error: RouterError) -> None:
        """See `Downstream`."""
        self._release()
        if not self.gone:
            refuse(self._request, error, self._dialect)

    def announce(self, error: RouterError, opening: bytes, latest: bytes) -> None:
        """See `Downstream`."""
        event = error_bodies.error_event(error, self._dialect, opening, latest)
        if self._dialect in error_bodies.CLEAN_AFTER_ERROR:
            self.finish(event)
        else:
            self.write(event)
            self.cut()

    def produce(self, producer: IPushProducer) -> None:
        """See `Downstream`."""
        if not self.gone:
            self._request.registerProducer(producer, True)
            self._producing = True
            if getattr(self._request.channel, "_waitingForTransport", False):
                # The transport signals this only once, and did so before there was a producer.
                producer.pauseProducing()

    def unsent(self) -> int | None:
        """See `Downstream`."""
        return unsent_bytes(self._request.channel)  # which has a transport like any wrapper

    def _release(self) -> None:
        """Release the timer and the producer at the end of the response."""
        self._deadline.close()
        if self._producing and not self.gone:
            self._request.unregisterProducer()
        self._producing = False


def _never() -> None:
    """Expire without effect: no exchange has borrowed the deadline."""


def refuse(request: Request, error: RouterError, dialect: Dialect | None = None) -> None:
    """Respond to a Twisted request with one of the router's own errors, and finish it."""
    body = error_bodies.error_body(error, dialect)
    request.setResponseCode(error.status, error_bodies.reason_phrase(error.status))
    for name, value in error_bodies.error_fields(error):
        request.setHeader(name, value)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
    request.finish()
