"""The client's side of an exchange over a Twisted request, whatever channel that came on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from twisted.web.http_headers import Headers

from autopilot.http import error_bodies
from autopilot.web.cors import shared

if TYPE_CHECKING:
    from twisted.internet.interfaces import IPushProducer
    from twisted.web.server import Request

    from autopilot.http.dialect import Dialect
    from autopilot.http.headers import Field
    from autopilot.relay.downstream import CommittedHead
    from autopilot.routing.router_error import RouterError

_BODILESS = frozenset({204, 304})


class WireHeaders(Headers):
    """Response fields that leave in the order, number and spelling they came in.

    Twisted's own class groups fields by name and respells them; a relay must not.
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
    """Writes one response; see :class:`Downstream`. Every method is harmless without a client."""

    def __init__(
        self, request: Request, dialect: Dialect, sharing: Sequence[Field] | None = None
    ) -> None:
        """``sharing`` is as in `Answer`; errors have it from the tree."""
        self._request = request
        self._dialect = dialect
        self._sharing = sharing
        self._producing = False
        self._unframed = False
        self.gone = False

    @property
    def committed(self) -> bool:
        """See `Downstream`."""
        return bool(self._request.startedWriting)

    def commit(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`."""
        request = self._request
        sharing = self._sharing
        fields = WireHeaders(head.fields if sharing is None else shared(head.fields, sharing))
        closing = request.responseHeaders.hasHeader(b"connection")
        if closing and not head.streams:
            # On a stream some clients take a cut for the end where the close was announced.
            fields.addRawHeader(b"Connection", b"close")
        self._unframed = not (
            request.clientproto == b"HTTP/1.1"
            or head.framed
            or head.rechunk
            or head.status in _BODILESS
        )
        request.setResponseCode(head.status, head.reason or None)
        request.responseHeaders = fields
        # On a foreign site: no content type where the upstream gave none.
        request.defaultContentType = None
        request.write(body)

    def write(self, data: bytes) -> None:
        """See `Downstream`."""
        self._request.write(data)

    def finish(self) -> None:
        """See `Downstream`."""
        self._stop_producing()
        if not self.gone:
            self._request.finish()

    def cut(self) -> None:
        """See `Downstream`.

        To an HTTP/1.0 client without a length, closing is the clean end; only a reset is a cut
        then, unless the stream itself has just said that it broke.
        """
        if self._unframed:
            self.abort()
            return
        self._stop_producing()
        channel = self._request.channel
        if not self.gone and channel is not None:
            channel.loseConnection()

    def abort(self) -> None:
        """See `Downstream`."""
        self._stop_producing()
        channel = self._request.channel
        if not self.gone and channel is not None:
            # Not the channel's own way to abort: on a foreign site it logs the client's address.
            cast("Any", channel.transport).abortConnection()

    def refuse(self, refusal: RouterError) -> None:
        """See `Downstream`."""
        if not self.gone:
            refuse(self._request, refusal, self._dialect)

    def error_event(self, refusal: RouterError) -> bytes:
        """See `Downstream`."""
        return error_bodies.error_event(refusal, self._dialect)

    def produce(self, producer: IPushProducer) -> None:
        """See `Downstream`."""
        if not self.gone:
            self._request.registerProducer(producer, True)
            self._producing = True

    def _stop_producing(self) -> None:
        if self._producing and not self.gone:
            self._request.unregisterProducer()
        self._producing = False


def refuse(request: Request, refusal: RouterError, dialect: Dialect | None = None) -> None:
    """Answer a Twisted request with an error of the router's own, and finish it."""
    body = error_bodies.error_body(refusal, dialect)
    request.setResponseCode(refusal.status)
    for name, value in error_bodies.error_fields(refusal):
        request.setHeader(name, value)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
    request.finish()
