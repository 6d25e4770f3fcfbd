"""A committed response: backpressure, silence, breaks, and the guard's faults."""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from autopilot.http.dialect import Dialect
from autopilot.http.response_parser import ResponseHead
from autopilot.observability.log_rate_limit import FailureLog
from autopilot.observability.records import Outcome
from autopilot.relay.downstream import CommittedHead
from autopilot.relay.event_guard import EventGuard
from autopilot.relay.splice_guard import SpliceGuard
from autopilot.relay.sse_guard import GuardLevel
from autopilot.relay.stream import Stream
from autopilot.relay.usage import count_events
from autopilot.routing.failure_reason import FailureReason
from autopilot.state.latency import Pauses
from autopilot.upstream.connection import READ_BYTES
from autopilot.upstream.types import UpstreamCall, UpstreamError
from tests.unit.relay.downstreams import EMPTY, INTERRUPTED, RecordingDownstream
from tests.unit.relay.streams import BARE, SPEECH, StreamTestCase, typed
from tests.unit.relay.upstreams import (
    DONE,
    JSON,
    ROLE,
    SSE,
    STOP,
    TOKEN,
    chunk,
    head,
    whole,
)

LAST = (
    (Dialect.COMPLETIONS, DONE, "completed"),
    (Dialect.MESSAGES, typed("message_stop"), "completed"),
    (Dialect.RESPONSES, typed("response.completed", response={"error": None}), "completed"),
    (Dialect.RESPONSES, typed("response.incomplete"), "completed"),
    (Dialect.RESPONSES, typed("response.failed"), "upstream_error"),
)
ERROR = b'data: {"error":{"message":"out of memory"}}\n\n'
OWN_ERROR = b'data: {"error":{"message":"too long","code":400}}\n\n'
GAVE_UP = STOP.replace(b'"stop"', b'"abort"')
_BREAKS = ("resets", "closes", "bad chunk", "falls silent", "shut down")


class TerminatorTests(StreamTestCase):
    """The end of an answer that is whole, whatever the upstream does then."""

    def test_ends_at_once(self) -> None:
        """A terminator ends the response in the same write; the rest is read and discarded."""
        for dialect, last, outcome in LAST:
            self.build()
            client = self.ask("a", dialect=dialect)
            self.wire.says(head(), chunk(SPEECH[dialect]), chunk(last))
            self.ended(client, "finish", outcome, SPEECH[dialect] + last)
            self.assertTrue(self.record.terminated)
            self.assertEqual(client.down.writes, [SPEECH[dialect], last])
            self.wire.says(chunk(b": late\n\n"), chunk(b""))
            self.assertTrue(self.wire.alive)
            self.ask("a", dialect=dialect)
            self.assertEqual(len(self.upstreams.wires), 1, "the connection was not kept")

    def test_drain_is_bounded(self) -> None:
        """An upstream that does not end after the terminator is cut after two seconds."""
        for late in (b"", b": late\n\n"):
            client = self.streaming(GuardLevel.ON, STOP + DONE)
            self.clock.advance(1.9)
            if late:
                self.wire.says(chunk(late))
            self.assertTrue(self.wire.alive)
            self.clock.advance(0.1)
            self.assertFalse(self.wire.alive)
            self.ended(client, "finish", "completed", TOKEN + STOP + DONE)

    def test_breaks_behind_it(self) -> None:
        """Neither a break nor the client's leaving takes anything from the answer."""
        for guard in (GuardLevel.ON, GuardLevel.STRICT):
            for breaks in (*_BREAKS, "client leaves"):
                client = self.streaming(guard, STOP + DONE)
                self.happens(breaks)
                self.ended(client, "finish", "completed", TOKEN + STOP + DONE)

    def test_bytes_behind_it(self) -> None:
        """What the same read has behind the terminator's blank line is not relayed."""
        for end in (b"\n\n", b"\r\n\r\n"):
            last = DONE.rstrip() + end
            client = self.streaming(GuardLevel.ON, STOP + last + b"\n: late\n\n")
            self.ended(client, "finish", "completed", TOKEN + STOP + last)

    def test_in_held_bytes(self) -> None:
        """An answer that arrived at once ends likewise."""
        for end in ((), (chunk(b""),)):
            self.build()
            client = self.ask("a")
            self.wire.says(b"".join([head(), chunk(TOKEN + STOP + DONE), *end]))
            self.ended(client, "finish", "completed", TOKEN + STOP + DONE)
            self.wire.says(*(() if end else (chunk(b""),)))
            self.assertTrue(self.wire.alive)

    def test_in_megabytes_held(self) -> None:
        """Of a long answer that was held whole the guard reads the end alone, and finds its end."""
        for unit, most in (
            (TOKEN, 2**17),
            (TOKEN.replace(b"\n", b"\r\n"), 2**17),
            (b": no event ends\n", 2**19),
        ):
            self.build(commit_max_bytes=8 * 2**20)
            client = self.ask("a", (b"x-autopilot-commit", b"complete"))
            answer = TOKEN + unit * (2**20 // len(unit)) + STOP
            read: list[int] = []
            feed = EventGuard.feed

            def counted(guard: EventGuard, data: bytes) -> bytes:
                read.append(len(data))  # noqa: B023
                return feed(guard, data)  # noqa: B023

            with patch.object(EventGuard, "feed", counted):
                self.wire.says(head(), chunk(answer), chunk(DONE))
            self.ended(client, "finish", "completed", answer + DONE)
            self.assertLess(sum(read), most)

    def test_in_megabytes_held_strictly(self) -> None:
        """The strict guard reads all of a long answer, but only the bytes of one read in a turn."""
        odd = TOKEN.replace(b'"id":"1"', b'"id":"2"')
        self.assertNotEqual(odd, TOKEN)
        read: list[int] = []
        feed = SpliceGuard.feed

        def counted(guard: SpliceGuard, data: bytes) -> bytes:
            read.append(len(data))
            return feed(guard, data)

        piece = TOKEN * (READ_BYTES // len(TOKEN))
        for behind, how, outcome, last in (
            (b"", "finish", "completed", STOP + DONE),
            (odd, "cut", "upstream_spliced", INTERRUPTED),
        ):
            read.clear()
            self.build(guard=GuardLevel.STRICT, commit_max_bytes=8 * 2**20)
            client = self.ask("a", (b"x-autopilot-commit", b"complete"))
            with patch.object(SpliceGuard, "feed", counted):
                self.wire.says(head(), *[chunk(piece)] * 128, chunk(behind + STOP), chunk(DONE))
            self.ended(client, how, outcome, piece * 128 + last)
            self.assertGreater(len(read), 128)
            self.assertLessEqual(max(read), READ_BYTES + len(odd))

    def test_in_megabytes_counted(self) -> None:
        """Of a long answer that was held whole the events at its end alone are counted."""
        sizes: list[int] = []

        def counted(before: bytes, data: bytes) -> int:
            sizes.append(len(data))
            return count_events(before, data)

        self.build(commit_max_bytes=8 * 2**20)
        client = self.ask("a", (b"x-autopilot-commit", b"complete"))
        answer = (TOKEN * (2**20 // len(TOKEN)) + STOP + DONE).replace(b"\n", b"\r\n")
        with patch("autopilot.relay.stream.count_events", counted):
            self.wire.says(head(), chunk(answer))
        self.ended(client, "finish", "completed", answer)
        self.assertLessEqual(max(sizes), 2**18)

    def test_all_choices_finished(self) -> None:
        """Nothing is missing behind the last finish reason, though more may follow."""
        other = STOP.replace(b'"index":0', b'"index":1')
        usage = b'data: {"id":"1","choices":[],"usage":{"total_tokens":3}}\n\n'
        for breaks in (*_BREAKS, "last chunk"):
            self.build()
            client = self.ask("a", n=2)
            self.wire.says(head(), chunk(TOKEN), chunk(STOP), chunk(other), chunk(usage))
            self.assertIsNone(client.down.ended)
            self.happens(breaks)
            self.ended(client, "finish", "completed", TOKEN + STOP + other + usage)
            self.assertFalse(self.record.terminated)

    def test_not_all_choices_finished(self) -> None:
        """One of two choices is not the answer."""
        client = self.ask("a", n=2)
        self.wire.says(head(), chunk(TOKEN), chunk(STOP), chunk(STOP), chunk(b""))
        self.ended(client, "cut", "upstream_broken", TOKEN + STOP + STOP + INTERRUPTED)

    def test_bare_error_behind_the_finish(self) -> None:
        """A bare error is dropped where the answer is whole before it."""
        client = self.streaming(GuardLevel.ON, STOP, BARE, b"")
        self.ended(client, "finish", "completed", TOKEN + STOP)

    def happens(self, what: str) -> None:
        """One of the ways in which an upstream or its connection ends."""
        match what:
            case "bad chunk":
                self.wire.says(b"zz\r\n")
            case "last chunk":
                self.wire.says(chunk(b""))
            case "falls silent":
                self.clock.advance(120)
            case "shut down":
                self.proxy.shut_down()
            case "client leaves":
                self.clients[-1].leaves()
            case lost:
                getattr(self.wire, lost)()


class FailureTests(StreamTestCase):
    """Answers that fail after commit, and what says nothing."""

    def test_no_terminator(self) -> None:
        """An end before the terminator is a break, at the boundary of events or inside one."""
        for dialect, speech in SPEECH.items():
            for inside, event in ((b"", INTERRUPTED), (b"data: {", b"")):
                self.build()
                client = self.ask("a", dialect=dialect)
                self.wire.says(head(), chunk(speech), chunk(speech + inside), chunk(b""))
                self.ended(client, "cut", "upstream_broken", speech * 2 + inside + event)

    def test_what_is_no_event(self) -> None:
        """Text, HTML and JSON in shapes that hide an error are no end of an answer."""
        for says in (b"<html>\n502\n</html>\n", b"out of memory", b'"error"\n'):
            client = self.streaming(GuardLevel.ON, says, b"")
            self.ended(client, "cut", "upstream_broken", TOKEN + says)

    def test_gave_up(self) -> None:
        """An event by which the engine gave up is not relayed, nor what follows it."""
        for dialect, event in (
            (Dialect.COMPLETIONS, GAVE_UP),
            (Dialect.MESSAGES, typed("message_delta", delta={"stop_reason": "error"})),
            (Dialect.RESPONSES, typed("response.cancelled", response={"status": "cancelled"})),
            (Dialect.RESPONSES, typed("response.completed", response={"status": "failed"})),
        ):
            for behind in (b"", SPEECH[dialect] + DONE):
                self.build()
                client = self.ask("a", dialect=dialect)
                self.wire.says(head(), chunk(SPEECH[dialect]), chunk(event + behind))
                self.ended(client, "cut", "upstream_error", SPEECH[dialect] + INTERRUPTED)
                self.assertFalse(self.wire.alive)

    def test_gave_up_in_parts(self) -> None:
        """Of an event in two chunks the beginning is out already: what follows is only a cut."""
        client = self.streaming(GuardLevel.ON, GAVE_UP[:30], GAVE_UP[30:])
        self.ended(client, "cut", "upstream_error", TOKEN + GAVE_UP[:30])

    def test_error_event(self) -> None:
        """An error event is relayed as it came, with what follows it, and nothing is added."""
        for follows, how in ((b"", "cut"), (DONE, "finish"), (TOKEN, "cut"), (STOP, "cut")):
            client = self.streaming(GuardLevel.ON, ERROR, *filter(None, [follows]), b"")
            self.ended(client, how, "upstream_error", TOKEN + ERROR + follows)

    def test_own_error(self) -> None:
        """An error that blames the request is its answer, and the last event."""
        for begins in (b"", TOKEN):
            self.build(threshold=1)
            client = self.ask("a")
            self.wire.says(head(), chunk(begins + OWN_ERROR + TOKEN))
            self.ended(client, "finish", "relayed_error", begins + OWN_ERROR)
            self.assertEqual(dict(self.tables.breaker.breakers), {})

    def test_empty(self) -> None:
        """An answer that says nothing is announced as such if it has no terminator."""
        for says, how, body in (
            ((b"",), "cut", EMPTY),
            ((ROLE, b""), "cut", ROLE + EMPTY),
            ((ROLE[:9], b""), "cut", ROLE[:9]),
            ((ROLE, DONE), "finish", ROLE + DONE),
        ):
            self.build()
            client = self.ask("a")
            self.clock.advance(1)
            self.wire.says(head(), *map(chunk, says))
            self.ended(client, how, "upstream_empty", body)
            self.assertEqual(self.tables.latency.first_content(1001.0), {})

    def test_empty_but_broken(self) -> None:
        """A connection that is lost before anything was said is a break like any other."""
        client = self.ask("a")
        self.wire.says(head(), chunk(ROLE))
        self.wire.resets()
        self.ended(client, "cut", "upstream_broken", ROLE + INTERRUPTED)

    def test_empty_document(self) -> None:
        """A plain answer of no bytes is relayed, and recorded as what it is."""
        for says in (head(204, JSON, b"Content-Length: 0"), whole(200, b"")):
            self.build()
            client = self.ask("a", stream=False)
            self.wire.says(says)
            self.assertEqual((client.down.ended, client.down.body), ("finish", b""))
            self.assertEqual(self.record.outcome, "upstream_empty")

    def test_failures_count(self) -> None:
        """Answers without content count against their model like those that break."""
        self.build(threshold=1)
        self.ask("a")
        self.wire.says(head(), chunk(ROLE + DONE))
        self.assertEqual([*self.tables.breaker.opened_for.values()], [{"a"}])

    def test_guard_off(self) -> None:
        """Without the guard every end is the upstream's own."""
        for says in ((TOKEN, b""), (GAVE_UP, DONE, b""), (DONE, TOKEN, b"")):
            client = self.streaming(GuardLevel.OFF, *says)
            self.ended(client, "finish", "completed", TOKEN + b"".join(says))

    def test_unlabelled(self) -> None:
        """A stream without its label is guarded like any other."""
        for kind in (b"text/plain", b"application/octet-stream"):
            self.build()
            client = self.ask("a")
            self.wire.says(head(200, kind), chunk(TOKEN), chunk(b""))
            self.ended(client, "cut", "upstream_broken", TOKEN + INTERRUPTED)
            self.build()
            client = self.ask("a")
            self.wire.says(head(200, kind), chunk(TOKEN), chunk(DONE))
            self.ended(client, "finish", "completed", TOKEN + DONE)

    def test_coded(self) -> None:
        """A coded stream is opaque: it ends as it ends, and is cut without a word if it breaks."""
        for lose, how, outcome in (
            ("ends", "finish", "completed"),
            ("resets", "cut", "upstream_broken"),
        ):
            self.build()
            client = self.ask("a")
            self.wire.says(head(200, SSE, b"Content-Encoding: gzip"), chunk(b"\x1f\x8b\x08"))
            if lose == "ends":
                self.wire.says(chunk(b""))
            else:
                self.wire.resets()
            self.ended(client, how, outcome, b"\x1f\x8b\x08")


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
            EventGuard(),
            idle=5.0,
            pauses=Pauses(),
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
        self.begin(TOKEN + STOP)
        self.stream.end(b"")
        self.late()
        sent = TOKEN + STOP
        self.assertEqual((self.down.body, self.down.ended), (sent, "finish"))
        self.assertEqual((self.outcomes, self.stream.sent), ([Outcome.COMPLETED], len(sent)))

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
