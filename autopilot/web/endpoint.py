"""One relayed endpoint: where a request that arrived becomes an exchange of the data plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from twisted.logger import Logger

from autopilot.http import error_bodies
from autopilot.relay.dialect import Dialect
from autopilot.relay.downstream import Downstream, Inbound

if TYPE_CHECKING:
    from autopilot.http.fields import Named
    from autopilot.http.headers import Field
    from autopilot.relay.engine import Exchange
    from autopilot.relay.proxy import Proxy
    from autopilot.web.cors import Cors

RELAYED: Mapping[bytes, Dialect] = {
    b"/v1/chat/completions": Dialect.COMPLETIONS,
    b"/v1/completions": Dialect.COMPLETIONS,
    b"/v1/messages": Dialect.MESSAGES,
    b"/v1/responses": Dialect.RESPONSES,
}
"""The relayed paths, and the dialect that each speaks."""


class Endpoint:
    """``POST`` to one path. ``path`` is the path upstream, whatever prefix the router is under.

    ``cors`` says with pages of which other origins responses are shared; ``None`` with none.
    """

    _log = Logger()

    def __init__(self, gateway: Proxy, dialect: Dialect, path: bytes) -> None:
        self._gateway = gateway
        self._path = path
        self.dialect = dialect
        self.cors: Cors | None = None

    def sharing(self, named: Named) -> tuple[Field, ...] | None:
        """What the response to a request with these fields says of being shared; if anything."""
        cors = self.cors
        if cors is None:
            return None
        origins = named.get(b"origin")
        return cors.fields(origins[-1]) if origins else ()

    def accept(
        self,
        downstream: Downstream,
        *,
        query: bytes,
        fields: list[Field],
        named: Named,
        body: bytes,
        peer: str,
        request_id: str,
    ) -> Exchange | None:
        """Start the exchange of one request, which writes the response itself."""
        try:
            return self._gateway.accept(
                Inbound(self.dialect, self._path, query, fields, named, body, peer, request_id),
                downstream,
            )
        except Exception:  # noqa: BLE001  a bug; nothing was awaited, so nothing was cancelled
            self._log.failure("a request could not be taken in")
            if downstream.committed:
                downstream.abort()
            else:
                downstream.refuse(error_bodies.INTERNAL)
            return None
