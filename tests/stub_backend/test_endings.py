"""Tests of the scenarios that each API has in a form of its own: how they begin and end."""

from __future__ import annotations

import gzip
import json

from twisted.trial.unittest import SynchronousTestCase

from stub_backend.answers.bare import FORMS
from stub_backend.answers.endings import REASONS
from stub_backend.call import DIALECTS
from tests.stub_backend.exchange import QUICK, Answer, Exchange

_CHAT, _MESSAGES, _RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
_TERMINATORS = {
    _CHAT: b"data: [DONE]",
    "/v1/completions": b"data: [DONE]",
    _MESSAGES: b"event: message_stop",
    _RESPONSES: b"event: response.completed",
}


def ask(name: str, path: str = _CHAT, *, stream: bool = True) -> Answer:
    """Return what one call of a scenario brings."""
    answer = Exchange().ask(f"stub/{name}", path=path, stream=stream)
    assert answer is not None
    return answer


class EndingTests(SynchronousTestCase):
    """What is there at the end, and what is not."""

    def test_whole(self) -> None:
        """These have their terminator, whatever the connection does then."""
        for path, terminator in _TERMINATORS.items():
            for name in ("done-reset", "done-held", "done-late", "done-cut"):
                answer = ask(name, path)
                self.assertEqual(answer.body.count(terminator), 1, (name, path))
                self.assertEqual(answer.complete, name == "done-late")
                if name != "done-cut":
                    self.assertTrue(ask(name, path, stream=False).complete, (name, path))

    def test_more(self) -> None:
        """An event stands behind the terminator."""
        for path, terminator in _TERMINATORS.items():
            behind = ask("done-more", path).body.partition(terminator)[2]
            self.assertIn(b'"more"', behind)

    def test_without_terminator(self) -> None:
        """These lack it; the reason to finish is there in two of them."""
        for path, terminator in _TERMINATORS.items():
            for name in ("end-mid-stream", "finish-cut", "finish-stall", "stall-mid-event"):
                self.assertNotIn(terminator, ask(name, path).body, (name, path))
        self.assertIn(b'"finish_reason":"stop"', ask("finish-cut").body)
        self.assertIn(b'"stop_reason":"end_turn"', ask("finish-cut", _MESSAGES).body)
        self.assertTrue(ask("end-mid-stream").complete)

    def test_given_up(self) -> None:
        """The engine's own reason stands where each API has it, streamed and plain."""
        for reason in REASONS:
            status = "failed" if "error" in reason else "cancelled"
            for path, sign in (
                (_CHAT, f'"finish_reason":"{reason}"'),
                ("/v1/completions", f'"finish_reason":"{reason}"'),
                (_MESSAGES, f'"stop_reason":"{reason}"'),
                (_RESPONSES, f'"status":"{status}"'),
            ):
                for stream in (True, False):
                    body = ask(f"gave-up-{reason}", path, stream=stream).body
                    self.assertEqual(body.count(sign.encode()), 1, (reason, path, stream))
        self.assertIn(b"event: response.failed", ask("gave-up-error", _RESPONSES).body)

    def test_within_an_event(self) -> None:
        """No blank line behind the last bytes."""
        for path in DIALECTS:
            self.assertFalse(ask("stall-mid-event", path).body.endswith(b"\n"), path)

    def test_close_half(self) -> None:
        """The connection's end is the only end, for half of a stream and of a JSON object."""
        answer = ask("close-half", stream=False)
        self.assertIsNone(answer.header("content-length"))
        self.assertRaises(ValueError, json.loads, answer.body)

    def test_cut_at(self) -> None:
        """As many bytes as were asked for."""
        for length in (0, 1, 700, 5000):
            exchange = Exchange()
            body = json.dumps({"model": "stub/cut-at", "stream": True, "messages": []}).encode()
            exchange.send("POST", _CHAT, body, {"x-stub-cut": str(length)})
            exchange.run()
            answer = exchange.answer()
            assert answer is not None
            self.assertEqual((len(answer.body), answer.complete), (length, False))


class BeginningTests(SynchronousTestCase):
    """What is there at the beginning."""

    def test_empty(self) -> None:
        """No byte, whatever was asked for."""
        for name in ("204", "205", "empty-200"):
            for stream in (True, False):
                answer = ask(name, stream=stream)
                self.assertEqual((answer.body, answer.complete), (b"", True), name)

    def test_errors_in_a_200(self) -> None:
        """JSON to plain and streaming calls alike."""
        for name, member in (("error-object-200", "error"), ("detail-200", "detail")):
            for stream in (True, False):
                answer = ask(name, stream=stream)
                self.assertEqual((answer.status, set(answer.json())), (200, {member}))

    def test_says_nothing(self) -> None:
        """A terminator and no word."""
        for path, terminator in _TERMINATORS.items():
            body = ask("says-nothing", path).body
            self.assertIn(terminator, body)
            self.assertNotIn(b" word", body.partition(terminator)[0], path)

    def test_heartbeats(self) -> None:
        """Many events without a word; on some APIs of several kinds."""
        for path in DIALECTS:
            body = ask("heartbeats", path).body
            self.assertGreaterEqual(body.count(b"\n\n"), 40, path)
            self.assertNotIn(b"Served", body, path)
        for kind in (b"keepalive", b"response.keep_alive", b"codex.rate_limits"):
            self.assertIn(b"event: " + kind, ask("heartbeats", _RESPONSES).body)

    def test_thoughts(self) -> None:
        """The member stands before the first word."""
        for name, member in (
            ("thinking", b'"thinking":"hm"'),
            ("thinking-blocks", b'"thinking_blocks"'),
            ("reasoning-details", b'"reasoning_details"'),
            ("images", b'"images"'),
            ("annotations", b'"annotations"'),
            ("message", b'"message":{'),
        ):
            before, served, _ = ask(f"thinks-{name}").body.partition(b"Served")
            self.assertTrue(served)
            self.assertIn(member, before)
        for path, kind in ((_MESSAGES, b"thinking_delta"), (_RESPONSES, b"reasoning_text.delta")):
            self.assertIn(kind, ask("thinks-thinking", path).body.partition(b"Served")[0])

    def test_labels(self) -> None:
        """A stream's type is the listed one; a plain answer is JSON."""
        self.assertEqual(ask("unlabelled-text").content_type, "text/plain")
        self.assertIsNone(ask("unlabelled-error").content_type)
        self.assertEqual(ask("unlabelled", stream=False).content_type, "application/json")

    def test_undecodable(self) -> None:
        """One event is not UTF-8."""
        self.assertRaises(UnicodeDecodeError, ask("undecodable-event").body.decode)

    def test_coded(self) -> None:
        """Unpacked it is the usual answer; a cut one cannot be unpacked."""
        for stream in (True, False):
            unpacked = gzip.decompress(ask("coded-unmarked", stream=stream).body)
            self.assertIn(b"Served by stub/coded-unmarked", unpacked)
            answer = ask("coded-drop", stream=stream)
            self.assertEqual(answer.header("content-encoding"), "gzip")
            self.assertRaises(EOFError, gzip.decompress, answer.body)


class BareTests(SynchronousTestCase):
    """Errors outside events."""

    def test_forms(self) -> None:
        """First and last in a stream; alone in a plain answer if it is JSON."""
        self.assertLess(QUICK.tokens, 100)
        for form, (_, error) in FORMS.items():
            self.assertEqual(ask(f"bare-{form}-first").body, error)
            tail = ask(f"bare-{form}-tail").body
            self.assertTrue(tail.endswith(b"\n\n" + error), form)
            self.assertTrue(tail.startswith(b"data: {"), form)
            plain = ask(f"bare-{form}-first", stream=False).body
            self.assertEqual(plain == error, form not in ("text", "html"), form)
