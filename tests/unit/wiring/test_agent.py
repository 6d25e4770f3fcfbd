"""Tests of the agent of feeds and evidence: which way each URL is requested, byte by byte."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.fetch import FetchedResponse, Fetcher
from autopilot.http.fetch_error import NETWORK, FetchError
from autopilot.http.forward_proxy import ProxyRules
from autopilot.upstream.endpoints import VerifiedEndpoints, trust_root
from autopilot.wiring.agent import PlatformAgent
from tests.unit.relay.upstreams import whole
from tests.unit.service.platforms import Platform, Wire

RULES = ProxyRules.of(
    "http://me:hunter2@192.0.2.3:3128", "http://me:hunter2@192.0.2.4:8080", ("direct.test",)
)
CREDENTIALS = b"Proxy-Authorization: Basic bWU6aHVudGVyMg=="


class AgentTests(SynchronousTestCase):
    """Two proxies and a platform in memory."""

    def setUp(self) -> None:
        """Make the agent."""
        self.reactor = MemoryReactorClock()
        self.platform = Platform(self.reactor)

    def fetch(self, url: str, rules: ProxyRules = RULES) -> tuple[Deferred[Any], Wire]:
        """Ask for a URL; return the response to come and the connection that was opened."""
        endpoints = VerifiedEndpoints(self.reactor, trust_root(None))
        agent = PlatformAgent(self.reactor, endpoints, rules)
        fetching = Fetcher(agent, self.reactor, 10.0).ask(url, "Bearer k")
        ((host, port, *_),) = self.reactor.tcpClients
        self.opened = f"{host}:{port}"
        return fetching, self.platform.wire

    def test_forwarded(self) -> None:
        """An http URL is requested in absolute form, with the proxy's credentials."""
        fetching, wire = self.fetch("http://192.0.2.9:81/v1/models?x=1")
        self.assertEqual(self.opened, "192.0.2.4:8080")
        lines = wire.value().split(b"\r\n")
        self.assertEqual(lines[0], b"GET http://192.0.2.9:81/v1/models?x=1 HTTP/1.1")
        self.assertIn(b"Host: 192.0.2.9:81", lines)
        self.assertIn(CREDENTIALS, lines)
        self.assertIn(b"Authorization: Bearer k", lines)
        wire.says(whole(200, b"{}"))
        self.assertEqual(self.successResultOf(fetching), FetchedResponse(200, b"{}"))

    def test_without_credentials(self) -> None:
        """A proxy without credentials gets none."""
        rules = ProxyRules.of(None, "http://192.0.2.4:8080", ())
        _, wire = self.fetch("http://192.0.2.9/", rules)
        self.assertTrue(wire.value().startswith(b"GET http://192.0.2.9/ HTTP/1.1\r\n"))
        self.assertNotIn(b"Proxy-Authorization", wire.value())

    def test_tunnelled(self) -> None:
        """An https URL goes through a tunnel, which shows the proxy the server's name alone."""
        fetching, wire = self.fetch("https://llm.test/v1/models")
        self.assertEqual(self.opened, "192.0.2.3:3128")
        self.assertEqual(
            wire.value(),
            b"CONNECT llm.test:443 HTTP/1.1\r\nHost: llm.test:443\r\n%b\r\n\r\n" % CREDENTIALS,
        )
        wire.clear()
        wire.says(b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual(wire.value()[:1], b"\x16")  # the ClientHello of TLS
        self.assertIn(b"llm.test", wire.value())
        for secret in (b"Bearer", b"bWU6", b"GET"):
            self.assertNotIn(secret, wire.value())
        fetching.cancel()
        self.failureResultOf(fetching)
        self.reactor.advance(0)
        self.assertTrue(wire.lost)

    def test_refused(self) -> None:
        """A proxy that opens no tunnel is a failed fetch that says so."""
        fetching, wire = self.fetch("https://llm.test/v1/models")
        wire.says(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        error = self.failureResultOf(fetching, FetchError).value
        self.assertEqual(str(error), "the proxy responded to CONNECT with status 407")
        self.assertEqual(error.outcome, NETWORK)

    def test_silent(self) -> None:
        """A proxy that says nothing is given up with the fetch."""
        fetching, wire = self.fetch("https://llm.test/v1/models")
        self.reactor.advance(10)
        self.failureResultOf(fetching, FetchError)
        self.reactor.advance(0)
        self.assertTrue(wire.lost)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_direct(self) -> None:
        """An exempt server and loopback are requested as without a proxy."""
        for url, opened in (
            ("http://127.0.0.1:81/a", "127.0.0.1:81"),
            ("http://[::1]/a", "::1:80"),
        ):
            _, wire = self.fetch(url)
            self.assertEqual(self.opened, opened)
            self.assertTrue(wire.value().startswith(b"GET /a HTTP/1.1\r\n"))
            self.assertNotIn(b"Proxy", wire.value())
