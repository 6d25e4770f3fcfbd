"""One client request as it goes upstream."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.journal import Memory
from autopilot.relay.outgoing import Outgoing
from autopilot.request import body as request_body
from autopilot.request.body import ParsedBody
from autopilot.routing.snapshot import Snapshot
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.latency import LatencyStats
from autopilot.upstream.pool import Origin, Pool
from autopilot.upstream.types import UpstreamCall
from tests.unit.relay.routers import snapshot
from tests.unit.relay.upstreams import Upstreams


class OutgoingTests(SynchronousTestCase):
    """The same request for one model after another."""

    def outgoing(self, body: bytes, known: Snapshot) -> Outgoing:
        """A request with this body."""
        ask, clock = request_body.read(body), Clock()
        assert isinstance(ask, ParsedBody)
        return Outgoing(
            clock=clock,
            pool=Pool(clock, Upstreams(clock), size=1, idle=1.0, connect_timeout=1.0),
            origin=Origin("http", "llm.test", 8080, "/base"),
            target=b"/v1/x?q=1",
            fields=[(b"Authorization", b"Bearer secret")],
            body=ask.body,
            snapshot=known,
            memory=Memory(
                SessionAffinity(ttl=1.0, max_entries=1, list_retry=1.0),
                CircuitBreaker(threshold=1, period=1.0),
                LatencyStats(),
            ),
            failover_after=5.0,
        )

    def test_payload(self) -> None:
        """Head and body are one piece, and the length is that of the body as it is sent."""
        for filling in (b"x", b"x" * 100_000):
            outgoing = self.outgoing(b'{"model":"a","x":"%b"}' % filling, Snapshot())
            body = b'{"model":"org/\\"b","x":"%b"}' % filling
            payloads: list[bytes] = []

            def taken(payload: bytes, payloads: list[bytes] = payloads) -> UpstreamCall:
                payloads.append(payload)
                return UpstreamCall(payload, _Nobody())

            outgoing.send('org/"b', taken, fresh=True)
            outgoing.pool.close()
            self.assertEqual(
                payloads,
                [
                    b"POST /base/v1/x?q=1 HTTP/1.1\r\nHost: llm.test:8080\r\n"
                    b"Accept-Encoding: identity\r\nAuthorization: Bearer secret\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(body) + body
                ],
            )

    def test_larger(self) -> None:
        """Models with a longer context, where the model's own is known."""
        outgoing = self.outgoing(b'{"model":"a"}', snapshot(a=1, b=2, c=None, d=2))
        self.assertEqual(outgoing.larger("a"), {"b", "d"})
        self.assertEqual(outgoing.larger("c"), frozenset())
        self.assertEqual(outgoing.larger("z"), frozenset())
        self.assertEqual(self.outgoing(b'{"model":"a"}', Snapshot()).larger("a"), frozenset())

    def test_shown_nowhere(self) -> None:
        """Neither fields nor body are shown."""
        self.assertNotIn("secret", repr(self.outgoing(b'{"model":"secret"}', Snapshot())))


class _Nobody:
    """Waits for nothing."""

    def head(self, head: object) -> None:
        """See `Receiver`."""

    body = broken = head

    def end(self) -> None:
        """See `Receiver`."""
