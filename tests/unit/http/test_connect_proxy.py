"""Tests of tunnels: what is sent to a proxy, and every response that it can give."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.connect_proxy import (
    MAX_HEAD,
    ConnectEndpoint,
    ProxyEndpoint,
    ProxyError,
    connect_request,
)
from autopilot.http.forward_proxy import ForwardProxy
from tests.unit.relay.chunks import cut, places
from tests.unit.relay.upstreams import Endpoint, Upstreams

PROXY = ForwardProxy.of("http://me:hunter2@proxy.test:3128")
REQUEST = connect_request(PROXY, "llm.test", 443)
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"

GOOD = (
    OPEN,
    b"HTTP/1.0 200 OK\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n",
    b"HTTP/1.1 200\r\n\r\n",
    b"HTTP/1.1 299 \r\nX:\r\n\r\n",
    # RFC 9110 §9.3.6: framing fields of a 2xx to CONNECT mean nothing.
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\nLink: x\r\n\r\n" + OPEN,
)
INVALID = (
    b"SSH-2.0-OpenSSH\r\n",
    b"\x15\x03\x01\x00\x02\x02\x46",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/1.1 600 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno field\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
    b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    b"\r\n" + OPEN,
    b"HTTP/1.1 100 Continue\r\n\r\nx" + OPEN,
)


class Inner(Protocol):
    """A protocol that notes what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self.lost = reason


class TunnelTestCase(SynchronousTestCase):
    """A proxy in memory."""

    def setUp(self) -> None:
        """Make the proxy."""
        self.start()

    def start(self) -> None:
        """Make a proxy."""
        self.clock = Clock()
        self.proxy = Upstreams(self.clock)
        self.factory: Factory = Factory.forProtocol(Inner)

    def connect(self) -> Deferred[Any]:
        """Start to open a tunnel."""
        endpoint = ConnectEndpoint(ProxyEndpoint(Endpoint(self.proxy)), REQUEST)
        self.assertEqual(repr(endpoint), "ConnectEndpoint()")
        return endpoint.connect(self.factory)

    def refused(self, *data: bytes) -> str:
        """Return why a proxy that sends this opened no tunnel."""
        self.start()
        connecting = self.connect()
        self.proxy.wire.says(*data)
        error = self.failureResultOf(connecting, ProxyError).value
        self.assertFalse(self.proxy.wire.alive)
        self.clock.advance(0)
        for secret in ("hunter2", "proxy.test", "llm.test", "192.0.2"):
            self.assertNotIn(secret, str(error))
        return str(error)


class OpenTests(TunnelTestCase):
    """A proxy that opens the tunnel."""

    def test_request(self) -> None:
        """The proxy is asked for the origin by name, and only it gets the credentials."""
        self.assertEqual(
            REQUEST,
            b"CONNECT llm.test:443 HTTP/1.1\r\nHost: llm.test:443\r\n"
            b"Proxy-Authorization: Basic bWU6aHVudGVyMg==\r\n\r\n",
        )
        self.assertEqual(
            connect_request(ForwardProxy("p", 1), "2001:db8::1", 8443),
            b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\r\n",
        )

    def test_good(self) -> None:
        """The inner protocol takes the connection over, and receives everything after that."""
        for response in GOOD:
            self.start()
            connecting = self.connect()
            self.assertEqual(self.proxy.wire.value(), REQUEST)
            self.assertNoResult(connecting)
            self.proxy.wire.says(response)
            inner: Inner = self.successResultOf(connecting)
            self.assertIs(self.proxy.wire.protocol, inner)
            inner.transport.write(b"hello")  # type: ignore[union-attr]
            self.proxy.wire.says(b"world")
            self.assertEqual(self.proxy.wire.value(), REQUEST + b"hello")
            self.assertEqual(inner.heard, b"world")
            self.proxy.wire.closes()
            self.assertIsNotNone(inner.lost)

    @given(st.sampled_from(GOOD), places(200))
    def test_in_pieces(self, response: bytes, where: list[int]) -> None:
        """However reads split the response, the tunnel opens at its last byte."""
        self.start()
        connecting = self.connect()
        self.proxy.wire.says(*cut(response[:-1], where))
        self.assertNoResult(connecting)
        self.proxy.wire.says(response[-1:])
        self.successResultOf(connecting)

    def test_other_transports(self) -> None:
        """A transport that always delivers to the first protocol serves as well."""
        connecting = self.connect()
        first: Any = self.proxy.wire.protocol
        first.dataReceived(OPEN)
        inner: Inner = self.successResultOf(connecting)
        first.dataReceived(b"world")
        first.connectionLost(connectionDone)
        self.assertEqual((inner.heard, inner.lost), (b"world", connectionDone))

    def test_no_protocol(self) -> None:
        """A factory that fails closes the connection, and its error is reported."""

        def build(_addr: object) -> None:
            raise OSError("none")

        self.factory.buildProtocol = build  # type: ignore[method-assign,assignment]
        connecting = self.connect()
        self.proxy.wire.says(OPEN)
        self.failureResultOf(connecting, OSError)
        self.assertTrue(self.proxy.wire.aborted)


class RefusalTests(TunnelTestCase):
    """A proxy that opens none."""

    def test_status(self) -> None:
        """Any other status is named, and no byte of a body is waited for."""
        for status in (301, 400, 403, 407, 502, 503):
            response = b"HTTP/1.1 %d No\r\nContent-Length: 1000000\r\n\r\n" % status
            self.assertEqual(
                self.refused(response), f"the proxy responded to CONNECT with status {status}"
            )

    def test_invalid(self) -> None:
        """What is not HTTP is refused, as soon as that is certain."""
        for response in INVALID:
            self.assertIn("not valid HTTP", self.refused(response), response)
        self.assertIn("not valid HTTP", self.refused(b"H", b"TTX"))

    def test_ahead_of_the_tunnel(self) -> None:
        """Bytes behind the head are not the origin's: the router speaks first."""
        self.assertIn("more than a response", self.refused(OPEN + b"x"))

    def test_too_long(self) -> None:
        """A head has an end, interim responses included."""
        field = b"A: " + b"b" * 1000 + b"\r\n"
        endless = self.refused(b"HTTP/1.1 200 OK\r\n", *[field] * (MAX_HEAD // len(field) + 1))
        self.assertIn("too long", endless)
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        self.assertIn("too long", self.refused(*[interim] * (MAX_HEAD // len(interim) + 1)))
        self.assertIn("too long", self.refused(b"HTTP/1.1 200\r\n" + field * 70 + b"\r\n"))

    def test_drops_are_cheap(self) -> None:
        """A head that arrives byte by byte is searched once, not once for each byte."""
        connecting = self.connect()
        tunnel: Any = self.proxy.wire.protocol
        self.proxy.wire.says(b"HTTP/1.1 200 OK\r\nA: ", *[b"b"] * 5000)
        self.assertNoResult(connecting)
        self.assertGreaterEqual(tunnel._searched, 5000)
        self.proxy.wire.closes()
        self.failureResultOf(connecting, ProxyError)

    def test_closes(self) -> None:
        """A proxy that closes has failed, in whatever way it closes."""
        for ends in ("closes", "resets"):
            self.start()
            connecting = self.connect()
            self.proxy.wire.says(b"HTTP/1.1 200 OK\r\n")
            getattr(self.proxy.wire, ends)()
            error = self.failureResultOf(connecting, ProxyError).value
            self.assertIn("closed the connection", str(error))

    def test_nothing_follows(self) -> None:
        """After a failure the connection is over: no byte is looked at, no loss reported again."""
        connecting = self.connect()
        tunnel: Any = self.proxy.wire.protocol
        tunnel.dataReceived(b"HTTP/1.1 407 No\r\n\r\n")
        tunnel.dataReceived(OPEN)
        self.failureResultOf(connecting, ProxyError)
        self.clock.advance(0)

    def test_unreachable(self) -> None:
        """A proxy that cannot be reached fails with a reason without addresses."""
        for error, text in (
            (ConnectionRefusedError("192.0.2.2"), "the proxy refused the connection"),
            (DNSLookupError("proxy.test"), "the proxy's name could not be resolved"),
            (TimeoutError(), "the proxy could not be reached in time"),
            (TCPTimedOutError(), "the proxy could not be reached in time"),
            (NoRouteError("192.0.2.2"), "the proxy could not be reached"),
            (ValueError("proxy.test"), "the proxy could not be reached"),
        ):
            self.proxy.refusing, self.proxy.refusal = 1, error
            failed = self.failureResultOf(self.connect(), ProxyError).value
            self.assertEqual(str(failed), text)


class CancelTests(TunnelTestCase):
    """A caller that no longer wants the connection."""

    def test_connecting(self) -> None:
        """While the proxy is being connected to, that ends."""
        self.proxy.hanging = True
        connecting = self.connect()
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual(self.proxy.cancelled, 1)

    def test_opening(self) -> None:
        """While the proxy owes a response, its connection is closed."""
        connecting = self.connect()
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertTrue(self.proxy.wire.aborted)
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
