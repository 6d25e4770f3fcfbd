"""Relayed endpoints, which pass requests from the web layer to the data plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from twisted.logger import Logger

from autopilot.http.dialect import COUNT_TOKENS, MESSAGES_PATH, Dialect
from autopilot.http.error_bodies import INTERNAL
from autopilot.observability.log_rate_limit import FailureLog
from autopilot.relay.downstream import ClientRequest

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from autopilot.http.head_gate import HeadGate
    from autopilot.http.headers import Field, Named, RequestHeaders
    from autopilot.http.resource_ledger import Admission, Charge, ResourceLedger
    from autopilot.relay.downstream import Downstream
    from autopilot.relay.exchange import Exchange
    from autopilot.relay.proxy import Proxy
    from autopilot.routing.router_error import RouterError
    from autopilot.web.cors import Cors

RELAYED: Mapping[bytes, Dialect] = {
    b"/v1/chat/completions": Dialect.COMPLETIONS,
    b"/v1/completions": Dialect.COMPLETIONS,
    MESSAGES_PATH: Dialect.MESSAGES,
    COUNT_TOKENS: Dialect.MESSAGES,
    b"/v1/responses": Dialect.RESPONSES,
}
"""The relayed paths and their dialects (contract §1)."""


class Endpoint:
    """``POST`` to one path; ``path`` is the upstream's, without a prefix of the router.

    ``cors`` lists the origins whose pages may read responses; ``None`` disables CORS.
    """

    __slots__ = ("_failures", "_gate", "_path", "_proxy", "cors", "dialect")

    def __init__(self, proxy: Proxy, dialect: Dialect, path: bytes, gate: HeadGate) -> None:
        self._proxy = proxy
        self._path = path
        self._gate = gate
        self._failures = FailureLog(Logger(), proxy.clock.seconds)
        self.dialect = dialect
        self.cors: Cors | None = None

    @property
    def clock(self) -> IReactorTime:
        """The clock of the exchanges."""
        return self._proxy.clock

    @property
    def ledger(self) -> ResourceLedger:
        """The ledger of what requests hold."""
        return self._proxy.ledger

    def sharing(self, named: Named) -> tuple[Field, ...] | None:
        """Return the CORS fields for a response to this request; None if CORS is disabled."""
        cors = self.cors
        if cors is None:
            return None
        origins = named.get(b"origin")
        return cors.fields(origins[-1]) if origins else ()

    def refusal(self, named: Named, length: int, admission: Admission) -> RouterError | None:
        """Return the error by which a request is refused for its head, if it is.

        The router's own channel has asked the gate at the head, before it read the body.
        """
        return self._gate.refusal(self._path, named, length, self._proxy.max_body, admission)

    def refused(self, error: RouterError, request_id: str) -> None:
        """Record that Twisted's channel, or the tree, refused a request for its head."""
        self._proxy.refused(self._path.decode("ascii"), error, request_id)

    def accept(
        self,
        response: Downstream,
        query: bytes,
        headers: RequestHeaders,
        body: bytes,
        peer: str,
        request_id: str,
        charge: Charge | None,
    ) -> Exchange | None:
        """Start the exchange of a request, which writes the response itself.

        The ``charge``, if the channel has made one, is released when the request has ended. The
        exchange handles its own exceptions; this handles those of the code around it.
        """
        try:
            request = ClientRequest(
                self.dialect, self._path, query, headers, body, peer, request_id, charge
            )
            return self._proxy.accept(request, response)
        except Exception:  # noqa: BLE001  a bug; nothing was awaited, so nothing was cancelled
            self._failures.report("A request could not be accepted")
            if charge is not None:
                charge.release()
            if response.committed:
                response.abort()
            else:
                response.refuse(INTERNAL)
            return None
