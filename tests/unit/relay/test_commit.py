"""The commit dial."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay.body_kind import BodyKind
from autopilot.relay.commit import (
    MAX_HELD_BYTES,
    MAX_HELD_PLAIN,
    CommitDecision,
    CommitPolicy,
    commit_policy,
    decide_plain,
)
from autopilot.relay.plain_answer import judge_document
from autopilot.routing.commit import Commit
from autopilot.upstream.connection import READ_BYTES
from tests.unit.relay.chunks import cut
from tests.unit.relay.profiled import HOSTILE, calls, chunk_of

COMPLETIONS, MESSAGES, RESPONSES = Dialect


def event(value: Any, name: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


def chunk(**delta: Any) -> bytes:
    """A chat completion chunk with this delta."""
    return event({"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


ROLE = chunk(role="assistant", content="", reasoning_content=None, tool_calls=None)
CONTENT = chunk(content="Hi")
FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
USAGE = event({"choices": [], "usage": {"total_tokens": 3}})
DONE = b"data: [DONE]\n\n"
ERROR = event({"error": {"message": "no"}})
OWN_ERROR = event({"error": {"message": "too long", "code": 400}})
GAVE_UP = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "abort"}]})
BARE = b'{"error":"Unhandled exception"}'


def _dial(
    commit: Commit = Commit.CONTENT,
    *,
    dialect: Dialect = COMPLETIONS,
    kind: BodyKind = BodyKind.STREAM,
    last: bool = False,
    max_bytes: int = 1000,
    choices: int = 1,
) -> CommitPolicy:
    return commit_policy(commit, dialect, max_bytes, choices, kind, last)


def _fed(made: CommitPolicy, *chunks: bytes) -> CommitDecision:
    """The first verdict that is not HOLD, with the end of the response behind the chunks."""
    for data in chunks:
        verdict = made.feed(data)
        if verdict is not CommitDecision.HOLD:
            return verdict
    return made.end()


class ByteTests(SynchronousTestCase):
    """Commit at the first byte."""

    def test_first_byte_or_end(self) -> None:
        """Whatever it is, and also a clean end without one."""
        for made in (
            _dial(Commit.BYTE),
            _dial(kind=BodyKind.OPAQUE),
            _dial(kind=BodyKind.JSON, last=True),
            _dial(last=True),
            _dial(Commit.BYTE, last=True),
        ):
            self.assertIs(made.feed(b"x"), CommitDecision.COMMIT)
        self.assertIs(_dial(Commit.BYTE).end(), CommitDecision.COMMIT)


class ContentTests(SynchronousTestCase):
    """Commit at the first part of the answer."""

    def test_answers(self) -> None:
        """Content, reasoning in either name, a tool call, a finish reason, a completion's text."""
        for answer in (
            CONTENT,
            chunk(reasoning_content="hm"),
            chunk(reasoning="hm"),
            chunk(tool_calls=[{"index": 0}]),
            FINISH,
            event({"choices": [{"index": 0, "text": "Hi"}]}),
        ):
            made = _dial()
            self.assertIs(made.feed(b": ping\n\n" + ROLE + USAGE), CommitDecision.HOLD)
            self.assertFalse(made.answered)
            self.assertIs(made.feed(answer), CommitDecision.COMMIT)
            self.assertTrue(made.answered)

    def test_failures(self) -> None:
        """An error event, a bare error, or an end before anything was said."""
        for failure, verdict in (
            (ERROR, CommitDecision.ERROR),
            (event({"x": 1}, "error"), CommitDecision.ERROR),
            (BARE, CommitDecision.ERROR),
            (OWN_ERROR, CommitDecision.COMMIT),
            (BARE + b"\n", CommitDecision.ERROR),
            (GAVE_UP, CommitDecision.GAVE_UP),
            (DONE, CommitDecision.EMPTY),
            (b"", CommitDecision.UNTERMINATED),
            (b"data: half an event", CommitDecision.UNTERMINATED),
            (b'{"not":"an error"}', CommitDecision.UNTERMINATED),
        ):
            made = _dial()
            self.assertIs(_fed(made, ROLE, failure), verdict, failure)
            self.assertFalse(made.answered)

    def test_odd_events_are_held(self) -> None:
        """What cannot be read says nothing, and is held like an empty event."""
        for odd in (b"data: not json\n\n", b"data: [1]\n\n", event({"choices": 5}), b"data:\n\n"):
            self.assertIs(_dial().feed(odd), CommitDecision.HOLD, odd)
        self.assertIs(_dial().feed(event({"choices": [None, {"delta": 1}]})), CommitDecision.HOLD)

    def test_event_limit(self) -> None:
        """The 64th event without an answer is enough."""
        made = _dial()
        self.assertIs(made.feed(ROLE * 63), CommitDecision.HOLD)
        self.assertIs(made.feed(ROLE), CommitDecision.COMMIT)
        self.assertFalse(made.answered)

    def test_byte_limit(self) -> None:
        """More than 256 KiB is enough, too."""
        made = _dial()
        self.assertIs(made.feed(b":" + b"x" * (MAX_HELD_BYTES - 1)), CommitDecision.HOLD)
        self.assertIs(made.feed(b"x"), CommitDecision.COMMIT)

    def test_messages(self) -> None:
        """Anthropic's start-up events announce an answer and are none."""
        made = _dial(dialect=MESSAGES)
        for kind in ("message_start", "ping", "content_block_start"):
            self.assertIs(made.feed(event({"type": kind}, kind)), CommitDecision.HOLD, kind)
        self.assertIs(made.feed(event({"type": "content_block_delta"})), CommitDecision.COMMIT)
        self.assertIs(
            _dial(dialect=MESSAGES).feed(event({"type": "error", "error": {}}, "error")),
            CommitDecision.ERROR,
        )
        self.assertIs(
            _dial(dialect=MESSAGES).feed(event({"type": "message_stop"})), CommitDecision.EMPTY
        )

    def test_responses(self) -> None:
        """So do those of the responses endpoint."""
        made = _dial(dialect=RESPONSES)
        for kind in ("created", "in_progress", "output_item.added", "content_part.added"):
            self.assertIs(made.feed(event({"type": f"response.{kind}"})), CommitDecision.HOLD, kind)
        self.assertIs(made.feed(event({"no": "type"})), CommitDecision.HOLD)
        self.assertIs(
            made.feed(event({"type": "response.output_text.delta"})), CommitDecision.COMMIT
        )
        self.assertIs(
            _dial(dialect=RESPONSES).feed(event({"type": "response.failed"})), CommitDecision.ERROR
        )


class CompleteTests(SynchronousTestCase):
    """Commit at the clean end."""

    def test_stream(self) -> None:
        """A stream is complete at its terminator, or at its end behind a finish reason."""
        for tail in (FINISH + DONE, FINISH, DONE, OWN_ERROR):
            made = _dial(Commit.COMPLETE, last=True)
            self.assertIs(made.feed(ROLE), CommitDecision.HOLD)
            self.assertFalse(made.answered)
            self.assertIs(made.feed(CONTENT), CommitDecision.HOLD)
            self.assertTrue(made.answered)
            self.assertIs(_fed(made, tail), CommitDecision.COMMIT)

    def test_cut_stream(self) -> None:
        """A clean end without that is a cut."""
        self.assertIs(_fed(_dial(Commit.COMPLETE), CONTENT), CommitDecision.UNTERMINATED)

    def test_terminator(self) -> None:
        """It is not waited for longer than its terminator; one that follows nothing is no end."""
        self.assertIs(_dial(Commit.COMPLETE).feed(CONTENT + DONE), CommitDecision.COMMIT)
        self.assertIs(_dial(Commit.COMPLETE).feed(ROLE + DONE), CommitDecision.EMPTY)

    def test_all_choices(self) -> None:
        """Without a terminator every choice that was asked for needs a finish reason."""
        second = event({"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]})
        for tail, whole in ((FINISH, False), (FINISH * 2, False), (FINISH + second, True)):
            made = _dial(Commit.COMPLETE, choices=2)
            made.feed(CONTENT + tail)
            self.assertEqual(made.whole, whole)
            ended = CommitDecision.COMMIT if whole else CommitDecision.UNTERMINATED
            self.assertIs(made.end(), ended)

    def test_half_an_event(self) -> None:
        """A break is no end of an answer if half an event would have to be relayed behind it."""
        for half in (b"data: {", b'{"error":"boom"}', b": ping\n"):
            made = _dial(Commit.COMPLETE)
            made.feed(CONTENT + FINISH)
            self.assertTrue(made.whole)
            made.feed(half)
            self.assertFalse(made.whole, half)

    def test_invalid(self) -> None:
        """An event that is neither JSON nor a terminator may have held anything."""
        for data in (b"data: {\n\n", b"data: text\n\n", b"data:\n\n"):
            made = _dial(Commit.COMPLETE)
            self.assertIs(made.feed(CONTENT + data), CommitDecision.INVALID, data)
        self.assertIs(_dial(Commit.COMPLETE).feed(b"data: null\n\n"), CommitDecision.HOLD)

    def test_errors(self) -> None:
        """An error anywhere in the stream; and the engine may give up."""
        self.assertIs(_fed(_dial(Commit.COMPLETE), CONTENT, GAVE_UP + DONE), CommitDecision.GAVE_UP)
        for error in (ERROR, BARE, BARE + b"\n"):
            self.assertIs(_fed(_dial(Commit.COMPLETE), CONTENT, error), CommitDecision.ERROR, error)

    def test_limit(self) -> None:
        """What grows past the limit is relayed after all."""
        made = _dial(Commit.COMPLETE, max_bytes=len(CONTENT))
        self.assertIs(made.feed(CONTENT), CommitDecision.HOLD)
        self.assertIs(made.feed(b":"), CommitDecision.COMMIT)

    def test_plain(self) -> None:
        """A plain response is complete at its end or past the limit, and answers at once."""
        made = _dial(Commit.COMPLETE, kind=BodyKind.OPAQUE, max_bytes=3)
        self.assertFalse(made.answered)
        self.assertIs(made.feed(b"abc"), CommitDecision.HOLD)
        self.assertTrue(made.answered)
        self.assertIs(made.end(), CommitDecision.COMMIT)
        self.assertIs(made.feed(b"d"), CommitDecision.COMMIT)

    def test_json(self) -> None:
        """A plain answer is held until it is whole, and may be none."""
        for body, decision in (
            (b'{"choices":[{"finish_reason":"stop"}]}', CommitDecision.COMMIT),
            (b'{"error":{"code":400}}', CommitDecision.COMMIT),
            (b'{"error":{"code":500}}', CommitDecision.ERROR),
            (b'{"choices":[{"finish_reason":"abort"}]}', CommitDecision.GAVE_UP),
            (b"", CommitDecision.EMPTY),
        ):
            for commit in (Commit.CONTENT, Commit.COMPLETE):
                made = _dial(commit, kind=BodyKind.JSON, max_bytes=1000)
                for part in cut(body, range(1, len(body), 5)) if body else ():
                    self.assertIs(made.feed(part), CommitDecision.HOLD)
                self.assertIs(made.end(), decision, body)
                self.assertIs(made.meant, judge_document(body), body)
            self.assertIs(decide_plain(judge_document(body)), decision, body)

    def test_json_limit(self) -> None:
        """More than 1 MiB of it is relayed as it comes."""
        made = _dial(kind=BodyKind.JSON)
        self.assertIs(made.feed(b" " * MAX_HELD_PLAIN), CommitDecision.HOLD)
        self.assertIs(made.feed(b" "), CommitDecision.COMMIT)

    def test_nothing(self) -> None:
        """An empty body does not answer, whatever its type, while a candidate is left."""
        self.assertIs(_dial(kind=BodyKind.OPAQUE).end(), CommitDecision.EMPTY)
        self.assertIs(_dial(kind=BodyKind.OPAQUE, last=True).end(), CommitDecision.COMMIT)
        empty = _dial(Commit.COMPLETE, kind=BodyKind.OPAQUE, last=True)
        self.assertIs(empty.end(), CommitDecision.EMPTY)


_pieces = st.lists(
    st.sampled_from(
        [ROLE, USAGE, b": ping\n\n", CONTENT, FINISH, DONE, ERROR, OWN_ERROR, GAVE_UP, BARE]
    ),
    max_size=6,
)


class SplitTests(SynchronousTestCase):
    """Wherever the chunks were cut."""

    @given(
        st.sampled_from([Commit.CONTENT, Commit.COMPLETE]),
        _pieces,
        st.lists(st.integers(0, 900), max_size=10),
    )
    def test_same_verdict(self, commit: Commit, pieces: list[bytes], cuts: list[int]) -> None:
        """The verdict on a response does not depend on how its bytes arrived."""
        stream = b"".join(pieces)
        whole = _fed(_dial(commit), *([stream] if stream else []))
        self.assertIs(_fed(_dial(commit), *cut(stream, cuts)), whole)


class HostileTests(SynchronousTestCase):
    """Streams of which each line would cost much."""

    def test_calls(self) -> None:
        """A chunk costs no more than the reading of its events, however many lines it has."""
        for commit, most in ((Commit.CONTENT, 150_000), (Commit.COMPLETE, 350_000)):
            for piece in HOSTILE:
                made = _dial(commit, max_bytes=1 << 23)
                for _ in range(3):
                    self.assertLess(calls(made.feed, chunk_of(piece)), most, piece)

    def test_many_lines(self) -> None:
        """Lines that mean nothing cost nothing, and bare JSON is read only so far."""
        for piece in (b"\n", b":\n", b":\n\n", b"x\r", b" \r\n", b"{\n", b"data: x\n"):
            made = _dial(Commit.COMPLETE, max_bytes=1 << 23)
            made.feed(chunk_of(piece))
            self.assertLess(calls(made.feed, chunk_of(piece)), 200, piece)

    def test_calls_in_a_turn(self) -> None:
        """One read of the socket costs no more than the reading of so many lines and events."""
        for piece in HOSTILE:
            made = _dial(Commit.COMPLETE, max_bytes=1 << 23)
            for _ in range(3):
                data = chunk_of(piece)[:READ_BYTES]
                self.assertLess(calls(made.feed, data), 150_000, piece)

    def test_open_lines(self) -> None:
        """Lines of JSON that cannot complete it are taken many at a time."""
        for piece in (b"{\n", b"{\r\n", b"[\r", b"  {\n", b"[1,\n"):
            made = _dial(Commit.COMPLETE, max_bytes=1 << 23)
            self.assertLess(calls(made.feed, chunk_of(piece)), 12_000, piece)
