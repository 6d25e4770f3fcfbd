"""TLS to the upstream is verified, always: real handshakes on loopback, real certificates.

Client and server run on a reactor of this test's own, which is turned by hand.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any
from unittest.mock import Mock

import trustme
from OpenSSL import SSL
from twisted.internet.base import BlockingResolver
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http import tls_identity
from autopilot.http.forward_proxy import ForwardProxy
from autopilot.http.resolver import SharedResolver
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.connection import Connection
from autopilot.upstream.endpoints import VerifiedEndpoints, trust_root
from autopilot.upstream.pool import Origin, Pool
from autopilot.upstream.types import UpstreamCall, UpstreamError
from tests.unit.http.certificates import UNREADABLE, issued
from tests.unit.relay.upstreams import whole
from tests.unit.upstream.lines import Event, Listener
from tests.unit.upstream.tunnels import TunnelProxy

_PATIENCE = 5.0
_PAST = datetime(2020, 1, 1, tzinfo=UTC)
ANSWERED: list[Event] = [("head", 200), ("body", b"hello"), ("end", None)]
REFUSED: list[Event] = [("broken", UpstreamError(FailureReason.TLS_ERROR))]


class Greeting(Protocol):
    """Answers every request with the same response."""

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        assert isinstance(self.factory, Greeter)
        self.factory.open += 1

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        assert isinstance(self.factory, Greeter)
        self.factory.open -= 1

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        assert isinstance(self.factory, Greeter)
        self.factory.requests += 1
        assert self.transport is not None
        self.transport.write(whole(200, b"hello"))


class Greeter(Factory):
    """Counts the requests that came through."""

    noisy = False
    requests = 0
    open = 0

    def buildProtocol(self, addr: IAddress | None) -> Greeting:
        """See `IProtocolFactory`."""
        protocol = Greeting()
        protocol.factory = self
        return protocol


class VerificationTests(SynchronousTestCase):
    """Which servers get a request."""

    def setUp(self) -> None:
        """Make an authority, and a reactor."""
        self.authority = trustme.CA()
        self.reactor = SelectReactor()
        self.reactor.installResolver(BlockingResolver())
        self.greeter = Greeter()
        self.proxy: ForwardProxy | None = None

    def trusting(self, *authorities: trustme.CA) -> Path:
        """A file that holds these authorities' certificates."""
        path = Path(self.mktemp())
        path.write_bytes(b"".join(each.cert_pem.bytes() for each in authorities))
        return path

    def heard(
        self, certificate: trustme.LeafCert, host: str = "127.0.0.1", *, pause: bool = False
    ) -> list[Event]:
        """Return the result of a call to a server with this certificate, under this name."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        certificate.configure_cert(context)
        options = CertificateOptions()
        options._context = context
        # Not `listenSSL`: its small writes wait for the reactor that Twisted installed.
        factory = TLSMemoryBIOFactory(options, False, self.greeter, clock=self.reactor)
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        ca_file = self.trusting(trustme.CA(), self.authority)
        ways = VerifiedEndpoints(self.reactor, trust_root(ca_file))
        pool = Pool(self.reactor, ways, size=1, idle=1.0)
        listener = Listener()
        call = UpstreamCall(b"GET / HTTP/1.1\r\n\r\n", listener)
        origin = Origin("https", host, port.getHost().port, proxy=self.proxy)
        pool.dispatch(origin, call, timeout=_PATIENCE)
        if pause:
            self.pause(call, listener)
        self.turn(lambda: bool(listener.heard) and listener.heard[-1][0] in ("end", "broken"))
        pool.close()
        port.stopListening()
        self.turn(lambda: pool.open_connections == 0 and self.greeter.open == 0)
        self.turn(lambda: not self.reactor.getDelayedCalls())
        return listener.heard

    def pause(self, call: UpstreamCall, listener: Listener) -> None:
        """Pause a call before its response, see that nothing comes, and resume it."""
        self.turn(lambda: isinstance(call.transport, Connection))
        call.pause()
        self.turn(lambda: self.greeter.requests == 1)
        for _ in range(5):
            self.reactor.iterate(0.01)
        self.assertEqual(listener.heard, [])
        call.resume()

    def turn(self, done: Callable[[], bool]) -> None:
        """Turn the reactor until it is done."""
        until = monotonic() + _PATIENCE
        while not done():
            self.assertLess(monotonic(), until, "nothing happened")
            self.reactor.iterate(0.01)

    def tearDown(self) -> None:
        """Close the reactor's own descriptors."""
        for reader in self.reactor.removeAll():
            reader.connectionLost(None)

    def test_address(self) -> None:
        """A server whose certificate names the address gets its request."""
        self.assertEqual(self.heard(self.authority.issue_cert("127.0.0.1")), ANSWERED)
        self.assertEqual(self.greeter.requests, 1)

    def test_name(self) -> None:
        """So does one whose certificate names the host."""
        certificate = self.authority.issue_cert("localhost")
        self.assertEqual(self.heard(certificate, "localhost"), ANSWERED)

    def test_tunnel(self) -> None:
        """Through a proxy the origin is verified as on a direct connection."""
        for certificate, expected, requests in (
            (self.authority.issue_cert("localhost"), ANSWERED, 1),
            (self.authority.issue_cert("other.test"), REFUSED, 0),
            (trustme.CA().issue_cert("localhost"), REFUSED, 0),
        ):
            self.greeter.requests = 0
            with self.proxied() as tunnels:
                self.assertEqual(self.heard(certificate, "localhost"), expected)
            self.assertEqual(self.greeter.requests, requests)
            self.assertEqual(len(tunnels.requests), 1)
            self.assertRegex(tunnels.requests[0], rb"\ACONNECT localhost:[0-9]+ HTTP/1\.1\r\n")
            self.assertNotIn(b"GET", b"".join(tunnels.requests))

    def test_tunnel_pause(self) -> None:
        """Pausing a call stops the socket below the tunnel."""
        with self.proxied():
            certificate = self.authority.issue_cert("localhost")
            self.assertEqual(self.heard(certificate, "localhost", pause=True), ANSWERED)

    def test_tunnel_refused(self) -> None:
        """A proxy that opens no tunnel, or is none, has failed, and gets nothing of the call."""
        failed: list[Event] = [("broken", UpstreamError(FailureReason.PROXY_ERROR))]
        for response in (b"HTTP/1.1 407 No\r\n\r\n", b"HTTP/1.1 502 No\r\n\r\n", b"SSH-2.0\r\n"):
            with self.proxied(response) as tunnels:
                certificate = self.authority.issue_cert("localhost")
                self.assertEqual(self.heard(certificate, "localhost"), failed)
            self.assertEqual(tunnels.after, b"")
        self.assertEqual(self.greeter.requests, 0)

    @contextmanager
    def proxied(
        self, response: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
    ) -> Iterator[TunnelProxy]:
        """Send the calls of the block through a proxy that gives this response."""
        tunnels = TunnelProxy(self.reactor, response)
        port = self.reactor.listenTCP(0, tunnels, interface="127.0.0.1")
        self.proxy = ForwardProxy("127.0.0.1", port.getHost().port)
        try:
            yield tunnels
        finally:
            self.proxy = None
            stopped = port.stopListening()
            self.turn(lambda: tunnels.open == 0 and stopped.called)

    def test_no_connection(self) -> None:
        """A port without a server and a name without an address have different reasons."""
        self.patch(socket, "getaddrinfo", Mock(side_effect=socket.gaierror))
        self.reactor.installNameResolver(SharedResolver(self.reactor))
        port = self.reactor.listenTCP(0, self.greeter, interface="127.0.0.1")
        number = port.getHost().port
        port.stopListening()
        pool = Pool(self.reactor, VerifiedEndpoints(self.reactor, None), size=1, idle=1.0)
        for host, reason in (
            ("127.0.0.1", FailureReason.CONNECT_REFUSED),
            ("llm.test", FailureReason.DNS_ERROR),
        ):
            listener = Listener()
            call = UpstreamCall(b"", listener)
            pool.dispatch(Origin("http", host, number), call, timeout=_PATIENCE)
            self.turn(partial(bool, listener.heard))
            self.assertEqual(listener.heard, [("broken", UpstreamError(reason))])
        pool.close()

    def test_pause(self) -> None:
        """Pausing a call stops the socket below TLS."""
        certificate = self.authority.issue_cert("127.0.0.1")
        self.assertEqual(self.heard(certificate, pause=True), ANSWERED)

    def refused(self, certificate: trustme.LeafCert, host: str = "127.0.0.1") -> None:
        """A server with this certificate gets nothing."""
        self.assertEqual(self.heard(certificate, host), REFUSED)
        self.assertEqual(self.greeter.requests, 0)

    def test_wrong_name(self) -> None:
        """A certificate for another name is refused."""
        self.refused(self.authority.issue_cert("other.test"), "localhost")

    def test_wrong_address(self) -> None:
        """A certificate for another address, or for a name only, is refused."""
        self.refused(self.authority.issue_cert("127.0.0.2", "localhost"))

    def test_untrusted(self) -> None:
        """A certificate of an unknown authority is refused."""
        self.refused(trustme.CA().issue_cert("127.0.0.1"))

    def test_expired(self) -> None:
        """A certificate that is no longer valid is refused."""
        self.refused(self.authority.issue_cert("127.0.0.1", not_after=_PAST))

    def test_unreadable_names(self) -> None:
        """A certificate of a trusted authority is refused if no name can be read from it."""
        for names in UNREADABLE:
            for host in ("localhost", "127.0.0.1"):
                with self.subTest(names=names, host=host):
                    self.greeter.requests = 0
                    self.refused(issued(self.authority, names), host)

    def test_system_trust(self) -> None:
        """Without a file the system's authorities are trusted, and ours is none of them."""
        certificate = self.authority.issue_cert("127.0.0.1")
        self.patch(self, "trusting", lambda *authorities: None)
        self.assertEqual(self.heard(certificate), REFUSED)


class TrustTests(SynchronousTestCase):
    """The file of authorities."""

    def test_missing(self) -> None:
        """A file that is not there cannot be read."""
        self.assertRaises(OSError, trust_root, Path(self.mktemp()))

    def test_empty(self) -> None:
        """A file without a certificate is an error, not an empty trust store."""
        path = Path(self.mktemp())
        path.write_bytes(b"nothing\n")
        self.assertRaises(ValueError, trust_root, path)


class EndpointTests(SynchronousTestCase):
    """Which way leads to an origin."""

    def setUp(self) -> None:
        """Make the endpoints."""
        self.endpoints = VerifiedEndpoints(MemoryReactorClock(), trust_root(None))

    def test_kinds(self) -> None:
        """Addresses are connected to directly, names are looked up."""
        for host, kind in (
            ("127.0.0.1", TCP4ClientEndpoint),
            ("::1", TCP6ClientEndpoint),
            ("llm.test", HostnameEndpoint),
        ):
            self.assertIsInstance(self.endpoints(Origin("http", host, 80)), kind)

    def test_proxies(self) -> None:
        """Through a proxy only the proxy is connected to, and only its name is looked up."""
        for proxy, client in (("proxy.test", 0), ("192.0.2.1", 1)):
            reactor = MemoryReactorClock()
            endpoints = VerifiedEndpoints(reactor, trust_root(None))
            for scheme in ("http", "https"):
                origin = Origin(scheme, "llm.test", 443, proxy=ForwardProxy(proxy, 3128))
                endpoint = endpoints(origin)
                self.assertIs(endpoint, endpoints(origin._replace(base_path="/x")))
                self.assertIsNot(endpoint, endpoints(origin._replace(proxy=None)))
                endpoint.connect(Factory.forProtocol(Protocol)).addErrback(lambda _: None)
            places = {(host, port) for host, port, *_ in reactor.tcpClients}
            self.assertEqual(places, {("192.0.2.1", 3128)} if client else places)
            self.assertNotIn("llm.test", str(reactor.tcpClients))

    def test_once(self) -> None:
        """The endpoint of an origin, and its TLS context, is made once."""
        for scheme in ("http", "https"):
            origin = Origin(scheme, "llm.test", 443)
            self.assertIs(self.endpoints(origin), self.endpoints(origin))

    def test_at_start(self) -> None:
        """Origins named beforehand have their TLS contexts made at once, one for each server."""
        made: list[str] = []

        def counted(host: str, **options: Any) -> Any:
            made.append(host)
            return optionsForClientTLS(host, **options)

        self.patch(tls_identity, "optionsForClientTLS", counted)
        llm, api = Origin("https", "llm.test", 443, "/v1"), Origin("https", "api.test", 8443)
        ways = VerifiedEndpoints(MemoryReactorClock(), trust_root(None), (llm, api))
        self.assertEqual(made, ["llm.test", "api.test"])
        self.assertIs(ways(llm), ways(llm._replace(base_path="/other")))
        ways(api)
        self.assertEqual(made, ["llm.test", "api.test"])

    def test_impossible(self) -> None:
        """A host that TLS refuses is an error when the endpoints are made, not at a request."""
        bad = Origin("https", "my_backend.internal", 443)
        self.assertRaises(
            ValueError, VerifiedEndpoints, MemoryReactorClock(), trust_root(None), (bad,)
        )

    def test_absolute_name(self) -> None:
        """A name is verified, and sent as SNI, without its final dot (RFC 6066 §3)."""
        made: list[str] = []
        self.patch(tls_identity, "optionsForClientTLS", lambda host, **_: made.append(host))
        VerifiedEndpoints(MemoryReactorClock(), None, (Origin("https", "llm.test.", 443),))
        self.assertEqual(made, ["llm.test"])
