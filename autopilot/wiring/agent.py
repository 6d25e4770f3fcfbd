"""The HTTP client of feeds, evidence and the ``autopilot`` command, over the relay's endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.web.client import URI, Agent, ProxyAgent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from autopilot.feeds.head_limit import limit_head
from autopilot.upstream.pool import Origin

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from autopilot.http.forward_proxy import ProxyRules
    from autopilot.upstream.endpoints import VerifiedEndpoints


@implementer(IAgent, IAgentEndpointFactory)
class PlatformAgent:
    """Requests URLs as the relay does: with verified TLS, and through the same proxies."""

    def __init__(self, reactor: Any, endpoints: VerifiedEndpoints, rules: ProxyRules) -> None:
        self._reactor = reactor
        self._endpoints = endpoints
        self._rules = rules
        self._agent = Agent.usingEndpointFactory(reactor, self)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See `IAgent`."""
        agent: Any = self._agent
        target = URI.fromBytes(uri)
        origin = self._origin(target)
        if origin.proxy is not None and origin.forwarded:
            agent = ProxyAgent(self.endpointForURI(target), self._reactor)
            headers = Headers() if headers is None else headers.copy()
            if origin.proxy.authorization:
                headers.setRawHeaders(b"Proxy-Authorization", [origin.proxy.authorization])
        requested: Deferred[IResponse] = agent.request(method, uri, headers, bodyProducer)
        return requested

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See `IAgentEndpointFactory`."""
        return _QuietEndpoint(self._endpoints(self._origin(uri)))

    def _origin(self, uri: URI) -> Origin:
        scheme, host = uri.scheme.decode("ascii"), uri.host.decode("ascii").strip("[]").lower()
        return Origin(scheme, host, uri.port, proxy=self._rules.proxy_of(scheme, host, uri.port))


@implementer(IStreamClientEndpoint)
class _QuietEndpoint:
    """Limits the size of response heads, and keeps each fetch's factory out of the log."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        protocolFactory.noisy = False  # type: ignore[attr-defined]  # not in the interface
        connecting: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connecting.addCallback(limit_head)
