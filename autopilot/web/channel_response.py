"""The client's side of an exchange on the router's own channel: straight to the transport.

It does for a relayed response what a Twisted request does for every other one, without the request:
bodies and heads leave as they are, in as few writes as they came in.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from twisted.web.http import datetimeToString

from autopilot.http import error_bodies
from autopilot.http.headers import field_lines
from autopilot.web.cors import shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IPushProducer
    from twisted.python.failure import Failure

    from autopilot.http.headers import Field
    from autopilot.relay.dialect import Dialect
    from autopilot.relay.downstream import CommittedHead
    from autopilot.relay.engine import Exchange
    from autopilot.routing.router_error import RouterError
    from autopilot.web.channel import Channel

_BODILESS = frozenset({204, 304})
_LAST_CHUNK = b"0\r\n\r\n"


class ChannelResponse:
    """Writes one response; see :class:`Downstream`. Every method is harmless without a client.

    Its channel keeps it among its requests: it has the two members that a channel asks of them.
    """

    __slots__ = (
        "_channel",
        "_chunked",
        "_closing",
        "_dialect",
        "_modern",
        "_request_id",
        "_sharing",
        "_unframed",
        "_write",
        "committed",
        "exchange",
        "gone",
    )

    def __init__(
        self,
        channel: Channel,
        dialect: Dialect,
        request_id: str,
        *,
        modern: bool,
        closing: bool,
        sharing: Sequence[Field] | None = None,
    ) -> None:
        """``modern``: the client speaks HTTP/1.1. ``closing``: this is its last response.

        ``sharing`` is what the router says of sharing it with other origins, in the upstream's
        stead; ``None`` leaves that to the upstream.
        """
        transport: Any = channel.transport
        self._channel = channel
        self._dialect = dialect
        self._request_id = request_id
        self._modern = modern
        self._closing = closing
        self._sharing = sharing
        self._write = transport.write
        self._chunked = self._unframed = False
        self.exchange: Exchange | None = None
        self.committed = False
        self.gone = False

    # -- for the channel

    def connectionLost(self, reason: Failure) -> None:
        """The client has left."""
        self.gone = True
        if self.exchange is not None:
            self.exchange.client_gone()

    def announce_close(self) -> None:
        """The channel closes after this response; say so, if there is still time to."""
        self._closing = True

    # -- for the exchange

    def commit(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`."""
        self.committed = True
        status = head.status
        end = b"\r\n"
        fields = head.fields if self._sharing is None else shared(head.fields, self._sharing)
        if not head.framed and status not in _BODILESS:
            self._chunked = self._modern
            self._unframed = not (self._modern or head.rechunk)
            if self._chunked:
                end = b"Transfer-Encoding: chunked\r\n\r\n"
                body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        if self._closing and not head.streams:
            # On a stream some clients take a cut for the end where the close was announced.
            end = b"Connection: close\r\n" + end
        if not self.gone:
            self._write(
                b"HTTP/1.1 %d %b\r\n%b%b%b"
                % (status, head.reason or _phrase(status), field_lines(fields), end, body)
            )

    def write(self, data: bytes) -> None:
        """See `Downstream`."""
        if not self.gone:
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def finish(self) -> None:
        """See `Downstream`."""
        if self.gone:
            return
        if self._chunked:
            self._write(_LAST_CHUNK)
        self._channel.unregisterProducer()
        self._channel.requestDone(self)

    def cut(self) -> None:
        """See `Downstream`.

        To an HTTP/1.0 client without a length, closing is the clean end; only a reset is a cut
        then, unless the stream itself has just said that it broke.
        """
        if self._unframed:
            self.abort()
        elif not self.gone:
            self._channel.unregisterProducer()
            self._channel.loseConnection()

    def abort(self) -> None:
        """See `Downstream`."""
        if not self.gone:
            self._channel.unregisterProducer()
            self._channel.forceAbortClient()

    def refuse(self, refusal: RouterError) -> None:
        """See `Downstream`."""
        if self.gone:
            return
        self.committed = True
        closing, sharing = self._closing, self._sharing or ()
        self._write(refused(refusal, self._request_id, self._dialect, sharing, closing=closing))
        self._channel.requestDone(self)

    def error_event(self, refusal: RouterError) -> bytes:
        """See `Downstream`."""
        return error_bodies.error_event(refusal, self._dialect)

    def produce(self, producer: IPushProducer) -> None:
        """See `Downstream`."""
        if not self.gone:
            self._channel.registerProducer(cast("Any", producer), True)


def refused(
    refusal: RouterError,
    request_id: str,
    dialect: Dialect | None,
    sharing: Sequence[Field] = (),
    *,
    closing: bool,
) -> bytes:
    """A complete response that says why, for where no Twisted request writes it."""
    fields = [
        (b"Date", datetimeToString()),
        (b"x-request-id", request_id.encode("ascii")),
        *sharing,
    ]
    if closing:
        fields.append((b"Connection", b"close"))
    return error_bodies.raw_response(refusal, _phrase(refusal.status), fields, dialect)


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b"Unknown"
