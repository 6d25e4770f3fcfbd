"""Commit decisions and guarded bytes do not depend on chunk boundaries."""

from __future__ import annotations

import re

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay.body_kind import BodyKind
from autopilot.relay.commit import (
    MAX_HELD_BYTES,
    CommitDecision,
    CommitPolicy,
    commit_policy,
)
from autopilot.relay.dialect import meaning
from autopilot.relay.event_guard import GAVE_UP, EventGuard
from autopilot.relay.meaning import TERMINATORS, Meaning
from autopilot.relay.sse import Events
from autopilot.relay.sse_guard import GuardLevel, StreamGuard, stream_guard
from autopilot.routing.commit import Commit
from tests.unit.relay.chunks import cut, places

_EVENTS = [
    b": comment\n\n",
    b'data: {"id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
    b'data: {"id":"a","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n',
    b'data: {"id":"a","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\r\n\r\n',
    b'data: {"id":"a","choices":[],"usage":{"total_tokens":3}}\n\n',
    b"data: [DONE]\n\n",
    b"data: broken {\n\n",
    b'event: ping\rdata: {"type":"ping"}\r\r',
    b'data: {"type":"message_stop"}\n\n',
    b'data: {"type":"response.completed","response":{"status":"completed"}}\n\n',
    b'data: {"id":"a","choices":[{"index":1,"delta":{},"finish_reason":"length"}]}\n\n',
    b"\n{\n",
    b'\n{"fine":true}\n',
    b"data: unfinished",
]
_FAILURES = [
    b'data: {"id":"a","choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\n',
    b'data: {"type":"message_delta","delta":{"stop_reason":"cancelled"}}\n\n',
    b'data: {"error":{"message":"too long","code":400}}\n\n',
]
_ERRORS = [
    b'data: {"error":{"message":"no"}}\n\n',
    b'{"error":"no"}\n',
    b'\n{"error":"no"}',
    b'\r\n  {\r\n    "error": {\r\n      "message": "no"\r\n    }\r\n  }\r\n',
    b'\n[\n  {"detail": "no"}\n]\n',
    b'\n\xef\xbb\xbf{"error":"no"}\r',
    b"\n \xef\xbb {[",
    b'data: {"type":"response.failed","response":{"error":null}}\n\n',
    b'event: error\r\ndata: {"type":"error"}\r\n\r\n',
]
_HEALTHY = st.lists(st.sampled_from(_EVENTS), max_size=12).map(b"".join)
_ANY = st.lists(st.sampled_from(_EVENTS + _ERRORS + _FAILURES), max_size=12).map(b"".join)
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_DIALECTS = st.sampled_from(list(Dialect))
_COMMITS = st.sampled_from(list(Commit))


def _judged(judge: CommitPolicy, chunks: list[bytes]) -> tuple[CommitDecision, bool]:
    """Return the final decision, and whether part of an answer had arrived."""
    for chunk in chunks:
        verdict = judge.feed(chunk)
        if verdict is not CommitDecision.HOLD:
            return verdict, judge.answered
    return judge.end(), judge.answered


def _read(stream: bytes, dialect: Dialect) -> tuple[int, int, Meaning]:
    """Return where the event that ends a stream begins and ends, and its meaning.

    Without such an event, return the end of the stream.
    """
    for event in Events(len(stream)).feed(stream):
        meant = meaning(event, dialect)
        if not event.bare and (meant in TERMINATORS or meant is Meaning.GAVE_UP):
            blank = _BLANK_LINE.search(stream, event.start)
            assert blank is not None
            return event.start, blank.end(), meant
    return len(stream), len(stream), Meaning.EMPTY


def _guarded(watch: StreamGuard, chunks: list[bytes]) -> tuple[bytes, str | None, bool, bool]:
    """Return the relayed bytes of ``chunks``, and the guard's findings."""
    relayed = b"".join([watch.feed(chunk) for chunk in chunks]) + watch.end()
    return relayed, watch.fault, watch.at_boundary, watch.done


class DialProperties(SynchronousTestCase):
    """Every commit setting and dialect."""

    @settings(max_examples=200)
    @given(
        _ANY,
        _COMMITS,
        _DIALECTS,
        st.sampled_from(BodyKind),
        st.sampled_from([0, 90, 4096]),
        st.integers(1, 2),
        places(700),
    )
    def test_split(
        self,
        stream: bytes,
        commit: Commit,
        dialect: Dialect,
        kind: BodyKind,
        max_bytes: int,
        choices: int,
        where: list[int],
    ) -> None:
        """The decision depends on the bytes, not on the chunks."""

        def judge() -> CommitPolicy:
            return commit_policy(commit, dialect, max_bytes, choices, kind, last=False)

        whole = _judged(judge(), cut(stream, []))
        self.assertEqual(_judged(judge(), cut(stream, where)), whole)
        self.assertEqual(_judged(judge(), cut(stream, range(len(stream)))), whole)
        self.assertIsNot(whole[0], CommitDecision.HOLD)

    @settings(max_examples=25)
    @given(st.sampled_from(_EVENTS + _ERRORS), st.integers(-90, 9), places(MAX_HELD_BYTES))
    def test_split_at_the_limit(self, event: bytes, offset: int, where: list[int]) -> None:
        """The decision is the same if the last event ends near the limit of held bytes."""
        stream = b":" + b"x" * (MAX_HELD_BYTES - 3 + offset) + b"\n\n" + event

        def judge() -> CommitPolicy:
            return commit_policy(
                Commit.CONTENT, Dialect.COMPLETIONS, 0, 1, BodyKind.STREAM, last=False
            )

        self.assertEqual(_judged(judge(), cut(stream, where)), _judged(judge(), [stream]))


class GuardProperties(SynchronousTestCase):
    """Every guard level and dialect."""

    @settings(max_examples=200)
    @given(_HEALTHY, st.sampled_from(list(GuardLevel)), _DIALECTS, places(700))
    def test_healthy(
        self, stream: bytes, level: GuardLevel, dialect: Dialect, where: list[int]
    ) -> None:
        """A stream without an error passes unchanged."""
        _, end, meant = _read(stream, dialect)
        passed = stream if level is GuardLevel.OFF else stream[:end]
        for chunks in (cut(stream, where), cut(stream, range(len(stream)))):
            made = stream_guard(level, is_stream=True, dialect=dialect)
            if level is GuardLevel.STRICT:
                # A repeated opening event looks like a second generation, which other tests cover.
                opening = stream.find(_EVENTS[1], stream.find(_EVENTS[2]) + 1)
                if dialect is Dialect.COMPLETIONS and opening > stream.find(_EVENTS[2]) >= 0:
                    continue
            self.assertEqual(_guarded(made, chunks)[:2], (passed, None))
            self.assertEqual(made.done, meant in TERMINATORS or level is GuardLevel.OFF)
            self.assertEqual(made.ended, meant in TERMINATORS and level is not GuardLevel.OFF)

    @given(_HEALTHY, _HEALTHY, places(700))
    def test_bare_error(self, before: bytes, after: bytes, where: list[int]) -> None:
        """The bytes before a bare error pass; the error and what follows do not."""
        assume(_read(before, Dialect.COMPLETIONS)[2] is Meaning.EMPTY)
        bare = b'{"error":"Unhandled exception"}'
        stream = before + b"\n" + bare + b"\n" + after
        for chunks in ([stream], cut(stream, where), cut(stream, range(len(stream)))):
            made = stream_guard(GuardLevel.ON, is_stream=True, dialect=Dialect.COMPLETIONS)
            relayed, fault, _, _ = _guarded(made, chunks)
            self.assertEqual(relayed, before + b"\n")
            self.assertEqual(fault, "upstream reported an error: Unhandled exception")

    @settings(max_examples=400)
    @given(_ANY, _DIALECTS, st.integers(1, 2), places(700))
    def test_split(self, stream: bytes, dialect: Dialect, choices: int, where: list[int]) -> None:
        """The relayed bytes and the findings depend on the bytes alone."""
        start, end, meant = _read(stream, dialect)
        whole = stream_guard(GuardLevel.ON, is_stream=True, dialect=dialect, choices=choices)
        passed, *known = _guarded(whole, cut(stream, []))
        for chunks in (cut(stream, where), cut(stream, range(len(stream)))):
            made = stream_guard(GuardLevel.ON, is_stream=True, dialect=dialect, choices=choices)
            relayed, *told = _guarded(made, chunks)
            if made.fault == GAVE_UP and meant is Meaning.GAVE_UP:
                self.assertEqual((whole.fault, passed), (GAVE_UP, stream[:start]))
                self.assertTrue(stream[:start] <= relayed < stream[:end], relayed)
                self.assertTrue(stream.startswith(relayed))
                same = relayed == passed
                self.assertEqual(made.at_boundary, same and whole.at_boundary)
            else:
                self.assertEqual((relayed, told), (passed, known))
            self.assertEqual(
                (made.ended, made.whole, made.meaning), (whole.ended, whole.whole, whole.meaning)
            )

    @given(_ANY, _DIALECTS, places(700))
    def test_uninspected(self, stream: bytes, dialect: Dialect, where: list[int]) -> None:
        """Inspecting a chunk that is relayed without inspection would not change the result."""
        quick, slow = (EventGuard(dialect, said=True) for _ in range(2))
        for part in cut(stream, where):
            slow._quick = False
            self.assertEqual(quick.feed(part), slow.feed(part))
        self.assertEqual(quick.end(), slow.end())
        for name in ("fault", "ended", "done", "whole", "meaning", "at_boundary"):
            self.assertEqual(getattr(quick, name), getattr(slow, name), name)
