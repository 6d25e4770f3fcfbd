"""The guard of a committed event stream."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay.dialect import Meaning
from autopilot.relay.sse_guard import (
    EventGuard,
    GuardLevel,
    PlainGuard,
    SpliceGuard,
    StreamGuard,
    stream_guard,
)
from tests.unit.relay.chunks import cut
from tests.unit.relay.profiled import CHUNK, HOSTILE, calls, chunk_of


def chunk(*choices: Any, id: str | None = "a1") -> bytes:
    """A chat completion chunk."""
    return f"data: {json.dumps({'id': id, 'choices': choices})}\n\n".encode()


def delta(index: int = 0, finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    """One choice."""
    return {"index": index, "delta": delta, "finish_reason": finish_reason}


DONE = b"data: [DONE]\n\n"


def compact(value: object) -> bytes:
    """An event as engines write it, without blanks."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


_COMPACT = st.one_of(
    st.builds(
        lambda id, *choices: compact({"id": id, "choices": choices}),
        st.sampled_from(["a1", "a1", "a1", "b2", ""]),
        *(
            st.builds(
                lambda index, role, content: delta(index, **role, content=content),
                st.sampled_from([0, 0, 0, 1]),
                st.sampled_from([{}, {}, {}, {"role": "assistant"}]),
                st.sampled_from(["x", "", "\n\n", '"role"', '"id":"a1"', 'data: {"id":"a1",']),
            ),
        )
        * 2,
    ),
    st.sampled_from([DONE, b": ping\n\n", b"data: {}\n\n", b'{"a":1}\n', b"data: odd\r\n\r\n"]),
)
ROLE = chunk(delta(role="assistant", content=""))
HELLO = chunk(delta(content="Hello"))
HEALTHY = b": ping\n\n" + ROLE + HELLO + chunk(delta(finish_reason="stop")) + chunk() + DONE
BARE = b'{"error":"Unhandled exception during response stream: no target\\nTraceback"}'


def _guard(
    level: GuardLevel = GuardLevel.ON, dialect: Dialect = Dialect.COMPLETIONS
) -> StreamGuard:
    return stream_guard(level, is_stream=True, dialect=dialect)


def _relayed(made: StreamGuard, *chunks: bytes) -> bytes:
    return b"".join(made.feed(data) for data in chunks) + made.end()


class PassthroughTests(SynchronousTestCase):
    """Where nothing is guarded."""

    def test_off(self) -> None:
        """Bytes alone, also those of a broken stream."""
        for made in (
            _guard(GuardLevel.OFF),
            stream_guard(GuardLevel.STRICT, is_stream=False, dialect=Dialect.COMPLETIONS),
        ):
            self.assertEqual(_relayed(made, HELLO + BARE), HELLO + BARE)
            self.assertIsNone(made.fault)
            self.assertTrue(made.at_boundary)
            self.assertTrue(made.done)


class PlainTests(SynchronousTestCase):
    """JSON documents, which pass unchanged; only their meaning is kept."""

    def test_meanings(self) -> None:
        """The meaning is that of the whole, wherever the document was cut."""
        for document, meaning in (
            (b"", Meaning.EMPTY),
            (b'{"choices":[{"finish_reason":"stop"}]}', Meaning.CONTENT),
            (b'{"error":"boom"}', Meaning.ERROR),
            (b'{"error":{"code":400}}', Meaning.OWN_ERROR),
            (b'{"detail":"boom"}', Meaning.ERROR),
            (b'{"choices":[{"finish_reason":"abort"}]}', Meaning.GAVE_UP),
        ):
            for at in range(len(document) + 1):
                guard = PlainGuard()
                passed = b"".join(guard.feed(part) for part in (document[:at], document[at:]))
                self.assertEqual((passed, guard.end(), guard.ended), (document, b"", False))
                self.assertIs(guard.meaning, meaning)

    def test_bounded(self) -> None:
        """A document over 64 KiB is taken for an answer, and no longer kept."""
        guard = PlainGuard()
        guard.feed(b'{"error":"')
        for _ in range(70):
            self.assertEqual(guard.feed(b"x" * 1000), b"x" * 1000)
        guard.feed(b'"}')
        self.assertIs(guard.meaning, Meaning.CONTENT)
        self.assertIsNone(guard._document)


class BareErrorTests(SynchronousTestCase):
    """A bare JSON error behind the last event."""

    @given(
        st.sampled_from([GuardLevel.ON, GuardLevel.STRICT]),
        st.lists(st.integers(0, len(HEALTHY)), max_size=10),
    )
    def test_healthy(self, level: GuardLevel, cuts: list[int]) -> None:
        """A healthy stream passes verbatim wherever it was cut, done and at a boundary."""
        made = _guard(level)
        self.assertEqual(_relayed(made, *cut(HEALTHY, cuts)), HEALTHY)
        self.assertIsNone(made.fault)
        self.assertTrue(made.at_boundary)
        self.assertTrue(made.done)

    @given(
        st.sampled_from([GuardLevel.ON, GuardLevel.STRICT]),
        st.sampled_from([b"", b"\n", b"\r\n\r\n", b"\ndata: more\n\n"]),
        st.lists(st.integers(0, 400), max_size=10),
    )
    def test_bare_error(self, level: GuardLevel, behind: bytes, cuts: list[int]) -> None:
        """What stood before it is relayed, of itself and what follows nothing."""
        made = _guard(level)
        self.assertEqual(_relayed(made, *cut(HELLO + BARE + behind, cuts)), HELLO)
        self.assertIsNotNone(made.fault)
        self.assertIn("Unhandled exception", made.fault or "")
        self.assertNotIn("Traceback", made.fault or "")
        self.assertTrue(made.at_boundary)
        self.assertFalse(made.done)

    @given(st.lists(st.integers(0, 200), max_size=10))
    def test_other_braces(self, cuts: list[int]) -> None:
        """Lines of JSON that report no error pass, as do broken ones."""
        stream = HELLO + b'{"fine":1}\n{\n{}\n\n' + HELLO + b'{"error":null}\n{"error"'
        made = _guard()
        self.assertEqual(_relayed(made, *cut(stream, cuts)), stream)
        self.assertIsNone(made.fault)

    def test_brace_inside_a_line(self) -> None:
        """A brace that a chunk boundary put first does not start a line."""
        made = _guard()
        self.assertEqual(made.feed(b"data: "), b"data: ")
        self.assertEqual(made.feed(b'{"error":"x"}\n\n'), b'{"error":"x"}\n\n')

    def test_first_thing(self) -> None:
        """A bare error may be all there is."""
        made = _guard()
        self.assertEqual(_relayed(made, BARE), b"")
        self.assertIsNotNone(made.fault)

    def test_error_without_text(self) -> None:
        """An error that says nothing is still one; its text may stand one level deeper."""
        for bare, fault in (
            (b'{"error":{"code":1}}', "upstream reported an error"),
            (b'{"error":{"message":"full"}}', "upstream reported an error: full"),
        ):
            made = _guard()
            _relayed(made, bare)
            self.assertEqual(made.fault, fault)

    def test_nothing_after_a_fault(self) -> None:
        """What follows an error stays here, in whatever chunks."""
        made = _guard()
        self.assertEqual(made.feed(HELLO + BARE + b"\n"), HELLO)
        for data in (b"data: x\n\n", b"\n{", b"x"):
            self.assertEqual(made.feed(data), b"")
        self.assertEqual(made.end(), b"")

    def test_long_line_is_no_error(self) -> None:
        """A line over 64 KiB passes, whether or not its end came in the same chunk."""
        line = b'{"error":"' + b"x" * 65536 + b'"}\n'
        for chunks in ([line], [line[:-1], b"\n"], cut(line, range(1, len(line), 30_000))):
            made = _guard()
            self.assertEqual(_relayed(made, HELLO, *chunks, HELLO), HELLO + line + HELLO)
            self.assertIsNone(made.fault)

    @given(st.lists(st.integers(0, 600), max_size=10))
    def test_other_shapes(self, cuts: list[int]) -> None:
        """Pretty-printed, indented, in a list, behind a byte order mark, with other line ends."""
        pretty = json.dumps({"error": {"message": "Unhandled exception"}}, indent=2).encode()
        for bare in (
            pretty,
            b" " + pretty.replace(b"\n", b"\n "),
            pretty.replace(b"\n", b"\r\n"),
            b"[" + pretty + b"]",
            b"[\n" + pretty + b"\n]",
            b"\t[" + pretty + b"]",
            b"\xef\xbb\xbf" + pretty,
            BARE.replace(b"\n", b""),
            b'{"detail":"Unhandled exception"}',
        ):
            for behind in (b"", b"\r", b"\r\n\r\n", b"\ndata: more\n\n"):
                made = _guard()
                relayed = _relayed(made, *cut(HELLO + bare + behind, cuts))
                self.assertEqual(relayed, HELLO, bare)
                self.assertIn("Unhandled exception", made.fault or "")
                self.assertTrue(made.ended and made.at_boundary)

    @given(st.lists(st.integers(0, 300), max_size=10))
    def test_other_json(self, cuts: list[int]) -> None:
        """JSON that is no error is held until it is complete, and then passes."""
        for bare in (
            b'{\n  "fine": [\n    {}\n  ]\n}\n',
            b"[1,\n2]\r\n",
            b"{\n}\n\n",
            b"  \n",
            b"{,\n",
        ):
            made = _guard()
            stream = HELLO + bare + HELLO
            self.assertEqual(_relayed(made, *cut(stream, cuts)), stream)
            self.assertIsNone(made.fault)

    def test_decodes_are_bounded(self) -> None:
        """JSON that seems complete at each of its lines is decoded only so often."""
        stream = b'{"a":[{\n' + b"},{\n}\n" * 5000
        with patch("autopilot.relay.sse_guard.is_error", return_value=False) as decoded:
            _relayed(_guard(), *cut(stream, range(0, len(stream), 100)))
        self.assertLess(decoded.call_count, 70)

    def test_held_line_is_bounded(self) -> None:
        """A line without an end is not held indefinitely."""
        made = _guard()
        endless = b"{" + b"x" * 65536
        self.assertEqual(made.feed(endless), endless)

    def test_many_bare_lines(self) -> None:
        """Thousands of bare lines in one chunk cost neither the stack nor much time."""
        stream = b"{\n" * 30_000
        self.assertEqual(_relayed(_guard(), stream), stream)

    def test_boundary(self) -> None:
        """The end of an event is known in each line ending."""
        for data, boundary in (
            (b"data: x\n\n", True),
            (b"data: x\r\n\r\n", True),
            (b"data: x\r\r", True),
            (b"data: x\n", False),
            (b"data: x", False),
        ):
            made = _guard()
            made.feed(data)
            self.assertEqual(made.at_boundary, boundary, data)


def typed(kind: str, **members: object) -> bytes:
    """An event whose type is its name."""
    return b"event: %b\ndata: %b\n\n" % (
        kind.encode(),
        json.dumps({"type": kind, **members}).encode(),
    )


STOP = chunk(delta(finish_reason="stop"))
FAILED = chunk(delta(finish_reason="network_error"))


class EndTests(SynchronousTestCase):
    """What ends an answer."""

    def assert_ended(
        self, made: StreamGuard, stream: bytes, relayed: bytes, *, done: bool, meaning: Meaning
    ) -> None:
        """Only ``relayed`` passes of a stream, and that is known of it."""
        self.assertEqual(_relayed(made, stream), relayed)
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
            self.assertEqual(_relayed(made, event), event)
            self.assertFalse(made.ended, event)

    def test_carriage_returns(self) -> None:
        """A blank line that ends with CR may go on; it is known by what follows, or by the end."""
        made = _guard()
        for last in (b"data: [DONE]\r\r", b"data: [DONE]\r\n\r"):
            made = _guard()
            self.assertEqual(made.feed(HELLO + last), HELLO + last)
            self.assertFalse(made.ended)
            self.assertTrue(made.at_boundary)
            self.assertEqual(made.end(), b"")
            self.assertTrue(made.done)
        made = _guard()
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
            self.assertEqual(_relayed(made, events + chunk()), events + chunk())
            self.assertEqual((made.whole, made.ended), (whole, False), events)

    def test_gave_up(self) -> None:
        """An event by which the engine gave up ends a stream that had finished, too."""
        for before in (HELLO, HELLO + STOP):
            for behind in (b"", DONE):
                made = _guard()
                self.assert_ended(
                    made, before + FAILED + behind, before, done=False, meaning=Meaning.CONTENT
                )
                self.assertFalse(made.whole)
                self.assertTrue(made.at_boundary)

    def test_gave_up_without_blank_line(self) -> None:
        """It is known before its blank line, which some servers send separately."""
        made = _guard()
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
            made = _guard()
            self.assertEqual(_relayed(made, stream), stream)
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
                made = _guard(dialect=dialect)
                stream = b": ping\n\n" + event
                parts = cut(stream, range(0, len(stream), step))
                self.assertEqual(_relayed(made, *parts), stream)
                self.assertEqual((made.meaning, made.done), (meaning, done), event[:50])

    def test_inside_a_long_event(self) -> None:
        """A long event is no boundary, and little of it is kept."""
        made = _guard()
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

    def test_linear(self) -> None:
        """A chunk costs as much however many have come before it, also in small pieces."""
        for piece in HOSTILE:
            made = _guard()
            for data in cut(chunk_of(piece) * 4, range(0, 4 * CHUNK, 1460)):
                made.feed(data)
            small = chunk_of(piece)[:1460]
            self.assertLess(calls(made.feed, small), 1500, piece)

    def test_memory(self) -> None:
        """Blanks that may indent JSON are not held back indefinitely."""
        made = _guard()
        assert isinstance(made, EventGuard)
        relayed = sum(len(made.feed(b" " * 1000)) for _ in range(400))
        self.assertGreater(relayed, 390_000)
        self.assertLess(len(made._event), 300_000)

    def test_unread(self) -> None:
        """Behind too many events to be read, the terminator still ends the stream."""
        for end in (DONE, b"data:[DONE]\r\n\r\n"):
            made = _guard()
            junk = b'data: {"error":1}\n\n' * 3000 + b'{"error":"x"}\n' * 3000
            self.assertEqual(_relayed(made, junk, end + HELLO), junk + end)
            self.assertTrue(made.done)

    def test_empty_events(self) -> None:
        """A stream of a great many empty events is taken for an answer."""
        made = _guard()
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
                _relayed(made, *cut(stream, range(0, len(stream), CHUNK)))
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
            _relayed(made, *chunks)
            found.append((made.fault, made.done, made.meaning, made.whole))
        self.assertEqual(*found)


class SpliceTests(SynchronousTestCase):
    """A second generation behind the first, under the strict guard."""

    def spliced(self, before: bytes, after: bytes, cut: int = 0) -> None:
        """``after`` must be recognised and nothing of it relayed, whole or cut."""
        made = _guard(GuardLevel.STRICT)
        self.assertEqual(_relayed(made, before + after, HELLO), before)
        self.assertIn("second answer", made.fault or "")
        self.assertFalse(made.done)
        made = _guard(GuardLevel.STRICT)
        self.assertEqual(made.feed(before), before)
        self.assertEqual(made.feed(after), b"")

    def whole(self, *chunks: bytes) -> None:
        """Nothing of this is a splice."""
        made = _guard(GuardLevel.STRICT)
        self.assertEqual(_relayed(made, *chunks), b"".join(chunks))
        self.assertIsNone(made.fault)

    def test_new_id(self) -> None:
        """Another id."""
        self.spliced(ROLE + HELLO, chunk(delta(content="x"), id="b2"))

    def test_role_again(self) -> None:
        """A role delta after content."""
        self.spliced(ROLE + HELLO, ROLE)
        self.spliced(ROLE + chunk(delta(reasoning="hm")), chunk(delta(role="assistant")))
        self.spliced(ROLE + chunk(delta(refusal="I cannot")), chunk(delta(role="assistant")))

    def test_event_cut_in_two(self) -> None:
        """Of an event that began in an earlier chunk the beginning is already out."""
        made = _guard(GuardLevel.STRICT)
        second = chunk(delta(content="x"), id="b2")
        self.assertEqual(made.feed(HELLO + second[:9]), HELLO + second[:9])
        self.assertEqual(made.feed(second[9:]), b"")
        self.assertIsNotNone(made.fault)
        self.assertFalse(made.at_boundary)

    def test_role_in_every_delta(self) -> None:
        """Engines that always name the role do not splice."""
        always = chunk(delta(role="assistant", content="x"))
        self.whole(ROLE, always, always, chunk(delta(role="assistant", content="")), DONE)

    def test_closing_role(self) -> None:
        """Nor does a role in the chunk that finishes."""
        self.whole(ROLE, HELLO, chunk(delta(role="assistant", content="", finish_reason="stop")))

    def test_several_choices(self) -> None:
        """Each choice has a role of its own."""
        self.whole(ROLE, HELLO, chunk(delta(1, role="assistant", content="")), HELLO)

    def test_bare_error_before(self) -> None:
        """A bare error before the splice is the reported fault."""
        made = _guard(GuardLevel.STRICT)
        self.assertEqual(_relayed(made, HELLO + BARE + b"\n" + chunk(id="b2")), HELLO)
        self.assertIn("Unhandled exception", made.fault or "")

    def test_long_events(self) -> None:
        """An event over 256 KiB is relayed unread, and the next one is read again."""
        long = chunk(delta(content="x" * 300_000), id="b2")
        made = _guard(GuardLevel.STRICT)
        stream = HELLO + long + HELLO + chunk(delta(content="x"), id="c3")
        self.assertEqual(
            _relayed(made, *cut(stream, range(0, len(stream), 4096))),
            stream[:0] or HELLO + long + HELLO,
        )
        self.assertIsNotNone(made.fault)

    def test_odd_chunks(self) -> None:
        """What is no chunk of the usual shape says nothing."""
        odd = (
            b"[]",
            b'{"choices":null,"id":"b2"}',
            b'{"id":5}',
            b"\xff",
            b"[" * 100_000,
            b'{"id":""}',
        )
        self.whole(HELLO, *(b"data: " + data + b"\n\n" for data in odd), HELLO)

    def test_no_id(self) -> None:
        """No id is no other id."""
        self.whole(HELLO, chunk(delta(content="x"), id=None), chunk(id="a1"), b"data: odd\n\n")

    @given(
        st.lists(_COMPACT, min_size=1, max_size=8).map(b"".join),
        st.lists(st.integers(1, 300), max_size=4),
    )
    def test_unread_as_if_read(self, stream: bytes, cuts: list[int]) -> None:
        """Chunks that are passed unread make no difference to what is found, however it is cut."""
        usual = compact({"id": "a1", "choices": [delta(content="x")]})
        pieces = [usual, *cut(stream, cuts), usual]
        made, reading = _guard(GuardLevel.STRICT), _guard(GuardLevel.STRICT)
        assert isinstance(reading, SpliceGuard)
        with patch.object(reading, "_continues", return_value=False):
            told = [_relayed(each, *pieces) for each in (made, reading)]
        self.assertEqual(told[0], told[1])
        self.assertEqual((made.fault, made.done), (reading.fault, reading.done))

    def test_usual_chunks_are_not_read(self) -> None:
        """Nearly all chunks of a stream go on with the same answer: they are passed unread."""
        made = _guard(GuardLevel.STRICT)
        assert isinstance(made, SpliceGuard)
        usual = compact({"id": "a1", "choices": [delta(content="x")]})
        made.feed(usual)
        with patch.object(made, "_splices", side_effect=AssertionError):
            self.assertEqual(made.feed(usual * 3), usual * 3)
            self.assertRaises(AssertionError, made.feed, usual.replace(b"a1", b"b2"))

    def test_only_completions(self) -> None:
        """Other dialects have no such ids."""
        made = _guard(GuardLevel.STRICT, Dialect.MESSAGES)
        stream = HELLO + chunk(delta(content="x"), id="b2")
        self.assertEqual(_relayed(made, stream), stream)
