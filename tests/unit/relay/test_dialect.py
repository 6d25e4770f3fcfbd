"""What one event means before the commit point."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay import dialect as tables
from autopilot.relay.dialect import meaning, read_event
from autopilot.relay.meaning import Meaning
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
            _choice(delta={"content": {}, "audio": []}, message={"role": "assistant"}),
            {"choices": [], "usage": {"total_tokens": 9}},
            {"choices": None},
            {"choices": {"0": 1}},
            {"choices": [None, 1, "x", []]},
            {"error": None, "choices": []},
            {},
            [],
            None,
            1,
            b"null ",
        )

    def test_invalid(self) -> None:
        """What is neither JSON nor the terminator cannot be read, and says nothing."""
        self.assert_means(
            Meaning.INVALID,
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
            _choice(delta={"thinking": "hm"}),
            _choice(delta={"role": "assistant", "thinking_blocks": [{"thinking": "hm"}]}),
            _choice(delta={"reasoning_details": [{}], "images": []}),
            _choice(delta={"annotations": [{"type": "url"}]}),
            _choice(message={"role": "assistant", "content": "Hi"}),
            {"choices": [{"delta": {"content": "x"}}], "error": {"message": "a remark"}},
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
            {"type": "error", "message": "no"},
            {"error": {"message": "no", "type": "server_error", "code": None}},
            {"error": {"message": "no", "code": []}},
        )

    def test_own_error(self) -> None:
        """An error that blames the request is this request's answer."""
        self.assert_means(
            Meaning.OWN_ERROR,
            {"error": {"message": "no", "code": 400}},
            {"error": {"message": "no", "code": "422"}},
            {"error": {"message": "no", "code": 413}, "choices": []},
            {"error": {"message": "no", "type": "invalid_request_error"}},
            {"object": "error", "message": "no", "type": "BadRequestError", "code": None},
        )

    def test_gave_up(self) -> None:
        """Reasons by which an engine says that it stopped short, in any choice."""
        for reason in ("abort", "error", "network_error", "cancelled"):
            self.assert_means(
                Meaning.GAVE_UP,
                _choice(delta={"content": "x"}, finish_reason=reason),
                {"choices": [{"finish_reason": "stop"}, {"finish_reason": reason}]},
            )

    def test_finished(self) -> None:
        """Which choices are complete."""
        for choices, finished in (
            ([{"finish_reason": "stop"}, {"index": 1, "finish_reason": "length"}], {0, 1}),
            ([{"index": 3, "finish_reason": "stop"}, {"index": 1, "delta": {}}], {3}),
            ([{"index": "x", "finish_reason": "stop"}], {0}),
            ([{"index": 0, "delta": {"content": "x"}}], set()),
        ):
            event = Event(json.dumps({"choices": choices}).encode())
            self.assertEqual(read_event(event, CHAT).finished, finished)
        for data in (b"{}", b"boom", b"[DONE]", b""):
            self.assertIs(meaning(Event(data, b"error"), CHAT), Meaning.ERROR, data)

    def test_bare(self) -> None:
        """A bare line is an error or nothing, never an answer."""
        for data, expected in (
            (b'{"error":"no"}', Meaning.ERROR),
            (b'{"detail":"no"}', Meaning.ERROR),
            (b'[{"error":{"code":500}}]', Meaning.ERROR),
            (b'{"error":{"code":400}}', Meaning.OWN_ERROR),
            (b"[]", Meaning.EMPTY),
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
            (MESSAGES, "content_block_stop", Meaning.EMPTY),
            (MESSAGES, "message_delta", Meaning.EMPTY),
            (MESSAGES, "message_stop", Meaning.DONE),
            (MESSAGES, "vendor_event", Meaning.EMPTY),
            (MESSAGES, "error", Meaning.ERROR),
            (RESPONSES, "response.created", Meaning.EMPTY),
            (RESPONSES, "response.queued", Meaning.EMPTY),
            (RESPONSES, "response.in_progress", Meaning.EMPTY),
            (RESPONSES, "response.output_item.added", Meaning.EMPTY),
            (RESPONSES, "response.content_part.added", Meaning.EMPTY),
            (RESPONSES, "response.output_text.delta", Meaning.CONTENT),
            (RESPONSES, "response.output_text.done", Meaning.CONTENT),
            (RESPONSES, "response.image_generation_call.partial_image", Meaning.CONTENT),
            (RESPONSES, "response.completed", Meaning.COMPLETED),
            (RESPONSES, "response.incomplete", Meaning.COMPLETED),
            (RESPONSES, "keepalive", Meaning.EMPTY),
            (RESPONSES, "response.keep_alive", Meaning.EMPTY),
            (RESPONSES, "response.metadata", Meaning.EMPTY),
            (RESPONSES, "codex.rate_limits", Meaning.EMPTY),
            (RESPONSES, "response.failed", Meaning.FAILED),
            (RESPONSES, 5, Meaning.EMPTY),
        ):
            data = json.dumps({"type": kind, "response": {"error": None}}).encode()
            self.assertIs(meaning(Event(data), dialect), expected, kind)

    def assert_means(self, dialect: Dialect, expected: Meaning, value: object) -> None:
        """One value, as an event's data."""
        self.assertIs(meaning(Event(json.dumps(value).encode()), dialect), expected, value)

    def test_stop_reasons(self) -> None:
        """A stop reason is part of the answer, or says that the engine gave up."""
        for delta, expected in (
            ({"stop_reason": "end_turn"}, Meaning.CONTENT),
            ({"stop_reason": None}, Meaning.EMPTY),
            ({"stop_reason": "abort"}, Meaning.GAVE_UP),
            (None, Meaning.EMPTY),
        ):
            self.assert_means(MESSAGES, expected, {"type": "message_delta", "delta": delta})

    def test_statuses(self) -> None:
        """A response that failed is an error; one that was cancelled, or says so late, gave up."""
        for kind, status, expected in (
            ("response.failed", "failed", Meaning.FAILED),
            ("response.cancelled", "cancelled", Meaning.GAVE_UP),
            ("response.completed", "failed", Meaning.GAVE_UP),
            ("response.completed", "completed", Meaning.COMPLETED),
        ):
            value = {"type": kind, "response": {"status": status, "error": None}}
            self.assert_means(RESPONSES, expected, value)

    def test_own_errors(self) -> None:
        """Wherever the code or the type stands."""
        for dialect, value in (
            (MESSAGES, {"type": "error", "error": {"type": "invalid_request_error"}}),
            (RESPONSES, {"type": "error", "code": "400", "message": "no"}),
            (RESPONSES, {"type": "response.failed", "response": {"error": {"code": 422}}}),
        ):
            self.assert_means(dialect, Meaning.OWN_ERROR, value)


class MarkTests(SynchronousTestCase):
    """The bytes without which an event need not be read once an answer has begun."""

    def test_events_that_matter(self) -> None:
        """Every event that ends, finishes or fails an answer has one of its dialect's marks."""
        reasons = ("abort", "error", "network_error", "cancelled", "stop", "length")
        failed = [{"error": "no"}, {"object": "error"}, {"type": "error", "code": "400"}]
        values: dict[Dialect, list[dict[str, Any]]] = {
            CHAT: [{"choices": [{"finish_reason": reason}]} for reason in reasons],
            MESSAGES: [
                {"type": "message_stop"},
                *({"type": "message_delta", "delta": {"stop_reason": each}} for each in reasons),
            ],
            RESPONSES: [
                {"type": kind, "response": {"status": status}}
                for kind in ("response.completed", "response.incomplete", "response.failed")
                for status in ("completed", "incomplete", "failed", "cancelled")
            ]
            + [{"type": "response.cancelled", "response": {"status": "cancelled"}}],
        }
        for dialect, known in values.items():
            for value in [*known, *failed]:
                for separators in ((",", ":"), (", ", ": ")):
                    data = json.dumps(value, separators=separators).encode()
                    meant = meaning(Event(data), dialect)
                    self.assertNotIn(meant, (Meaning.EMPTY, Meaning.INVALID), data)
                    plain = meant is Meaning.CONTENT and dialect is not MESSAGES
                    self.assertTrue(plain or tables.SIGNS[dialect].search(data), data)
                    self.assertTrue(
                        plain or any(mark in data for mark in tables.MARKS[dialect]), data
                    )
