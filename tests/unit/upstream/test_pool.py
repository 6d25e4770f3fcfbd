"""The pool: which connection a call gets, how long one is kept, and that none is left behind."""

from __future__ import annotations

from errno import EMFILE

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    SSLError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.connect_proxy import ProxyError
from autopilot.http.forward_proxy import ForwardProxy, ProxyRules
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.pool import Origin, Pool
from autopilot.upstream.types import UpstreamCall, UpstreamError
from tests.unit.relay.upstreams import Upstreams, Wire, chunk, head, whole
from tests.unit.upstream.lines import Event, Listener

PLAIN = Origin("http", "llm.test", 80)
OTHER = Origin("http", "claude.test", 80)
SECURE = Origin("https", "llm.test", 443)
PROXY = ForwardProxy("proxy.test", 3128, b"bWU6aHVudGVyMg==")
FORWARDED = PLAIN._replace(proxy=PROXY)
TUNNELLED = SECURE._replace(proxy=PROXY)
PROXY_FAILED: list[Event] = [("broken", UpstreamError(FailureReason.PROXY_ERROR))]


class OriginTests(SynchronousTestCase):
    """How a configured URL becomes an origin."""

    def test_of(self) -> None:
        """The port is the scheme's own unless given; the path loses its last slash."""
        origin = Origin.of("https://llm.chutes.ai/v2/")
        self.assertEqual(origin, Origin("https", "llm.chutes.ai", 443, "/v2"))
        self.assertTrue(origin.secure)
        self.assertEqual(Origin.of("http://h:81"), Origin("http", "h", 81))
        self.assertEqual(Origin.of("http://h").port, 80)

    def test_proxy(self) -> None:
        """The rules choose the proxy; only one for http forwards requests."""
        rules = ProxyRules.of("http://a.test:1", "http://b.test:2", ("direct.test",))
        secure, plain = Origin.of("https://llm.test/v1", rules), Origin.of("http://llm.test", rules)
        self.assertEqual((secure.proxy, plain.proxy), (rules.https, rules.http))
        self.assertEqual((secure.forwarded, plain.forwarded), (False, True))
        direct = Origin.of("http://direct.test", rules)
        self.assertEqual((direct.proxy, direct.forwarded), (None, False))

    def test_host_field(self) -> None:
        """The port is named only when it is not the scheme's own; IPv6 stands in brackets."""
        for url, field in (
            ("https://h", b"h"),
            ("https://h:80", b"h:80"),
            ("http://h:80", b"h"),
            ("http://[::1]:8080", b"[::1]:8080"),
        ):
            self.assertEqual(Origin.of(url).host_field, field)


class PoolTests(SynchronousTestCase):
    """Calls over a pool that keeps two idle connections for four seconds."""

    def setUp(self) -> None:
        """Make the pool."""
        self.clock = Clock()
        self.upstreams = Upstreams(self.clock)
        self.pool = self.made()

    def made(self, size: int = 2, idle: float = 4.0) -> Pool:
        """A pool of this size."""
        return Pool(self.clock, self.upstreams, size=size, idle=idle)

    def tearDown(self) -> None:
        """Closing leaves no timer and no connection."""
        self.pool.close()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.pool.open_connections, 0)

    def send(self, origin: Origin = PLAIN, *, fresh: bool = False) -> tuple[UpstreamCall, Listener]:
        """Send a call."""
        listener = Listener()
        call = UpstreamCall(b"x", listener)
        self.pool.dispatch(origin, call, fresh=fresh, timeout=2.0)
        return call, listener

    def answered(self, origin: Origin = PLAIN) -> Wire:
        """Send a call over a new connection and have it answered."""
        self.send(origin, fresh=True)
        return self.upstreams.wire

    def test_reuse(self) -> None:
        """A connection is used again, by calls to the same origin only, unless asked not to."""
        first = self.answered()
        first.says(whole(200, b""))
        self.send(OTHER)
        self.send(fresh=True)
        self.assertEqual((len(self.upstreams.wires), first.value()), (3, b"x"))
        self.send()
        self.assertEqual((len(self.upstreams.wires), first.value()), (3, b"xx"))
        self.assertEqual(self.upstreams.origins, [PLAIN, OTHER, PLAIN])

    def test_newest_first(self) -> None:
        """Of several idle connections the one used last is taken."""
        wires = [self.answered(), self.answered()]
        for wire in wires:
            wire.says(whole(200, b""))
        self.send()
        self.assertEqual([wire.value() for wire in wires], [b"x", b"xx"])

    def test_idle_expiry(self) -> None:
        """Each idle connection is closed when its own time is over."""
        first, second = self.answered(), self.answered(OTHER)
        first.says(whole(200, b""))
        self.clock.advance(1)
        second.says(whole(200, b""))
        self.clock.advance(3)
        self.assertEqual((first.alive, second.alive), (False, True))
        self.clock.advance(1)
        self.assertFalse(second.alive)
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_used_again_in_time(self) -> None:
        """The idle time begins anew with each use."""
        wire = self.answered()
        for _ in range(3):
            wire.says(whole(200, b""))
            self.clock.advance(3)
            self.assertTrue(wire.alive)
            self.send()
        wire.says(whole(200, b""))
        self.clock.pump([3.9, 0.1])
        self.assertFalse(wire.alive)

    def test_expired_is_not_used(self) -> None:
        """A connection closed for its age carries no call, even before its loss is reported."""
        old, busy = self.answered(), self.answered()
        old.says(whole(200, b""))
        self.clock.advance(3.99)
        self.clock.callLater(0.01, busy.says, whole(200, b""))
        self.clock.callLater(0.01, self.send)
        self.clock.advance(0.01)
        self.assertEqual((old.value(), busy.value()), (b"x", b"xx"))

    def test_kept_while_another_expires(self) -> None:
        """A connection that becomes idle in the moment another expires expires too, later."""
        old, busy = self.answered(), self.answered()
        old.says(whole(200, b""))
        self.clock.callLater(4, busy.says, whole(200, b""))
        self.clock.advance(4)
        self.assertTrue(busy.alive)
        self.clock.advance(4)
        self.assertFalse(busy.alive)

    def test_spoken_out_of_turn(self) -> None:
        """An idle connection on which bytes arrived carries no further call."""
        wire = self.answered()
        wire.says(whole(200, b""), b"junk")
        self.send()
        self.assertEqual(len(self.upstreams.wires), 2)

    def test_closed_by_server(self) -> None:
        """An idle connection that its server closed is forgotten, and so is its timer."""
        wire = self.answered()
        wire.says(whole(200, b""))
        self.assertEqual(self.pool.open_connections, 1)
        wire.closes()
        self.assertEqual(self.pool.open_connections, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_of_two_closed(self) -> None:
        """The loss of one idle connection does not keep the other from expiring."""
        first, second = self.answered(), self.answered()
        first.says(whole(200, b""))
        second.says(whole(200, b""))
        first.closes()
        self.clock.advance(4)
        self.assertFalse(second.alive)

    def test_size(self) -> None:
        """No more than so many idle connections are kept, of all origins together."""
        wires = [self.answered(), self.answered(OTHER), self.answered()]
        for wire in wires:
            wire.says(whole(200, b""))
        self.assertEqual([wire.alive for wire in wires], [True, True, False])

    def test_no_idle_time(self) -> None:
        """With an idle time of nothing, nothing is kept."""
        self.pool = self.made(idle=0.0)
        wire = self.answered()
        wire.says(whole(200, b""))
        self.assertFalse(wire.alive)

    def test_no_connection(self) -> None:
        """A connection that cannot be opened breaks the call, and the call says why."""
        for error, reason in (
            (ConnectionRefusedError("192.0.2.2"), FailureReason.CONNECT_REFUSED),
            (DNSLookupError("no results for hostname lookup: llm.test"), FailureReason.DNS_ERROR),
            (TCPTimedOutError(), FailureReason.CONNECT_TIMEOUT),
            (TimeoutError(), FailureReason.CONNECT_TIMEOUT),
            (SSL.Error([("SSL routines", "", "bad")]), FailureReason.TLS_ERROR),
            (SSLError(), FailureReason.TLS_ERROR),
            (VerificationError(errors=[]), FailureReason.TLS_ERROR),
            (ProxyError("the proxy failed"), FailureReason.PROXY_ERROR),
            (NoRouteError(), FailureReason.CONNECT_ERROR),
            (ConnectError(EMFILE), FailureReason.CONNECT_ERROR),
            (ValueError("invalid hostname"), FailureReason.CONNECT_ERROR),
        ):
            self.upstreams.refusing, self.upstreams.refusal = 1, error
            call, listener = self.send()
            self.assertEqual(listener.heard, [("broken", UpstreamError(reason))], error)
            self.assertIsNone(call.transport)

    def test_connect_timeout(self) -> None:
        """A connection that is not there in time breaks the call, and is given up."""
        self.upstreams.hanging = True
        _, listener = self.send()
        self.assertEqual(self.pool.open_connections, 1)
        self.clock.advance(2)
        self.assertEqual(listener.heard, [("broken", UpstreamError(FailureReason.CONNECT_TIMEOUT))])
        self.assertEqual((self.upstreams.cancelled, self.pool.open_connections), (1, 0))

    def test_handshake_timeout(self) -> None:
        """The connect timeout covers the handshake."""
        _, listener = self.send(SECURE)
        self.assertEqual(self.upstreams.wire.value(), b"")
        self.clock.advance(2)
        self.assertEqual(listener.heard, [("broken", UpstreamError(FailureReason.CONNECT_TIMEOUT))])
        self.assertTrue(self.upstreams.wire.aborted)

    def test_proxy_timeout(self) -> None:
        """Until a tunnel is open its proxy is at fault; after that only the handshake is left."""
        for origin in (TUNNELLED, FORWARDED):
            self.upstreams.hanging = True
            _, listener = self.send(origin)
            self.clock.advance(2)
            self.assertEqual(listener.heard, PROXY_FAILED)
        self.assertEqual((self.upstreams.cancelled, self.pool.open_connections), (2, 0))
        self.upstreams.hanging = False
        _, listener = self.send(TUNNELLED)
        self.clock.advance(2)
        self.assertEqual(listener.heard, [("broken", UpstreamError(FailureReason.CONNECT_TIMEOUT))])

    def test_proxy_refuses(self) -> None:
        """A 407 is the forwarding proxy's own, whole or not; no client gets to see it."""
        field = b'Proxy-Authenticate: Basic realm="x"'
        _, listener = self.send(FORWARDED)
        self.upstreams.wire.says(whole(407, b"no", b"text/html", field))
        self.assertEqual(listener.heard, PROXY_FAILED)
        self.assertTrue(self.upstreams.wire.alive)
        call, listener = self.send(FORWARDED)
        self.upstreams.wire.says(head(407, b"text/html", field), chunk(b"no"))
        self.assertEqual(listener.heard, PROXY_FAILED)
        self.assertTrue(self.upstreams.wire.aborted)
        self.assertIsNone(call.transport)
        _, listener = self.send()
        self.upstreams.wire.says(whole(407, b""))
        self.assertEqual(listener.heard[0], ("head", 407))

    def test_forwarded(self) -> None:
        """Every other forwarded response reaches the call as on a direct connection."""
        _, listener = self.send(FORWARDED)
        self.upstreams.wire.says(head(), chunk(b"ab"), chunk(b"c"), chunk(b""))
        expected: list[Event] = [("head", 200), ("body", b"ab"), ("body", b"c"), ("end", None)]
        self.assertEqual(listener.heard, expected)
        _, listener = self.send(FORWARDED)
        self.assertEqual(len(self.upstreams.wires), 1)
        self.upstreams.wire.says(whole(502, b"x"))
        self.assertEqual(listener.heard, [("head", 502), ("body", b"x"), ("end", None)])
        _, listener = self.send(FORWARDED)
        self.upstreams.wire.closes()
        lost = UpstreamError(FailureReason.CONNECTION_LOST, stale=True)
        self.assertEqual(listener.heard, [("broken", lost)])

    def test_pooled_apart(self) -> None:
        """A connection through a proxy serves no call that goes directly, or by another proxy."""
        self.answered(FORWARDED).says(whole(200, b""))
        self.send(PLAIN)
        self.send(PLAIN._replace(proxy=PROXY._replace(port=1)))
        self.assertEqual(len(self.upstreams.wires), 3)

    def test_handshake(self) -> None:
        """Over TLS the request leaves after the handshake, and the deadline with it."""
        self.upstreams.hanging = True
        _, listener = self.send(SECURE)
        connection = self.upstreams.lets_in()
        self.assertEqual(self.upstreams.wire.value(), b"")
        connection.handshakeCompleted()
        self.assertEqual(self.upstreams.wire.value(), b"x")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.upstreams.wire.closes()
        self.assertEqual(listener.heard, [("broken", UpstreamError(FailureReason.CONNECTION_LOST))])

    def test_handshake_fails(self) -> None:
        """A connection lost during the handshake is one that TLS could not secure."""
        for loses in (Wire.resets, Wire.closes):
            _, listener = self.send(SECURE)
            loses(self.upstreams.wire)
            self.assertEqual(listener.heard, [("broken", UpstreamError(FailureReason.TLS_ERROR))])

    def test_abort_while_connecting(self) -> None:
        """A call dropped while connecting takes the attempt to connect with it."""
        self.upstreams.hanging = True
        call, listener = self.send()
        call.pause()
        call.resume()
        call.abort()
        self.assertEqual((self.upstreams.cancelled, listener.heard), (1, []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_abort_in_handshake(self) -> None:
        """A call dropped during the handshake takes the connection with it."""
        call, listener = self.send(SECURE)
        call.abort()
        self.assertTrue(self.upstreams.wire.aborted)
        self.assertEqual(listener.heard, [])

    def test_handshake_too_late(self) -> None:
        """A handshake that completes after all is over carries nothing."""
        call, _ = self.send(SECURE)
        call.abort()
        connection = self.upstreams.wire.protocol
        connection.handshakeCompleted()  # type: ignore[union-attr]
        self.assertEqual(self.upstreams.wire.value(), b"")

    def test_uncancellable(self) -> None:
        """If an endpoint connects despite its cancellation, the connection is closed."""
        caught: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = []

        def connect(factory: IProtocolFactory) -> Deferred[IProtocol]:
            caught.append((factory, Deferred(lambda it: None)))
            return caught[0][1]

        self.patch(self.upstreams, "connect", connect)
        call, listener = self.send()
        call.abort()
        self.upstreams.open(caught[0][0])
        self.assertTrue(self.upstreams.wire.aborted)
        self.assertEqual(listener.heard, [])

    def drained(self, origin: Origin = PLAIN) -> tuple[Wire, Listener]:
        """Drain a call over a new connection, after its head."""
        call, listener = self.send(origin, fresh=True)
        self.upstreams.wire.says(head())
        call.drain()
        call.drain()
        return self.upstreams.wire, listener

    def test_drain(self) -> None:
        """The rest of a drained response is discarded, and its connection kept."""
        wire, listener = self.drained()
        self.clock.advance(1.9)
        wire.says(chunk(b"abc"), chunk(b""))
        self.assertEqual(listener.heard, [("head", 200)])
        self.clock.advance(3)
        self.assertTrue(wire.alive)
        self.send()
        self.assertEqual(self.upstreams.wires, [wire])

    def test_drain_is_bounded(self) -> None:
        """Each connection that drains for two seconds is closed; others go on."""
        first, heard = self.drained()
        self.clock.advance(0.5)
        second, _ = self.drained()
        self.clock.advance(0.5)
        third, _ = self.drained(OTHER)
        second.says(chunk(b""))
        self.clock.advance(1)
        self.assertEqual((first.alive, second.alive, third.alive), (False, True, True))
        self.clock.advance(1)
        self.assertEqual((second.alive, third.alive), (True, False))
        self.clock.advance(0)
        self.assertEqual(heard.heard, [("head", 200)])

    def test_drain_is_lost(self) -> None:
        """A connection that is lost while it drains leaves no timer."""
        for lose in ("closes", "resets"):
            wire, listener = self.drained()
            getattr(wire, lose)()
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertEqual(listener.heard, [("head", 200)])

    def test_drain_when_paused(self) -> None:
        """What was paused for a client is read again."""
        call, _ = self.send()
        self.upstreams.wire.says(head())
        call.pause()
        call.drain()
        self.assertEqual(self.upstreams.wire.producerState, "producing")

    def test_drain_until_close(self) -> None:
        """A connection whose end is the response's end could not be kept: it is closed at once."""
        call, _ = self.send()
        self.upstreams.wire.says(b"HTTP/1.1 200 OK\r\n\r\n")
        call.drain()
        self.assertFalse(self.upstreams.wire.alive)

    def test_drain_while_connecting(self) -> None:
        """Before there is a response there is nothing to keep."""
        self.upstreams.hanging = True
        call, _ = self.send()
        call.drain()
        self.assertEqual(self.upstreams.cancelled, 1)

    def test_drain_when_closed(self) -> None:
        """A closed pool drains nothing."""
        wire, _ = self.drained()
        self.pool.close()
        self.assertFalse(wire.alive)
        self.clock.advance(0)
        wire, _ = self.drained()
        self.assertFalse(wire.alive)

    def test_close(self) -> None:
        """Closing ends busy, idle and opening connections; later ones close after their use."""
        self.answered().says(whole(200, b""))
        self.answered().says(head())
        self.upstreams.hanging = True
        self.send(fresh=True)
        self.pool.close()
        self.assertEqual((self.upstreams.cancelled, self.upstreams.alive), (1, []))
        self.clock.advance(0)
        self.assertEqual(self.pool.open_connections, 0)
        self.upstreams.hanging = False
        self.answered().says(whole(200, b""))
        self.assertEqual(self.upstreams.alive, [])
