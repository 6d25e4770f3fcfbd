"""The commit dial."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay.commit import (
    MAX_HELD_BYTES,
    CommitDecision,
    CommitPolicy,
    commit_policy,
)
from autopilot.routing.commit import Commit
from tests.unit.relay.chunks import cut

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
BARE = b'{"error":"Unhandled exception"}'


def _dial(
    commit: Commit = Commit.CONTENT,
    *,
    dialect: Dialect = COMPLETIONS,
    is_stream: bool = True,
    last: bool = False,
    max_bytes: int = 1000,
) -> CommitPolicy:
    return commit_policy(
        commit, is_stream=is_stream, dialect=dialect, last=last, max_bytes=max_bytes
    )


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
            _dial(is_stream=False),
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
            (BARE + b"\n", CommitDecision.ERROR),
            (DONE, CommitDecision.EMPTY),
            (b"", CommitDecision.EMPTY),
            (b"data: half an event", CommitDecision.EMPTY),
            (b'{"not":"an error"}', CommitDecision.EMPTY),
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
            _dial(dialect=MESSAGES).feed(event({"type": "message_stop"})), CommitDecision.COMMIT
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
        """A stream is complete when it said so, by a finish reason or its terminator."""
        for tail in (FINISH + DONE, FINISH, DONE):
            made = _dial(Commit.COMPLETE, last=True)
            self.assertIs(made.feed(ROLE), CommitDecision.HOLD)
            self.assertFalse(made.answered)
            self.assertIs(made.feed(CONTENT), CommitDecision.HOLD)
            self.assertTrue(made.answered)
            self.assertIs(_fed(made, tail), CommitDecision.COMMIT)

    def test_cut_stream(self) -> None:
        """A clean end without that is a cut."""
        self.assertIs(_fed(_dial(Commit.COMPLETE), CONTENT), CommitDecision.EMPTY)

    def test_errors(self) -> None:
        """An error anywhere in the stream."""
        for error in (ERROR, BARE, BARE + b"\n"):
            self.assertIs(_fed(_dial(Commit.COMPLETE), CONTENT, error), CommitDecision.ERROR, error)

    def test_limit(self) -> None:
        """What grows past the limit is relayed after all."""
        made = _dial(Commit.COMPLETE, max_bytes=len(CONTENT))
        self.assertIs(made.feed(CONTENT), CommitDecision.HOLD)
        self.assertIs(made.feed(b":"), CommitDecision.COMMIT)

    def test_plain(self) -> None:
        """A plain response is complete at its end or past the limit, and answers at once."""
        made = _dial(Commit.COMPLETE, is_stream=False, max_bytes=3)
        self.assertFalse(made.answered)
        self.assertIs(made.feed(b"abc"), CommitDecision.HOLD)
        self.assertTrue(made.answered)
        self.assertIs(made.end(), CommitDecision.COMMIT)
        self.assertIs(made.feed(b"d"), CommitDecision.COMMIT)


_pieces = st.lists(
    st.sampled_from([ROLE, USAGE, b": ping\n\n", CONTENT, FINISH, DONE, ERROR, BARE + b"\n"]),
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
