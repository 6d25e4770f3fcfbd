"""The relay leaves: where a Twisted request becomes an exchange of the data plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from autopilot.relay.downstream import Inbound
from autopilot.routing.refusal import Refusal
from autopilot.web import errors
from autopilot.web.downstream import RequestDownstream, refuse

if TYPE_CHECKING:
    from twisted.web.server import Request

    from autopilot.relay.dialect import Dialect
    from autopilot.relay.engine import Exchange
    from autopilot.relay.gateway import Gateway


class RelayLeaf(Resource):
    """``POST`` of one endpoint.

    ``path`` is the path upstream, whatever prefix the tree is mounted under. The tree has given the
    response its ``x-request-id``.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, gateway: Gateway, dialect: Dialect, path: bytes) -> None:
        super().__init__()
        self._gateway = gateway
        self._dialect = dialect
        self._path = path

    def render(self, request: Request) -> int:
        """Start the exchange; it writes the response itself."""
        if request.method == b"POST":
            self._relay(request)
        else:
            request.setHeader(b"Allow", b"POST")
            refuse(request, method_not_allowed("POST"), self._dialect)
        return NOT_DONE_YET

    def _relay(self, request: Request) -> None:
        downstream = RequestDownstream(request, self._dialect)
        gone = request.notifyFinish()
        exchange: Exchange | None = None
        try:
            exchange = self._gateway.accept(self._inbound(request), downstream)
        except Exception:  # noqa: BLE001  a bug; nothing was awaited, so nothing was cancelled
            self._log.failure("a request could not be taken in")
            if request.startedWriting:
                downstream.abort()
            else:
                downstream.refuse(errors.INTERNAL)

        def ended(reason: Failure | None) -> None:
            if isinstance(reason, Failure):
                downstream.gone = True
                if exchange is not None:
                    exchange.client_gone()

        gone.addBoth(ended)

    def _inbound(self, request: Request) -> Inbound:
        fields = [
            (name, value)
            for name, values in request.requestHeaders.getAllRawHeaders()
            for value in values
        ]
        assert request.content is not None
        return Inbound(
            dialect=self._dialect,
            path=self._path,
            query=request.uri.partition(b"?")[2],
            fields=fields,
            body=request.content.read(),
            peer=getattr(request.getClientAddress(), "host", ""),
            request_id=_identity(request),
        )


def _identity(request: Request) -> str:
    values = request.responseHeaders.getRawHeaders(b"x-request-id")
    assert values is not None
    return values[0].decode("ascii")


def method_not_allowed(*allowed: str) -> Refusal:
    """The refusal of a method; the ``Allow`` field is the caller's to set."""
    return Refusal(
        405, "method_not_allowed", f"This path answers {' and '.join(allowed)} requests only."
    )
