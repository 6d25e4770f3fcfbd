"""The relay leaves: where a Twisted request, of any channel, meets an endpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from autopilot.http.fields import by_name
from autopilot.routing.router_error import RouterError
from autopilot.web.twisted_response import TwistedResponse, refuse

if TYPE_CHECKING:
    from twisted.web.server import Request

    from autopilot.http.headers import Field
    from autopilot.web.endpoint import Endpoint


# Twisted's own channel lets these pass, which must not go upstream (RFC 9110, 5.5; RFC 3986, 2).
_NOT_IN_A_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_A_TARGET = re.compile(rb"[^!-~]")
_UNCLEAN = RouterError(400, "bad_request", "The request is not valid: its head has control bytes.")


class RelayResource(Resource):
    """``POST`` of one endpoint. The tree has given the response its ``x-request-id``."""

    isLeaf = True

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def render(self, request: Request) -> int:
        """Start the exchange; it writes the response itself."""
        fields = [
            (name, value)
            for name, values in request.requestHeaders.getAllRawHeaders()
            for value in values
        ]
        if request.method != b"POST":
            request.setHeader(b"Allow", b"POST")
            refuse(request, method_not_allowed("POST"), self._endpoint.dialect)
        elif _NOT_IN_A_TARGET.search(request.uri) or any(
            _NOT_IN_A_VALUE.search(value) for _, value in fields
        ):
            refuse(request, _UNCLEAN, self._endpoint.dialect)
        else:
            self._relay(request, fields)
        return NOT_DONE_YET

    def _relay(self, request: Request, fields: list[Field]) -> None:
        named = by_name(fields)
        sharing = self._endpoint.sharing(named)
        downstream = TwistedResponse(request, self._endpoint.dialect, sharing)
        gone = request.notifyFinish()
        assert request.content is not None
        exchange = self._endpoint.accept(
            downstream,
            query=request.uri.partition(b"?")[2],
            fields=fields,
            named=named,
            body=request.content.read(),
            peer=getattr(request.getClientAddress(), "host", ""),
            request_id=_identity(request),
        )

        def ended(reason: Failure | None) -> None:
            if isinstance(reason, Failure):
                downstream.gone = True
                if exchange is not None:
                    exchange.client_gone()

        gone.addBoth(ended)


def _identity(request: Request) -> str:
    values = request.responseHeaders.getRawHeaders(b"x-request-id")
    assert values is not None
    return values[0].decode("ascii")


def method_not_allowed(*allowed: str) -> RouterError:
    """The refusal of a method; the ``Allow`` field is the caller's to set."""
    return RouterError(
        405, "method_not_allowed", f"This path answers {' and '.join(allowed)} requests only."
    )
