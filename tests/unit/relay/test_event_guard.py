"""The guard that reads the events of a committed stream."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay.event_guard import EventGuard
from autopilot.relay.meaning import Meaning
from autopilot.relay.sse_guard import GuardLevel, StreamGuard, stream_guard
from autopilot.upstream.connection import READ_BYTES
from tests.unit.relay.chunks import cut
from tests.unit.relay.guarded import (
    DONE,
    FAILED,
    HELLO,
    ROLE,
    STOP,
    chunk,
    compact,
    delta,
    guard_at,
    relayed_by,
    typed,
)
from tests.unit.relay.profiled import CHUNK, HOSTILE, calls, chunk_of


class EndTests(SynchronousTestCase):
    """What ends an answer."""

    def assert_ended(
        self, made: StreamGuard, stream: bytes, relayed: bytes, *, done: bool, meaning: Meaning
    ) -> None:
        """Only ``relayed`` passes of a stream, and that is known of it."""
        self.assertEqual(relayed_by(made, stream), relayed)
        self.assertEqual((made.ended, made.done, made.meaning), (True, done, meaning))
        self.assertEqual(made.feed(HELLO), b"")

    def test_terminators(self) -> None:
        """Each dialect's own; what follows stays here."""
        for dialect, last, meaning in (
            (Dialect.COMPLETIONS, DONE, Meaning.CONTENT),
            (Dialect.COMPLETIONS, b"data:[DONE]\n\n", Meaning.CONTENT),
            (Dialect.COMPLETIONS, b"data: [DONE]\r\n\r\n", Meaning.CONTENT),
            (Dialect.COMPLETIONS, b'data: {"error":{"code":400}}\n\n', Meaning.OWN_ERROR),
            (Dialect.MESSAGES, typed("message_stop"), Meaning.CONTENT),
            (Dialect.MESSAGES, b'data: {"type":"message_stop"}\n\n', Meaning.CONTENT),
            (Dialect.RESPONSES, typed("response.completed"), Meaning.CONTENT),
            (Dialect.RESPONSES, typed("response.incomplete"), Meaning.CONTENT),
            (Dialect.RESPONSES, typed("response.failed"), Meaning.ERROR),
        ):
            made = stream_guard(GuardLevel.ON, is_stream=True, dialect=dialect, said=True)
            self.assert_ended(made, last + HELLO, last, done=True, meaning=meaning)
            self.assertTrue(made.at_boundary)

    def test_only_events(self) -> None:
        """Neither text of an answer nor another dialect's terminator ends it."""
        for dialect, event in (
            (Dialect.COMPLETIONS, chunk(delta(content="data: [DONE]\n\n"))),
            (Dialect.COMPLETIONS, typed("message_stop")),
            (Dialect.COMPLETIONS, b"data: [DONE]\n"),
            (Dialect.MESSAGES, typed("content_block_delta", text="message_stop")),
            (Dialect.RESPONSES, typed("response.output_text.delta", delta="response.completed")),
        ):
            made = stream_guard(GuardLevel.ON, is_stream=True, dialect=dialect, said=True)
            self.assertEqual(relayed_by(made, event), event)
            self.assertFalse(made.ended, event)

    def test_carriage_returns(self) -> None:
        """A blank line that ends with CR may go on; it is known by what follows, or by the end."""
        made = guard_at()
        for last in (b"data: [DONE]\r\r", b"data: [DONE]\r\n\r"):
            made = guard_at()
            self.assertEqual(made.feed(HELLO + last), HELLO + last)
            self.assertFalse(made.ended)
            self.assertTrue(made.at_boundary)
            self.assertEqual(made.end(), b"")
            self.assertTrue(made.done)
        made = guard_at()
        made.feed(b"data: [DONE]\r\n\r")
        self.assertEqual((made.feed(b"\nx"), made.done), (b"\n", True))

    def test_finished(self) -> None:
        """An answer is whole once each choice has a finish reason, and goes on all the same."""
        other = chunk(delta(1, finish_reason="stop"))
        for choices, events, whole in (
            (1, HELLO, False),
            (1, STOP, True),
            (2, STOP + STOP, False),
            (2, STOP + other, True),
            (2, STOP + chunk(delta(1)) + other, True),
            (1, STOP + b'data: {"error":"no"}\n\n', False),
        ):
            made = stream_guard(
                GuardLevel.ON, is_stream=True, dialect=Dialect.COMPLETIONS, choices=choices
            )
            self.assertEqual(relayed_by(made, events + chunk()), events + chunk())
            self.assertEqual((made.whole, made.ended), (whole, False), events)

    def test_gave_up(self) -> None:
        """An event by which the engine gave up ends a stream that had finished, too."""
        for before in (HELLO, HELLO + STOP):
            for behind in (b"", DONE):
                made = guard_at()
                self.assert_ended(
                    made, before + FAILED + behind, before, done=False, meaning=Meaning.CONTENT
                )
                self.assertFalse(made.whole)
                self.assertTrue(made.at_boundary)

    def test_gave_up_without_blank_line(self) -> None:
        """It is known before its blank line, which some servers send separately."""
        made = guard_at()
        self.assertEqual(made.feed(HELLO + FAILED[:-1]), HELLO)
        self.assertEqual(made.fault, "the model gave the answer up")

    def test_said(self) -> None:
        """Whether part of an answer was relayed, and whether an error was."""
        error = b'event: error\ndata: {"message":"no"}\n\n'
        for stream, meaning in (
            (b"", Meaning.EMPTY),
            (b": ping\n\n" + ROLE + chunk(), Meaning.EMPTY),
            (ROLE + HELLO, Meaning.CONTENT),
            (STOP, Meaning.CONTENT),
            (error, Meaning.ERROR),
            (HELLO + error + HELLO, Meaning.ERROR),
            (DONE, Meaning.EMPTY),
        ):
            made = guard_at()
            self.assertEqual(relayed_by(made, stream), stream)
            self.assertIs(made.meaning, meaning)

    def test_long_events(self) -> None:
        """An event over 256 KiB is judged by its type, wherever it is cut."""
        pad = "x" * 300_000
        for dialect, event, meaning, done in (
            (Dialect.RESPONSES, typed("response.completed", pad=pad), Meaning.CONTENT, True),
            (Dialect.RESPONSES, typed("response.created", pad=pad), Meaning.EMPTY, False),
            (Dialect.RESPONSES, typed("image.delta", pad=pad), Meaning.CONTENT, False),
            (Dialect.COMPLETIONS, chunk(delta(content=pad)), Meaning.CONTENT, False),
            (Dialect.MESSAGES, b"data: " + pad.encode() + b"\n\n", Meaning.CONTENT, False),
        ):
            for step in (1 << 20, 65536, 4099):
                made = guard_at(dialect=dialect)
                stream = b": ping\n\n" + event
                parts = cut(stream, range(0, len(stream), step))
                self.assertEqual(relayed_by(made, *parts), stream)
                self.assertEqual((made.meaning, made.done), (meaning, done), event[:50])

    def test_inside_a_long_event(self) -> None:
        """A long event is no boundary, and little of it is kept."""
        made = guard_at()
        assert isinstance(made, EventGuard)
        for _ in range(40):
            made.feed(b"data: " + b"x" * 10_000)
        self.assertFalse(made.at_boundary)
        self.assertLess(len(made._event), 300_000)
        self.assertEqual(made.feed(b"\n\n" + HELLO), b"\n\n" + HELLO)
        self.assertTrue(made.at_boundary)

    def test_usual_chunks_are_not_read(self) -> None:
        """Nearly all chunks are events of a known form: they are passed unread."""
        for dialect, usual in (
            (Dialect.COMPLETIONS, compact({"choices": [delta(content="x")]})),
            (Dialect.COMPLETIONS, HELLO),
            (Dialect.MESSAGES, typed("content_block_delta", delta={"text": "x"})),
            (Dialect.RESPONSES, typed("response.output_text.delta", delta="x")),
        ):
            made = stream_guard(GuardLevel.ON, is_stream=True, dialect=dialect, said=True)
            with patch.object(EventGuard, "_inspect", side_effect=AssertionError):
                for count in (1, 3):
                    self.assertEqual(made.feed(usual * count), usual * count)
                for odd in (usual[:-1], usual + b"\r\n", b": ping\n\n" + usual, DONE, STOP):
                    if odd is not STOP or dialect is Dialect.COMPLETIONS:
                        self.assertRaises(AssertionError, made.feed, odd)

    def test_single_events(self) -> None:
        """Only a chunk that certainly is one event is said to be one, and only of the last feed."""
        usual = compact({"choices": [delta(content="x")]})
        made = stream_guard(GuardLevel.ON, is_stream=True, dialect=Dialect.COMPLETIONS, said=True)
        self.assertFalse(made.single)
        for data, single in (
            (usual, True),
            (usual * 2, False),
            (usual, True),
            (b": ping\n\n", False),
            (usual[:-1], False),
            (b"\n", False),
            (usual, True),
            (compact({"choices": [delta(content="an error")]}), False),
        ):
            self.assertEqual(made.feed(data), data)
            self.assertEqual(made.single, single, data)


class HostileTests(SynchronousTestCase):
    """Streams that would cost much if each of their lines were read."""

    def test_calls(self) -> None:
        """A chunk costs some thousand events' reading once, and little from then on."""
        for level, dialect, said, later in (
            (GuardLevel.ON, Dialect.COMPLETIONS, True, 20_000),
            (GuardLevel.ON, Dialect.COMPLETIONS, False, 20_000),
            (GuardLevel.ON, Dialect.MESSAGES, True, 20_000),
            (GuardLevel.ON, Dialect.RESPONSES, True, 20_000),
            (GuardLevel.STRICT, Dialect.COMPLETIONS, True, 80_000),
        ):
            for piece in HOSTILE:
                made = stream_guard(level, is_stream=True, dialect=dialect, said=said)
                chunk = chunk_of(piece)
                self.assertLess(calls(made.feed, chunk), 150_000, piece)
                made.feed(chunk)
                self.assertLess(calls(made.feed, chunk), later, piece)

    def test_calls_in_a_turn(self) -> None:
        """One read of the socket costs no more than the reading of an honest one's events."""
        for level, said, most in (
            (GuardLevel.ON, True, 48_000),
            (GuardLevel.ON, False, 48_000),
            (GuardLevel.STRICT, True, 66_000),
        ):
            for piece in HOSTILE:
                made = stream_guard(level, is_stream=True, dialect=Dialect.COMPLETIONS, said=said)
                for _ in range(5):
                    data = chunk_of(piece)[:READ_BYTES]
                    self.assertLess(calls(made.feed, data), most, piece)

    def test_honest_in_a_turn(self) -> None:
        """The events of one read of an honest stream are all read, if each may be its end."""
        event = b'data: {"choices":[{"index":%d,"finish_reason":"stop"}]}\n\n'
        count = READ_BYTES // len(event % 100)
        made = EventGuard(choices=count, said=True)
        made.feed(b": ping\n\n" + b"".join(event % index for index in range(count)))
        self.assertTrue(made.whole)

    def test_linear(self) -> None:
        """A chunk costs as much however many have come before it, also in small pieces."""
        for piece in HOSTILE:
            made = guard_at()
            for data in cut(chunk_of(piece) * 4, range(0, 4 * CHUNK, 1460)):
                made.feed(data)
            small = chunk_of(piece)[:1460]
            self.assertLess(calls(made.feed, small), 1500, piece)

    def test_memory(self) -> None:
        """Blanks that may indent JSON are not held back indefinitely."""
        made = guard_at()
        assert isinstance(made, EventGuard)
        relayed = sum(len(made.feed(b" " * 1000)) for _ in range(400))
        self.assertGreater(relayed, 390_000)
        self.assertLess(len(made._event), 300_000)

    def test_unread(self) -> None:
        """Behind too many events to be read, the terminator still ends the stream."""
        for end in (DONE, b"data:[DONE]\r\n\r\n"):
            made = guard_at()
            junk = b'data: {"error":1}\n\n' * 3000 + b'{"error":"x"}\n' * 3000
            self.assertEqual(relayed_by(made, junk, end + HELLO), junk + end)
            self.assertTrue(made.done)

    def test_empty_events(self) -> None:
        """A stream of a great many empty events is taken for an answer."""
        made = guard_at()
        made.feed(b"data: {}\n\n" * 3000)
        self.assertIs(made.meaning, Meaning.CONTENT)

    def test_honest(self) -> None:
        """Answers are read to their end, whatever their length and their line ends."""
        for end in (b"\n", b"\r\n", b"\r"):
            for text in ("hello", "an error, or [DONE]"):
                made = stream_guard(
                    GuardLevel.ON, is_stream=True, dialect=Dialect.COMPLETIONS, choices=2
                )
                answer = ROLE + chunk(delta(content=text)) * 5000 + STOP
                stream = (answer + chunk(delta(1, finish_reason="stop"))).replace(b"\n", end)
                relayed_by(made, *cut(stream, range(0, len(stream), CHUNK)))
                self.assertTrue(made.whole)

    @given(
        st.lists(
            st.sampled_from(
                [
                    b"data: {}",
                    b'data: {"choices":[{"delta":{"content":"x"}}]}',
                    b'data: {"choices":[{"finish_reason":"stop"}]}',
                    b'data: {"choices":[{"finish_reason":"abort"}]}',
                    b'data: {"error":null,"choices":[]}',
                    b'data: {"error" : "x"}',
                    b'data: {"object":"error"}',
                    b"data: [DONE]",
                    b"event: error",
                    b'{"detail":"x"}',
                    b"{",
                    b"}",
                    b": ping",
                    b"",
                    b"",
                    b"",
                ]
            ),
            max_size=12,
        ),
        st.lists(st.sampled_from([b"\n", b"\r\n", b"\r"]), min_size=12, max_size=12),
        st.lists(st.integers(1, 300), max_size=8),
        st.booleans(),
    )
    def test_any_split(
        self, lines: list[bytes], ends: list[bytes], cuts: list[int], said: bool
    ) -> None:
        """What a stream means does not depend on how it was cut."""
        stream = b"".join(line + end for line, end in zip(lines, ends, strict=False))
        found = []
        for chunks in ([stream], cut(stream, cuts)):
            made = stream_guard(
                GuardLevel.ON, is_stream=True, dialect=Dialect.COMPLETIONS, said=said
            )
            relayed_by(made, *chunks)
            found.append((made.fault, made.done, made.meaning, made.whole))
        self.assertEqual(*found)
