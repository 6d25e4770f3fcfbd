"""What one event means before the commit point."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay.dialect import Meaning, error_text, is_error, meaning
from autopilot.relay.sse import Event

CHAT, MESSAGES, RESPONSES = Dialect.COMPLETIONS, Dialect.MESSAGES, Dialect.RESPONSES


def _choice(**members: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "finish_reason": None, **members}]}


class CompletionsTests(SynchronousTestCase):
    """Chat and text completions."""

    def assert_means(self, expected: Meaning, *values: object) -> None:
        """Each value, as an event's data, means the same."""
        for value in values:
            event = Event(value if isinstance(value, bytes) else json.dumps(value).encode())
            self.assertIs(meaning(event, CHAT), expected, value)

    def test_empty(self) -> None:
        """A role, a usage, an empty choice and what cannot be read say nothing of the answer."""
        self.assert_means(
            Meaning.EMPTY,
            _choice(delta={"role": "assistant"}),
            _choice(
                delta={"role": "assistant", "content": "", "tool_calls": None, "reasoning": None}
            ),
            _choice(delta={}),
            _choice(delta=None),
            _choice(delta="x"),
            _choice(text=""),
            {"choices": [], "usage": {"total_tokens": 9}},
            {"choices": None},
            {"choices": {"0": 1}},
            {"choices": [None, 1, "x", []]},
            {"error": None, "choices": []},
            {},
            [],
            None,
            1,
            b"",
            b"{",
            b"ping",
            b"\xff",
            b"[" * 100_000,
            b'{"choices":' + b"9" * 5000 + b"}",
        )

    def test_content(self) -> None:
        """Text, reasoning, a tool call, a refusal or sound is part of the answer, in any choice."""
        self.assert_means(
            Meaning.CONTENT,
            _choice(delta={"content": "Hi"}),
            _choice(delta={"content": " "}),
            _choice(delta={"reasoning_content": "hm"}),
            _choice(delta={"reasoning": "hm"}),
            _choice(delta={"tool_calls": [{"index": 0}]}),
            _choice(delta={"function_call": {"name": "f"}}),
            _choice(delta={"refusal": "no"}),
            _choice(delta={"audio": {"data": "x"}}),
            _choice(text="Hi"),
            {"choices": [{"delta": {}}, {"index": 1, "delta": {"content": "x"}}]},
        )

    def test_odd_but_readable(self) -> None:
        """Half of a surrogate pair and infinite log probabilities do not hide content."""
        self.assert_means(
            Meaning.CONTENT,
            b'{"choices":[{"delta":{"content":"\\ud83d"}}]}',
            b'{"choices":[{"delta":{"content":"x"},"logprobs":-Infinity}]}',
        )

    def test_finish(self) -> None:
        """A finish reason completes the answer, with or without content."""
        self.assert_means(
            Meaning.FINISH,
            _choice(delta={}, finish_reason="stop"),
            _choice(delta={"content": "x"}, finish_reason="length"),
            {"choices": [{"delta": {"content": "x"}}, {"finish_reason": "stop"}]},
        )
        self.assert_means(Meaning.DONE, b"[DONE]", b"[DONE] ")

    def test_error(self) -> None:
        """An error event, in each of the shapes that engines write."""
        self.assert_means(
            Meaning.ERROR,
            {"error": {"message": "no"}},
            {"error": "no"},
            {"error": {"message": "no"}, "choices": []},
            {"object": "error", "message": "no", "code": 500},
        )
        for data in (b"{}", b"boom", b"[DONE]", b""):
            self.assertIs(meaning(Event(data, b"error"), CHAT), Meaning.ERROR, data)

    def test_bare(self) -> None:
        """A bare line is an error or nothing, never an answer."""
        for data, expected in (
            (b'{"error":"no"}', Meaning.ERROR),
            (b'{"error":null}', Meaning.EMPTY),
            (b'{"choices":[{"delta":{"content":"x"}}]}', Meaning.EMPTY),
            (b"{", Meaning.EMPTY),
        ):
            self.assertIs(meaning(Event(data, bare=True), CHAT), expected, data)


class TypedEventsTests(SynchronousTestCase):
    """Anthropic's messages and OpenAI's responses."""

    def test_kinds(self) -> None:
        """Start-up events are empty, deltas are content, and each dialect has its own end."""
        for dialect, kind, expected in (
            (MESSAGES, "message_start", Meaning.EMPTY),
            (MESSAGES, "ping", Meaning.EMPTY),
            (MESSAGES, "content_block_start", Meaning.EMPTY),
            (MESSAGES, "content_block_delta", Meaning.CONTENT),
            (MESSAGES, "message_delta", Meaning.CONTENT),
            (MESSAGES, "message_stop", Meaning.FINISH),
            (MESSAGES, "error", Meaning.ERROR),
            (RESPONSES, "response.created", Meaning.EMPTY),
            (RESPONSES, "response.queued", Meaning.EMPTY),
            (RESPONSES, "response.in_progress", Meaning.EMPTY),
            (RESPONSES, "response.output_item.added", Meaning.EMPTY),
            (RESPONSES, "response.content_part.added", Meaning.EMPTY),
            (RESPONSES, "response.output_text.delta", Meaning.CONTENT),
            (RESPONSES, "response.completed", Meaning.FINISH),
            (RESPONSES, "response.incomplete", Meaning.FINISH),
            (RESPONSES, "response.failed", Meaning.ERROR),
            (RESPONSES, 5, Meaning.EMPTY),
        ):
            data = json.dumps({"type": kind, "response": {"error": None}}).encode()
            self.assertIs(meaning(Event(data), dialect), expected, kind)


class ErrorTests(SynchronousTestCase):
    """Error objects."""

    def test_is_error(self) -> None:
        """Only an object with a truthy error, or one that calls itself an error."""
        for data in (b'{"error":"x"}', b'{"error":{"code":1}}\r', b'{"object":"error"}'):
            self.assertTrue(is_error(data), data)
        for data in (b"", b"{", b"[]", b'"error"', b'{"error":null}', b'{"error":""}', b"{}"):
            self.assertFalse(is_error(data), data)

    def test_error_text(self) -> None:
        """The text, in whichever place it stands."""
        for data, text in (
            (b'{"error":"x"}', "x"),
            (b'{"error":{"message":"x"}}', "x"),
            (b'{"object":"error","message":"x"}', "x"),
            (b'{"error":{"message":5}}', None),
            (b'{"error":[]}', None),
            (b"nonsense", None),
        ):
            self.assertEqual(error_text(data), text, data)
