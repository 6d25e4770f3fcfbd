"""A committed response: backpressure, silence, breaks, and the guard's faults."""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from autopilot.http.response_parser import ResponseHead
from autopilot.observability.log_rate_limit import FailureLog
from autopilot.observability.records import Outcome
from autopilot.relay.downstream import CommittedHead
from autopilot.relay.sse_guard import BareErrorGuard, GuardLevel
from autopilot.relay.stream import Stream
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.types import UpstreamCall, UpstreamError
from tests.unit.relay.downstreams import INTERRUPTED, RecordingDownstream
from tests.unit.relay.routers import Client, RouterTestCase
from tests.unit.relay.upstreams import DONE, SSE, STOP, TOKEN, chunk, head, whole

BARE = b'{"error":{"message":"worker died"}}'


class StreamTestCase(RouterTestCase):
    """A direct request, so that the first byte commits."""

    def streaming(self, guard: GuardLevel = GuardLevel.ON, *says: bytes) -> Client:
        """A client whose stream has begun with one token, and went on with ``says``."""
        self.build(guard=guard)
        client = self.ask("a")
        self.wire.says(head(), chunk(TOKEN), *map(chunk, says))
        return client

    def ended(self, client: Client, how: str | None, outcome: str, body: bytes) -> None:
        """The response ended so, with these bytes, and the upstream is let go."""
        self.assertEqual((client.down.ended, client.down.body), (how, body))
        self.assertEqual((self.record.outcome, self.record.status), (outcome, 200))
        self.assertEqual((self.proxy.active, self.record.attempts), (0, 1))


class AfterDoneTests(StreamTestCase):
    """A break behind the stream's own terminator."""

    def test_nothing_is_missing(self) -> None:
        """The answer is whole, whatever becomes of the upstream then."""
        for guard in (GuardLevel.ON, GuardLevel.STRICT):
            for breaks in ("resets", "closes", "falls silent", "client leaves"):
                client = self.streaming(guard, STOP + DONE)
                if breaks == "falls silent":
                    self.clock.advance(120)
                elif breaks == "client leaves":
                    client.leaves()
                else:
                    getattr(self.wire, breaks)()
                how = None if breaks == "client leaves" else "finish"
                self.assertEqual(client.down.ended, how)
                self.ended(client, client.down.ended, "completed", TOKEN + STOP + DONE)

    def test_shut_down(self) -> None:
        """So is one that the router ends."""
        client = self.streaming(GuardLevel.ON, STOP + DONE)
        self.proxy.shut_down()
        self.ended(client, "finish", "completed", TOKEN + STOP + DONE)


class FlowTests(StreamTestCase):
    """Chunks on their way."""

    def test_chunks(self) -> None:
        """Each read is written at once, by itself, unchanged."""
        client = self.streaming()
        self.wire.says(chunk(TOKEN) + chunk(TOKEN), chunk(STOP + DONE))
        self.assertEqual(client.down.writes, [TOKEN, TOKEN + TOKEN, STOP + DONE])
        self.wire.says(chunk(b""))
        self.ended(client, "finish", "completed", TOKEN * 3 + STOP + DONE)
        self.assertTrue(self.wire.alive)

    def test_backpressure(self) -> None:
        """A client that takes no more pauses the upstream, and resumes it."""
        client = self.streaming()
        producer = client.down.producer
        assert producer is not None
        verifyObject(IPushProducer, producer)
        producer.pauseProducing()
        self.wire.says(chunk(TOKEN))
        self.assertEqual((self.wire.producerState, client.down.body), ("paused", TOKEN))
        producer.resumeProducing()
        self.clock.advance(0)
        self.assertEqual((self.wire.producerState, client.down.body), ("producing", TOKEN * 2))
        producer.stopProducing()
        self.clock.advance(120)
        self.ended(client, "cut", "upstream_idle", TOKEN * 2 + INTERRUPTED)

    def test_client_stalls(self) -> None:
        """A client that takes nothing for the idle time is dropped, and the upstream with it."""
        client = self.streaming()
        self.clock.advance(100)
        assert client.down.producer is not None
        client.down.producer.pauseProducing()
        self.clock.advance(119)
        self.assertIsNone(client.down.ended)
        self.clock.advance(1)
        self.ended(client, "abort", "client_stalled", TOKEN)
        self.assertFalse(self.wire.alive)
        client.down.producer.pauseProducing()
        client.down.producer.resumeProducing()

    def test_stalled_client_cannot_be_kept(self) -> None:
        """Bytes that were already read do not prolong the patience with a stalled client."""
        client = self.streaming()
        assert client.down.producer is not None and self.wire.protocol is not None
        client.down.producer.pauseProducing()
        self.clock.advance(100)
        self.wire.protocol.dataReceived(chunk(TOKEN))
        self.clock.advance(20)
        self.ended(client, "abort", "client_stalled", TOKEN * 2)

    def test_client_that_reads_slowly(self) -> None:
        """As long as the kernel's unsent bytes fall, the client is kept."""
        client = self.streaming()
        assert client.down.producer is not None
        for left in (2_500_000, 1_250_000, 7, 6):
            client.down.left = left
            if left == 2_500_000:
                client.down.producer.pauseProducing()
            self.clock.advance(119.9)
            self.assertIsNone(client.down.ended)
        self.clock.advance(119.9)
        self.assertIsNone(client.down.ended)
        self.clock.advance(0.5)
        self.ended(client, "abort", "client_stalled", TOKEN)

    def test_bytes_written_meanwhile(self) -> None:
        """Bytes that were read before the pause hide no progress, and are none themselves."""
        for read, how in ((0, "abort"), (1, None)):
            client = self.streaming()
            assert client.down.producer is not None and self.wire.protocol is not None
            client.down.left = 1000
            client.down.producer.pauseProducing()
            self.wire.protocol.dataReceived(chunk(TOKEN))
            client.down.left = 1000 + len(TOKEN) - read
            self.clock.advance(120)
            self.assertEqual(client.down.ended, how)
            if how is None:
                client.leaves()

    def test_unsent_bytes_that_become_unknown(self) -> None:
        """Without a second look there is nothing to compare."""
        for first, second in ((None, 5), (5, None), (5, 5), (5, 6)):
            client = self.streaming()
            assert client.down.producer is not None
            client.down.left = first
            client.down.producer.pauseProducing()
            client.down.left = second
            self.clock.advance(120)
            self.ended(client, "abort", "client_stalled", TOKEN)

    def test_upstream_idle(self) -> None:
        """An upstream silent for the idle time ends the stream with an error event and a cut."""
        client = self.streaming()
        self.clock.advance(100)
        self.wire.says(chunk(TOKEN))
        self.clock.advance(119)
        self.assertIsNone(client.down.ended)
        self.clock.advance(1)
        self.ended(client, "cut", "upstream_idle", TOKEN * 2 + INTERRUPTED)
        self.assertFalse(self.wire.alive)

    def test_client_gone(self) -> None:
        """A client that leaves aborts the upstream at once; nothing is written to it any more."""
        client = self.streaming()
        client.leaves()
        self.assertFalse(self.wire.alive)
        self.ended(client, None, "client_gone", TOKEN)


class BreakTests(StreamTestCase):
    """Streams that end badly: the client must be able to tell."""

    def test_between_events(self) -> None:
        """A break at the boundary of events adds an error event, then cuts."""
        for lose in ("resets", "closes"):
            client = self.streaming()
            getattr(self.wire, lose)()
            self.ended(client, "cut", "upstream_broken", TOKEN + INTERRUPTED)

    def test_inside_an_event(self) -> None:
        """A break inside an event is a cut, and nothing is said in the middle of it."""
        client = self.streaming(GuardLevel.ON, TOKEN[:9])
        self.wire.resets()
        self.ended(client, "cut", "upstream_broken", TOKEN + TOKEN[:9])

    def test_bad_chunk(self) -> None:
        """Broken framing is a break."""
        client = self.streaming()
        self.wire.says(b"zz\r\n")
        self.ended(client, "cut", "upstream_broken", TOKEN + INTERRUPTED)

    def test_guard_off(self) -> None:
        """Without the guard the stream is cut, and nothing is added."""
        client = self.streaming(GuardLevel.OFF)
        assert client.down.head is not None
        self.assertFalse(client.down.head.rechunk)
        self.wire.resets()
        self.ended(client, "cut", "upstream_broken", TOKEN)

    def test_guard_off_passes_everything(self) -> None:
        """Without the guard a bare error passes as it is."""
        client = self.streaming(GuardLevel.OFF, BARE, b"")
        self.ended(client, "finish", "completed", TOKEN + BARE)

    def test_not_sse(self) -> None:
        """Any other response is cut without a word."""
        client = self.ask("a", stream=False)
        self.wire.says(whole(200, b'{"a":1}')[:-2])
        self.wire.resets()
        self.ended(client, "cut", "upstream_broken", b'{"a":')

    def test_bare_tail(self) -> None:
        """A bare JSON error at the end becomes a proper error event."""
        client = self.streaming(GuardLevel.ON, BARE, b"")
        self.ended(client, "cut", "upstream_error", TOKEN + INTERRUPTED)

    def test_bare_line(self) -> None:
        """A bare JSON error line ends the stream though the upstream goes on."""
        client = self.streaming(GuardLevel.ON, BARE + b"\n", TOKEN)
        self.ended(client, "cut", "upstream_error", TOKEN + INTERRUPTED)
        self.assertFalse(self.wire.alive)

    def test_bare_harmless(self) -> None:
        """A bare JSON line that is no error is relayed in the end."""
        client = self.streaming(GuardLevel.ON, b'{"a":1}', b"")
        self.ended(client, "finish", "completed", TOKEN + b'{"a":1}')

    def test_splice(self) -> None:
        """Under the strict guard a second generation ends the stream."""
        other = TOKEN.replace(b'"1"', b'"2"')
        client = self.streaming(GuardLevel.STRICT, other)
        self.ended(client, "cut", "upstream_spliced", TOKEN + INTERRUPTED)

    def test_fault_in_held_bytes(self) -> None:
        """A fault already among the held bytes ends the stream once, though its end is known."""
        client = self.ask("a")
        self.wire.says(head() + chunk(TOKEN + BARE + b"\n") + chunk(b""))
        self.ended(client, "cut", "upstream_error", TOKEN + INTERRUPTED)

    def test_until_close(self) -> None:
        """A stream without framing ends well with a close in good order, badly with a reset."""
        for lose, how in (("closes", "finish"), ("resets", "cut")):
            self.build()
            client = self.ask("a")
            self.wire.says(b"HTTP/1.1 200 OK\r\nContent-Type: " + SSE + b"\r\n\r\n" + TOKEN)
            getattr(self.wire, lose)()
            self.assertEqual(client.down.ended, how)


class OnceTests(SynchronousTestCase):
    """A stream by itself: it ends exactly once, whatever comes later."""

    def setUp(self) -> None:
        """Begin a stream whose upstream has already sent everything."""
        self.clock = Clock()
        self.down = RecordingDownstream(self.clock)
        self.outcomes: list[Outcome] = []
        self.proofs: list[float] = []
        self.stream = Stream(
            self.clock.seconds,
            FailureLog(Logger(), self.clock.seconds),
            self.down,
            self.down.timer(lambda: self.stream.expired()),
            BareErrorGuard(),
            idle=5.0,
            is_sse=True,
            proof=2.0,
            proven=lambda: self.proofs.append(self.clock.seconds()),
            over=self.outcomes.append,
        )

    def begin(self, held: bytes) -> None:
        """Begin with these bytes."""
        call = UpstreamCall(b"", self.stream)
        self.stream.begin(call, CommittedHead(200, b"", ()), held, self.clock.seconds())

    def late(self) -> None:
        """Everything that can still come."""
        self.stream.head(ResponseHead(200, b"", (), "", None), b"")
        self.stream.body(TOKEN)
        self.stream.end(b"")
        self.stream.broken(UpstreamError(FailureReason.CONNECTION_LOST))
        self.stream.pauseProducing()
        self.stream.resumeProducing()
        self.stream.client_gone()
        self.stream.shut_down()
        self.clock.advance(10)

    def test_after_the_end(self) -> None:
        """Nothing follows the end."""
        self.begin(TOKEN + TOKEN)
        self.stream.end(b"")
        self.late()
        self.assertEqual((self.down.body, self.down.ended), (TOKEN * 2, "finish"))
        self.assertEqual((self.outcomes, self.stream.sent), ([Outcome.COMPLETED], len(TOKEN) * 2))

    def test_after_a_fault(self) -> None:
        """Held bytes behind a fault are dropped with all that follows."""
        self.begin(BARE + b"\n" + TOKEN)
        self.late()
        self.assertEqual((self.down.body, self.down.ended), (INTERRUPTED, "cut"))
        self.assertEqual(self.outcomes, [Outcome.UPSTREAM_ERROR])

    def test_proven(self) -> None:
        """It is proven by the first bytes after the time set, and only once."""
        self.begin(TOKEN)
        for seconds in (0.0, 1.5, 0.5, 1.0, 3.0):
            self.clock.advance(seconds)
            self.stream.body(TOKEN)
        self.assertEqual(self.proofs, [2.0])
        self.stream.end(b"")
        self.clock.advance(0)

    def test_began(self) -> None:
        """Its time counts from its beginning."""
        self.clock.advance(5)
        self.begin(TOKEN)
        self.assertEqual(self.stream.began, 5.0)
        self.stream.end(b"")
        self.stream.client_gone()
        self.assertEqual(self.clock.getDelayedCalls(), [])
