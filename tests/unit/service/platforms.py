"""The platform in memory, behind a reactor in memory: it answers feeds, the test answers calls."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock, StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot import AutopilotService, Settings
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import Browser

NAMES = ("acme/one", "acme/two")
URL = "http://192.0.2.1"


def settings(**given: Any) -> Settings:
    """Return settings for this platform: no evidence, and one port for clients and operators."""
    own: dict[str, Any] = {
        "admin_listen_addr": "-",
        "backend_base_url": f"{URL}:81",
        "messages_base_url": f"{URL}:82",
        "responses_base_url": f"{URL}:83",
        "models_url": f"{URL}/v1/models",
        "utilization_url": f"{URL}/chutes/utilization",
        "api_base_url": f"{URL}:84",
        "evidence_refresh_ms": 0,
    }
    return Settings(**(own | given))


def logged(observer: EventLoggingObserver) -> list[tuple[str, str]]:
    """Return the level and text of each event that the service logged."""
    return [
        (event["log_level"].name, str(formatEvent(event)))
        for event in observer
        if event["log_namespace"].startswith("autopilot.service")
    ]


class Wire(StringTransport):
    """The platform's end of one connection from the router."""

    def __init__(self, platform: Platform, factory: Any) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 80))
        self._platform = platform
        self.lost = False
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`."""

    def loseConnection(self) -> None:
        """See `ITransport`."""
        super().loseConnection()
        self._platform.reactor.callLater(0, self.lose, ConnectionDone())

    def abortConnection(self) -> None:
        """See `ITCPTransport`."""
        self._platform.reactor.callLater(0, self.lose, ConnectionAborted())

    def says(self, *data: bytes) -> None:
        """Send bytes."""
        for each in data:
            self.protocol.dataReceived(each)

    def lose(self, why: Exception) -> None:
        """Lose the connection."""
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(why))

    def breaks(self) -> None:
        """Break the connection off."""
        self.lose(ConnectionLost())


class Platform:
    """Accepts every connection that the router opens."""

    def __init__(self, reactor: MemoryReactorClock) -> None:
        self.reactor = reactor
        self.wires: list[Wire] = []
        self.ports: list[int] = []

    def take(self) -> None:
        """Complete the connections opened since, and answer requests for feeds."""
        while self.reactor.tcpClients:
            _host, port, factory, _timeout, _bind = self.reactor.tcpClients.pop(0)
            wire = Wire(self, factory)
            self.wires.append(wire)
            self.ports.append(port)
            # A proxy that forwards requests gets the whole URL.
            asked = wire.value().replace(b"GET %b/" % URL.encode(), b"GET /", 1)
            if asked.startswith(b"GET /v1/models "):
                wire.says(whole(200, catalog_body(*map(entry, NAMES))))
            elif asked.startswith(b"GET /chutes/utilization "):
                wire.says(whole(200, utilization_body(*map(record, NAMES))))

    @property
    def wire(self) -> Wire:
        """The most recently opened connection."""
        self.take()
        return self.wires[-1]


class ServiceTestCase(SynchronousTestCase):
    """A service on a reactor in memory, which must be idle at the end."""

    def setUp(self) -> None:
        """Make the reactor."""
        self.reactor = MemoryReactorClock()
        self.platform = Platform(self.reactor)
        self.browsers: list[Browser] = []

    def service(self, *, listen: bool = True, **given: Any) -> AutopilotService:
        """Return a service with these settings."""
        return AutopilotService(settings(**given), reactor=self.reactor, listen=listen)

    def running(self, **given: Any) -> AutopilotService:
        """Return a running service with both feeds."""
        service = self.service(**given)
        service.startService()
        self.platform.take()
        return service

    def observed(self) -> EventLoggingObserver:
        """Return an observer of the events logged from now on."""
        observer = EventLoggingObserver()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return observer

    def browser(self, port: int = 0) -> Browser:
        """Connect to a port, in the order of listening."""
        return self.browse(self.reactor.tcpServers[port][1])

    def browse(self, site: Any) -> Browser:
        """Connect to a site."""
        browser = Browser(site)
        self.browsers.append(browser)
        return browser

    def assert_at_rest(self) -> None:
        """Assert that nothing is scheduled and nothing is connected."""
        self.reactor.advance(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual([wire for wire in self.platform.wires if not wire.lost], [])
