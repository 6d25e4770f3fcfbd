"""The relay's leaf resource, which hands a Twisted request of any channel to an endpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from autopilot.http.dialect import Dialect
from autopilot.http.headers import read_request_headers
from autopilot.http.request_id import REQUEST_ID
from autopilot.http.resource_ledger import Admission
from autopilot.routing.router_error import RouterError
from autopilot.web.twisted_response import TwistedResponse, refuse

if TYPE_CHECKING:
    from twisted.web.server import Request

    from autopilot.http.headers import Field
    from autopilot.web.endpoint import Endpoint


# Twisted's own channel accepts these bytes, but they must not go upstream: control characters in a
# field value (RFC 9110 §5.5), anything but visible ASCII in a target (RFC 3986 §2).
_ILLEGAL_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_ILLEGAL_IN_TARGET = re.compile(rb"[^!-~]")
_ILLEGAL_BYTES = RouterError(
    400, "bad_request", "The request is not valid: its head contains control bytes."
)
_NO_WEBSOCKET = RouterError(
    426, "upgrade_required", "WebSocket is not supported; send a POST request over HTTP."
)


class RelayResource(Resource):
    """The ``POST`` of one endpoint. The tree has already set the response's ``x-request-id``."""

    isLeaf = True

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def render(self, request: Request) -> int:
        """Start the exchange, which writes the response itself."""
        fields = [
            (name, value)
            for name, values in request.requestHeaders.getAllRawHeaders()
            for value in values
        ]
        if request.method == b"GET" and self._asks_for_websocket(request):
            _announce_upgrade(request)
            self._refuse(request, _NO_WEBSOCKET)
        elif request.method != b"POST":
            self._refuse(request, method_not_allowed("POST"))
        elif _ILLEGAL_IN_TARGET.search(request.uri) or any(
            _ILLEGAL_IN_VALUE.search(value) for _, value in fields
        ):
            self._refuse(request, _ILLEGAL_BYTES)
        else:
            self._relay(request, fields)
        return NOT_DONE_YET

    def _asks_for_websocket(self, request: Request) -> bool:
        """Return whether a client of OpenAI's responses wants to send its requests by WebSocket.

        HTTP/1.0 has no ``Upgrade`` (RFC 9110 §7.8).
        """
        if self._endpoint.dialect is not Dialect.RESPONSES or request.clientproto != b"HTTP/1.1":
            return False
        protocols = b",".join(request.requestHeaders.getRawHeaders(b"upgrade", ())).lower()
        return b"websocket" in [each.strip() for each in protocols.split(b",")]

    def _refuse(self, request: Request, error: RouterError) -> None:
        refuse(request, error, self._endpoint.dialect)
        self._endpoint.refused(error, response_id(request))

    def _relay(self, request: Request, fields: list[Field]) -> None:
        endpoint, headers = self._endpoint, read_request_headers(fields)
        assert request.content is not None
        body = request.content.read()
        request.content.close()  # Twisted would keep it until the end of the response
        peer = getattr(request.getClientAddress(), "host", "")
        admission = Admission(endpoint.ledger, peer, connected=False)
        error = endpoint.refusal(headers.named, len(body), admission) or admission.grow(len(body))
        if error is not None:
            admission.drop()
            self._refuse(request, error)
            return
        sharing = endpoint.sharing(headers.named)
        response = TwistedResponse(request, endpoint.dialect, endpoint.clock, sharing)
        gone = request.notifyFinish()
        exchange = endpoint.accept(
            response,
            request.uri.partition(b"?")[2],
            headers,
            body,
            peer,
            response_id(request),
            admission.charge,
        )

        def ended(reason: Failure | None) -> None:
            if isinstance(reason, Failure):
                response.lost()
                if exchange is not None:
                    exchange.client_gone()

        gone.addBoth(ended)


def _announce_upgrade(request: Request) -> None:
    """Name the protocol to use instead, as a 426 must, and the field (RFC 9110 §15.5.22, §7.8)."""
    options = [*request.responseHeaders.getRawHeaders(b"connection", ()), b"Upgrade"]
    request.setHeader(b"Connection", b", ".join(options))
    request.setHeader(b"Upgrade", b"HTTP/1.1")


def response_id(request: Request) -> str:
    """Return the ``x-request-id`` that the tree has set for the response."""
    values = request.responseHeaders.getRawHeaders(REQUEST_ID)
    assert values is not None
    return values[0].decode("ascii")


def method_not_allowed(*allowed: str) -> RouterError:
    """Return the error for a method not in ``allowed``, which it names (RFC 9110 §15.5.6)."""
    return RouterError(
        405,
        "method_not_allowed",
        f"This path supports {' and '.join(allowed)} requests only.",
        allow=", ".join(allowed).encode("ascii"),
    )
