"""The base of the web tests: clients in memory, a site, and the real data plane."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import MethodType
from typing import cast

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot.feeds.model_list import ModelDocuments
from autopilot.feeds.polling import FeedStatus
from autopilot.feeds.readiness import Readiness, readiness
from autopilot.http.limits import Limits
from autopilot.observability.metrics import Metrics
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.router_error import RouterError
from autopilot.web.app import PageSources, WebApp
from autopilot.web.root import RootResource
from autopilot.web.site import AutopilotSite
from autopilot.web.status.page import OperatorPages
from autopilot.web.status.report import StatusReport
from autopilot.web.status.updates import LiveUpdates
from autopilot.web.turns import Turns
from tests.unit.relay.routers import ALIAS, RouterTestCase
from tests.unit.web.responses import Response, responses

MAX_BODY = 100_000
CHAT = b"/v1/chat/completions"


def request(
    target: bytes = CHAT,
    *fields: bytes,
    method: bytes = b"POST",
    version: bytes = b"1.1",
    host: bytes | None = b"router.test",
    body: bytes = b"",
) -> bytes:
    """Return a request as bytes, with a Content-Length for a body without other framing."""
    lines = [b"%b %b HTTP/%b" % (method, target, version)]
    if host is not None:
        lines.append(b"Host: " + host)
    lines += fields
    framed = any(
        field.lower().startswith((b"content-length", b"transfer-encoding")) for field in fields
    )
    if body and not framed:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def ask(model: object = ALIAS, *, stream: bool = True, **members: object) -> bytes:
    """Return the body of a request."""
    return json.dumps({"model": model, "stream": stream, **members}).encode()


class Peer(StringTransport):
    """The client's transport, whose connection is lost when the test decides."""

    aborted = False

    def __init__(self, host: str = "192.0.2.7") -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 54321))

    def abortConnection(self) -> None:
        """See `ITCPTransport`."""
        self.aborted = True
        super().abortConnection()


class Browser:
    """A client connection."""

    def __init__(self, site: Site, peer: Peer | None = None) -> None:
        protocol = site.buildProtocol(None)
        assert protocol is not None
        self.site = site
        self.protocol = cast(IProtocol, protocol)
        self.peer = Peer() if peer is None else peer
        self.lost = False
        self.protocol.makeConnection(self.peer)

    def sends(self, data: bytes, piece: int = 0) -> None:
        """Send in pieces of ``piece`` bytes, until the router closes."""
        step = piece or len(data) or 1
        for start in range(0, len(data), step):
            if not self.closed:
                self.protocol.dataReceived(data[start : start + step])
                self.turn()

    def turn(self) -> None:
        """Let the reactor turn until nothing is due: requests of a pipeline take one turn each."""
        site = cast(AutopilotSite, self.site)
        clock = cast(Clock, cast(MethodType, site.reactor.callLater).__self__)  # below its queue
        while any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
            clock.advance(0)

    @property
    def wire(self) -> bytes:
        """All bytes that the router wrote."""
        return bytes(self.peer.value())

    @property
    def got(self) -> list[Response]:
        """The responses received once the reactor has nothing left to do."""
        self.turn()
        return responses(self.wire)

    @property
    def response(self) -> Response:
        """The only response."""
        (response,) = self.got
        return response

    @property
    def closed(self) -> bool:
        """Whether the router has closed the connection."""
        return bool(self.peer.disconnecting)

    def leaves(self) -> None:
        """Disconnect."""
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


class SiteTestCase(RouterTestCase):
    """A site over a real proxy with simulated upstreams; a test must leave no resource open."""

    refused: list[int]
    limits = Limits(body_bytes=MAX_BODY)

    def setUp(self) -> None:
        """Build the router and its site."""
        super().setUp()
        self.refused = []
        self.refused_ids: list[tuple[str, str | None, str]] = []
        self.counted = Metrics("0")
        self.browsers: list[Browser] = []
        self.catalog: Catalog | None = Catalog.of(
            [
                Model("org/name", chute_id="1", raw=b'{"id":"org/name","x":1.0}'),
                Model("plain", chute_id="2", raw=b'{"id":"plain"}'),
            ]
        )
        self.metrics_text = b"metric 1\n"
        self.feed_due_in: Callable[[str], int] = lambda feed: 1
        self.status: Callable[[], StatusReport] = lambda: StatusReport("<c>", self.readiness())
        self.operators = OperatorPages(self.clock, lambda: self.status(), lambda: self.metrics_text)
        self.updates = LiveUpdates(self.clock, self.operators)
        self.site = self.make_site(self.tree())

    def make_site(self, resource: IResource) -> Site:
        """Return the site under test."""
        return AutopilotSite(resource, self.clock, self.limits, self._refuses)

    def _refuses(self, endpoint: str, error: RouterError, req_id: str) -> None:
        self.refused.append(error.status)
        self.refused_ids.append((endpoint, error.code, req_id))
        self.counted.rejected(endpoint, error)

    def tree(self, *, clients: bool = True, operators: bool = True) -> RootResource:
        """Return the router's resources."""
        sources = PageSources(
            catalog=lambda: self.catalog,
            documents=ModelDocuments([ALIAS], 7),
            readiness=self.readiness,
            operators=self.operators,
            updates=self.updates,
            clock=self.clock,
            refreshed_in=self.feed_due_in,
            refused=self._refuses,
        )
        pages = WebApp(sources, for_clients=clients, for_operators=operators)
        proxy = self.proxy if clients else None
        return RootResource(pages.app.resource(), proxy, turns=Turns(self.clock))

    def readiness(self) -> Readiness:
        """Return the readiness of the test's snapshot."""
        statuses = FeedStatus("catalog"), FeedStatus("utilization")
        now = self.clock.seconds()
        return readiness(self.snapshot, statuses, now, 60.0, 900.0, self.proxy.draining)

    def browser(self, host: str = "192.0.2.7") -> Browser:
        """Connect, from this address."""
        browser = Browser(self.site, Peer(host))
        self.browsers.append(browser)
        return browser

    def get(self, path: bytes, *fields: bytes, method: bytes = b"GET") -> Response:
        """Request a page, and return the response."""
        browser = self.browser()
        browser.sends(request(path, *fields, method=method))
        (response,) = responses(browser.wire, head_only=method == b"HEAD")
        return response

    def post(self, body: bytes, *fields: bytes, path: bytes = CHAT) -> Browser:
        """Send one request to the relay."""
        browser = self.browser()
        browser.sends(request(path, *fields, body=body))
        return browser

    def tearDown(self) -> None:
        """Disconnect all clients; no exchange, timer or connection may remain."""
        for browser in self.browsers:
            browser.leaves()
        self.assertEqual(self.proxy.active, 0)
        self.pool.close()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.pool.open_connections, 0)
        self.assert_nothing_held()
        SynchronousTestCase.tearDown(self)
