"""Writer of relayed responses on the router's own channel, without a Twisted request.

It writes heads and bodies unchanged to the transport, one write for each part that the upstream
sent; every write is a system call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.web.http import datetimeToString

from autopilot.http import error_bodies
from autopilot.http.client_socket import unsent_bytes
from autopilot.http.headers import BODILESS
from autopilot.http.request_id import REQUEST_ID
from autopilot.web.cors import shared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IPushProducer
    from twisted.python.failure import Failure

    from autopilot.http.dialect import Dialect
    from autopilot.http.headers import Field
    from autopilot.http.timers import Deadline
    from autopilot.relay.downstream import CommittedHead
    from autopilot.relay.exchange import Exchange
    from autopilot.routing.router_error import RouterError

_LAST_CHUNK = b"0\r\n\r\n"
_OK = b"HTTP/1.1 200 OK"
_HEAD_END = b"", b""  # a line end behind the last field, and an empty line
# The lines before the chunks of nearly every event (RFC 9112 §7.1).
_SIZES = 1024
_SIZE_LINES = tuple(b"%x\r\n" % size for size in range(_SIZES))


class ClientChannel(Protocol):
    """The interface of the channel to its response."""

    transport: Any
    deadline: Deadline
    """The channel's deadline, lent to the response."""
    _waitingForTransport: bool  # noqa: N815
    """Whether the transport holds more bytes than the socket takes; the name is Twisted's."""

    def requestDone(self, request: ChannelResponse) -> None:
        """Continue after a complete response."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""

    def loseConnection(self) -> None:
        """Close after the written bytes have been sent."""

    def forceAbortClient(self) -> None:
        """Close at once."""


class ChannelResponse:
    """Writes one response; see `Downstream`. After a disconnection every method does nothing.

    The channel keeps it in its list of requests, so it has the methods that a channel calls there.
    """

    __slots__ = (
        "_channel",
        "_chunked",
        "_closing",
        "_dialect",
        "_modern",
        "_producing",
        "_request_id",
        "_sharing",
        "_unframed",
        "_write",
        "announced",
        "committed",
        "exchange",
        "gone",
    )

    def __init__(
        self,
        channel: ClientChannel,
        dialect: Dialect,
        request_id: str,
        modern: bool,
        closing: bool,
        sharing: Sequence[Field] | None = None,
    ) -> None:
        """``modern``: the client speaks HTTP/1.1. ``closing``: this is its last response.

        ``announced`` says whether its head says so, which that of a stream does not.

        ``sharing`` are the router's CORS fields, in place of the upstream's; ``None`` leaves CORS
        to the upstream.
        """
        self._channel = channel
        self._dialect = dialect
        self._request_id = request_id
        self._modern = modern
        self._closing = closing
        self._sharing = sharing
        self._write = channel.transport.write
        self._chunked = self._unframed = self._producing = self.announced = False
        self.exchange: Exchange | None = None
        self.committed = False
        self.gone = False

    # -- for the channel

    def connectionLost(self, reason: Failure) -> None:
        """Handle the client's disconnection."""
        self.gone = True
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()

    def announce_close(self) -> None:
        """Announce the end of the connection, unless the head is already written."""
        self._closing = True

    # -- for the exchange

    @property
    def chunks(self) -> bool:
        """See `Downstream`."""
        return self._modern

    def timer(self, expired: Callable[[], None]) -> Deadline:
        """See `Downstream`."""
        deadline = self._channel.deadline
        deadline.expired = expired
        return deadline

    def whole(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`; one write."""
        lines = self._head(head)
        if self._chunked:
            body = b"%x\r\n%b\r\n%b" % (len(body), body, _LAST_CHUNK) if body else _LAST_CHUNK
        self.committed = True
        if not self.gone:
            self._write(lines + body)
            self.exchange = None  # breaks the reference cycle with the exchange
            self._channel.requestDone(self)

    def commit(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`."""
        lines = self._head(head)
        if body and self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body)
        self.committed = True
        if not self.gone:
            self._write(lines + body)

    def _head(self, head: CommittedHead) -> bytes:
        """Return the lines of the head, and choose the framing of the body (RFC 9112 §6.3)."""
        status = head.status
        fields = head.fields if self._sharing is None else shared(head.fields, self._sharing)
        reason = head.reason or error_bodies.reason_phrase(status)
        usual = status == 200 and reason == b"OK"
        lines = [_OK if usual else b"HTTP/1.1 %d %b" % (status, reason)]
        lines += map(b": ".join, fields)
        # With `close` on a stream, Node's fetch takes a broken one for complete (contract §7).
        if self._closing and not head.streams:
            lines.append(b"Connection: close")
            self.announced = True
        if not head.framed and status not in BODILESS:
            self._chunked = self._modern
            self._unframed = not (self._modern or head.rechunk)
            if self._chunked:
                lines.append(b"Transfer-Encoding: chunked")
        lines += _HEAD_END
        return b"\r\n".join(lines)

    def write(self, data: bytes) -> None:
        """See `Downstream`."""
        if not self.gone:
            if self._chunked:
                size = len(data)
                line = _SIZE_LINES[size] if size < _SIZES else b"%x\r\n" % size
                data = line + data + b"\r\n"  # by a format it takes twice as long
            self._write(data)

    def finish(self, data: bytes) -> None:
        """See `Downstream`; one write."""
        if self.gone:
            return
        if self._chunked:
            data = b"%x\r\n%b\r\n%b" % (len(data), data, _LAST_CHUNK) if data else _LAST_CHUNK
        if data:
            self._write(data)
        if self._producing:
            self._producing = False
            self._channel.unregisterProducer()
        self.exchange = None  # breaks the reference cycle with the exchange
        self._channel.requestDone(self)

    def cut(self) -> None:
        """See `Downstream`.

        For an HTTP/1.0 client and a body without a length, closing would be the clean end (RFC 9112
        §6.3), so only a reset shows the break, unless an error event has announced it.
        """
        if self._unframed:
            self.abort()
        elif not self.gone:
            self._stop_producing()
            self._channel.loseConnection()

    def abort(self) -> None:
        """See `Downstream`."""
        if not self.gone:
            self._stop_producing()
            self._channel.forceAbortClient()

    def refuse(self, error: RouterError) -> None:
        """See `Downstream`."""
        if self.gone:
            return
        self.committed = True
        self.announced = closing = self._closing
        sharing = self._sharing or ()
        self._write(
            error_response(error, self._request_id, self._dialect, sharing, closing=closing)
        )
        self.exchange = None
        self._channel.requestDone(self)

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
            self._producing = True
            self._channel.registerProducer(producer, True)
            if self._channel._waitingForTransport:
                # The transport signals this only once, and did so before there was a producer.
                producer.pauseProducing()

    def unsent(self) -> int | None:
        """See `Downstream`."""
        return None if self.gone else unsent_bytes(self._channel.transport)

    def _stop_producing(self) -> None:
        if self._producing:
            self._producing = False
            self._channel.unregisterProducer()


def error_response(
    error: RouterError,
    request_id: str,
    dialect: Dialect | None,
    sharing: Sequence[Field] = (),
    *,
    closing: bool,
) -> bytes:
    """Return a complete error response, for requests without a Twisted request."""
    fields = [
        (b"Date", datetimeToString()),
        (REQUEST_ID, request_id.encode("ascii")),
        *sharing,
    ]
    if closing:
        fields.append((b"Connection", b"close"))
    return error_bodies.raw_response(
        error, error_bodies.reason_phrase(error.status), fields, dialect
    )
