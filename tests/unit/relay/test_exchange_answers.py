"""What is an answer and what is not: each kind, in each API, under either commit point."""

from __future__ import annotations

import json
from collections.abc import Iterator

from autopilot.http.dialect import Dialect
from autopilot.routing.commit import Commit
from tests.unit.relay.routers import RouterTestCase
from tests.unit.relay.upstreams import JSON, SSE, chunk, head, whole

_MARK = b"\xef\xbb\xbf"
_PRETTY = json.dumps({"error": {"message": "boom", "code": 500}}, indent=2).encode()
_OWN = json.dumps({"error": {"message": "too long", "code": 400}}, indent=2).encode()
_HTML = b"<!doctype html>\n<html><body>Bad gateway: an error</body></html>\n"

OPENINGS = {
    Dialect.COMPLETIONS: b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n',
    Dialect.MESSAGES: b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n',
    Dialect.RESPONSES: b'event: response.created\ndata: {"type":"response.created"}\n\n',
}
CONTENTS = {
    Dialect.COMPLETIONS: b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n',
    Dialect.MESSAGES: b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n',
    Dialect.RESPONSES: b'data: {"type":"response.output_text.delta","delta":"hi"}\n\n',
}
ENDS = {
    Dialect.COMPLETIONS: b"data: [DONE]\n\n",
    Dialect.MESSAGES: b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    Dialect.RESPONSES: b'data: {"type":"response.completed","response":{}}\n\n',
}
ERRORS = {
    Dialect.COMPLETIONS: b'data: {"error":{"message":"boom"}}\n\n',
    Dialect.MESSAGES: b'event: error\ndata: {"type":"error","error":{"type":"api_error"}}\n\n',
    Dialect.RESPONSES: b'data: {"type":"error","message":"boom"}\n\n',
}
UNLABELLED = (b"", b"text/plain", b"text/plain; charset=utf-8", b"application/octet-stream")
# Errors outside events, and other text that no client could read.
BARE = {
    "in one line": b'{"error":"boom"}\n',
    "without a line's end": b'{"error":"boom"}',
    "pretty-printed": _PRETTY + b"\n",
    "indented": b'  \t{"error":"boom"}\n',
    "in a list": b'[{"error":"boom"}]\n',
    "in a pretty-printed list": b"[\n" + _PRETTY + b"\n]",
    "with CR": _PRETTY.replace(b"\n", b"\r") + b"\r",
    "with CR LF": _PRETTY.replace(b"\n", b"\r\n") + b"\r\n",
    "of the platform": b'{"detail":"boom"}\n',
    "over 64 KiB": b'{"error":"%b"}\n' % (b"x" * 70_000),
}


def _typed(kind: bytes) -> bytes:
    """A head with this content type, or with none."""
    return head(200, kind) if kind else b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def _everywhere() -> Iterator[tuple[Dialect, Commit]]:
    for dialect in Dialect:
        for commit in (Commit.CONTENT, Commit.COMPLETE):
            yield dialect, commit


class StreamTests(RouterTestCase):
    """Event streams that are no answer."""

    def answered(self, dialect: Dialect) -> bytes:
        """Let the next model answer in full."""
        body = OPENINGS[dialect] + CONTENTS[dialect] + ENDS[dialect]
        self.wire.says(head(), chunk(body), chunk(b""))
        return body

    def check_next(self, dialect: Dialect, commit: Commit, reason: str, *says: bytes) -> None:
        """Check that the first model's response leads to the second one, for this reason."""
        what = (dialect, commit, says)
        self.build(commit=commit)
        client = self.ask(dialect=dialect)
        self.wire.says(*says)
        self.clock.advance(0)
        self.assertEqual((client.down.head, len(self.models)), (None, 2), what)
        body = self.answered(dialect)
        self.assertEqual((client.down.body, client.down.ended), (body, "finish"), what)
        self.assertEqual([each.reason for each in self.records[-1].failovers], [reason], what)

    def test_bare_errors(self) -> None:
        """An error outside events, however it is written and wherever the stream is cut."""
        for dialect, commit in _everywhere():
            for name, bare in BARE.items():
                says = [chunk(OPENINGS[dialect] + bare), chunk(b"")]
                if name != "over 64 KiB":
                    says = [chunk(OPENINGS[dialect]), chunk(bare[:9]), chunk(bare[9:]), chunk(b"")]
                self.check_next(dialect, commit, "error_event", head(), *says)
                for first in (bare, _MARK + bare):
                    says = [head(), chunk(first), chunk(b"")]
                    self.check_next(dialect, commit, "error_event", *says)

    def test_own_error(self) -> None:
        """One that blames the request is its answer, as it came."""
        for dialect, commit in _everywhere():
            for own in (_OWN + b"\n", b"[" + _OWN + b"]\n"):
                self.build(commit=commit)
                client = self.ask(dialect=dialect)
                self.wire.says(head(), chunk(OPENINGS[dialect]), chunk(own))
                self.assertEqual((client.down.status, len(self.models)), (200, 1), own)
                self.wire.says(chunk(b""))

    def test_other_text(self) -> None:
        """Text and HTML inside a stream are no events: it ends without its terminator."""
        for dialect, commit in _everywhere():
            for text in (
                b"Internal Server Error\n",
                b"(timeout)\n",
                _HTML,
                b'{"no":"error"}\n',
                b"{\n",
            ):
                for first in (text, OPENINGS[dialect] + text):
                    says = [head(), chunk(first), chunk(b"")]
                    self.check_next(dialect, commit, "no_terminator", *says)

    def test_behind_a_finish(self) -> None:
        """Under `complete` such an error counts behind a finished answer too."""
        finish = CONTENTS[Dialect.COMPLETIONS] + (
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        )
        for bare in BARE.values():
            says = [head(), chunk(finish + bare), chunk(b"")]
            self.check_next(Dialect.COMPLETIONS, Commit.COMPLETE, "error_event", *says)

    # -- without a type that says what it is

    def test_unlabelled_next(self) -> None:
        """Of an unlabelled stream the first bytes tell that it is one; so all rules hold."""
        for dialect, commit in _everywhere():
            opening = OPENINGS[dialect]
            for kind in UNLABELLED:
                for says, reason in (
                    ((chunk(ERRORS[dialect]), chunk(b"")), "error_event"),
                    ((chunk(_MARK + b"\n" + opening), chunk(ERRORS[dialect])), "error_event"),
                    ((chunk(b": hi\n"), chunk(b"\n" + opening), chunk(b"")), "no_terminator"),
                    ((chunk(opening[:3]), chunk(opening[3:]), b"zz\r\n"), "cut"),
                    ((chunk(b"ev"), chunk(b"")), "no_terminator"),
                    ((chunk(b"\r\n"), chunk(b"")), "no_terminator"),
                    ((chunk(_PRETTY), chunk(b"")), "error_event"),
                    ((chunk(b""),), "empty"),
                ):
                    self.check_next(dialect, commit, reason, _typed(kind), *says)

    def test_unlabelled_silence(self) -> None:
        """A stream that says nothing has its allowance, whatever it is called."""
        for kind in UNLABELLED:
            self.build()
            client = self.ask()
            self.wire.says(_typed(kind), chunk(b": hi\n\n"))
            self.clock.advance(13)
            self.assertEqual((client.down.head, len(self.models)), (None, 2), kind)
            self.answered(Dialect.COMPLETIONS)

    def test_unlabelled_answer(self) -> None:
        """It commits as any other, and its break is announced as any other's."""
        for dialect in Dialect:
            opening, content = OPENINGS[dialect], CONTENTS[dialect]
            for kind in UNLABELLED:
                self.build()
                client = self.ask(dialect=dialect)
                self.wire.says(_typed(kind), chunk(opening))
                self.assertIsNone(client.down.head)
                self.wire.says(chunk(content))
                self.assertEqual(client.down.body, opening + content)
                assert client.down.head is not None
                self.assertTrue(client.down.head.streams)
                self.assertEqual(client.down.field(b"content-type"), kind or None)
                self.wire.resets()
                announced = client.down.body.removeprefix(opening + content)
                self.assertIn(b"upstream_stream_interrupted", announced)
                self.assertEqual(self.records[-1].outcome, "upstream_broken")

    def test_unlabelled_last(self) -> None:
        """With no candidate left it commits as soon as its first bytes have told."""
        for kind in UNLABELLED:
            self.build()
            client = self.ask("a")
            self.wire.says(_typed(kind), chunk(b"da"))
            self.assertIsNone(client.down.head)
            self.wire.says(chunk(b"ta"), chunk(b": "))
            self.assertEqual(client.down.body, b"data: ")
            self.wire.resets()
            self.assertEqual((client.down.body, client.down.ended), (b"data: ", "cut"))

    def test_unlabelled_plain(self) -> None:
        """What is neither a stream nor JSON is relayed from its first byte on; JSON is held."""
        for kind in UNLABELLED:
            self.build()
            client = self.ask()
            self.wire.says(_typed(kind), chunk(_HTML[:20]))
            self.assertEqual(client.down.body, _HTML[:20])
            self.wire.says(chunk(_HTML[20:]), chunk(b""))
            self.assertEqual((client.down.body, client.down.ended), (_HTML, "finish"))
            client = self.ask()
            self.wire.says(_typed(kind), chunk(b'{"choices":'))
            self.assertIsNone(client.down.head)
            self.wire.says(chunk(b"[]}"), chunk(b""))
            self.assertEqual((client.down.body, client.down.ended), (b'{"choices":[]}', "finish"))

    def test_unlabelled_call(self) -> None:
        """Where no stream was asked for, such a type commits at the first byte."""
        client = self.ask(stream=False)
        self.wire.says(_typed(b"text/plain"), chunk(b"data: x"))
        self.assertEqual(client.down.body, b"data: x")
        self.wire.says(chunk(b""))

    def test_in_one_read(self) -> None:
        """All of it in one read is judged alike."""
        for kind in UNLABELLED[1:]:
            for dialect, commit in _everywhere():
                body = OPENINGS[dialect] + CONTENTS[dialect] + ENDS[dialect]
                self.build(commit=commit)
                client = self.ask(dialect=dialect)
                self.wire.says(whole(200, body, kind))
                self.assertEqual((client.down.body, client.down.ended), (body, "finish"))
                self.check_next(dialect, commit, "error_event", whole(200, ERRORS[dialect], kind))
                self.check_next(dialect, commit, "no_terminator", whole(200, b"ev", kind))


class PlainTests(RouterTestCase):
    """Plain 2xx that are none, streamed request or not."""

    def test_next(self) -> None:
        """Empty, an error, given up or cut: the next model, in each API."""
        for dialect, commit in _everywhere():
            given_up = {
                Dialect.COMPLETIONS: {"choices": [{"finish_reason": "error"}]},
                Dialect.MESSAGES: {"content": [{}], "stop_reason": "abort"},
                Dialect.RESPONSES: {"output": [{}], "status": "cancelled"},
            }[dialect]
            for body, reason in (
                (b"", "empty"),
                (_PRETTY, "error_event"),
                (b'{"detail":"no"}', "error_event"),
                (b'{"object":"error","message":"no"}', "error_event"),
                (json.dumps(given_up).encode(), "gave_up"),
            ):
                for stream in (True, False):
                    self.build(commit=commit)
                    client = self.ask(dialect=dialect, stream=stream)
                    self.wire.says(whole(200, body))
                    self.assertEqual((client.down.head, len(self.models)), (None, 2), body)
                    self.wire.says(whole(200, b'{"content":"hi"}'))
                    self.assertEqual(client.down.body, b'{"content":"hi"}')
                    self.assertEqual([each.reason for each in self.records[-1].failovers], [reason])

    def test_own_error(self) -> None:
        """An error that blames the request is its answer, and says nothing of the model."""
        for dialect, commit in _everywhere():
            for model in ("a", "a,b"):
                for stream in (True, False):
                    self.build(commit=commit)
                    client = self.ask(model, dialect=dialect, stream=stream)
                    self.wire.says(whole(200, _OWN))
                    self.assertEqual((client.down.body, client.down.ended), (_OWN, "finish"))
                    self.assertEqual(self.record.outcome, "relayed_error")
                    self.assertEqual(self.tables.breaker.of_clients, {})
                    self.assertEqual(self.tables.latency._models, {})

    def test_no_answer_left(self) -> None:
        """One that is relayed because no candidate is left is a failure like any other."""
        aborted = b'{"choices":[{"finish_reason":"abort"}]}'
        for body, reason in ((_PRETTY, "error_event"), (aborted, "gave_up")):
            for commit in (Commit.BYTE, Commit.CONTENT):
                for stream in (True, False):
                    self.build(commit=commit, threshold=1)
                    client = self.ask("a", stream=stream)
                    self.wire.says(whole(200, body))
                    self.assertEqual((client.down.body, client.down.ended), (body, "finish"))
                    self.assertEqual(
                        (self.record.outcome, self.record.reason), ("upstream_error", reason)
                    )
                    self.assertEqual([*self.tables.breaker.opened], ["a"])
                    self.assertEqual(self.tables.latency._models, {})

    def test_no_answer_left_in_pieces(self) -> None:
        """So is one that is relayed as it arrives."""
        aborted = b'{"choices":[{"finish_reason":"abort"}]}'
        for body, outcome in (
            (_PRETTY, "upstream_error"),
            (aborted, "upstream_error"),
            (_OWN, "relayed_error"),
            (b'{"id":"1"}', "completed"),
        ):
            self.build(threshold=1)
            client = self.ask("a", stream=False)
            self.wire.says(head(200, JSON), chunk(body[:9]))
            self.assertEqual(client.down.body, body[:9])
            self.wire.says(chunk(body[9:]), chunk(b""))
            self.assertEqual((client.down.body, client.down.ended), (body, "finish"))
            self.assertEqual(self.record.outcome, outcome)
            failed = ["a"] if outcome == "upstream_error" else []
            self.assertEqual([*self.tables.breaker.opened], failed)
            self.assertEqual(bool(self.tables.latency._models), outcome == "completed")

    def test_nothing_left(self) -> None:
        """With no candidate left it is relayed as it came; under `complete` it is an error."""
        for body in (_PRETTY, b'{"choices":[{"finish_reason":"abort"}]}'):
            client = self.ask("a", stream=False)
            self.wire.says(whole(200, body))
            self.assertEqual((client.down.status, client.down.body), (200, body))
            client = self.ask("a", (b"X-Autopilot-Commit", b"complete"), stream=False)
            self.wire.says(whole(200, body))
            assert client.down.refusal is not None
            code = "upstream_stream_interrupted"
            self.assertEqual((client.down.refusal.status, client.down.refusal.code), (502, code))

    def test_cut_with_nothing_left(self) -> None:
        """Of an answer that was cut before its first byte there is nothing to relay."""
        for kind in (JSON, SSE, b"text/html"):
            self.build()
            client = self.ask("a")
            self.wire.says(head(200, kind))
            self.wire.resets()
            assert client.down.refusal is not None
            code = "upstream_stream_interrupted"
            self.assertEqual((client.down.refusal.status, client.down.refusal.code), (502, code))
            self.assertEqual([each.reason for each in self.records[-1].failovers], ["cut"])
