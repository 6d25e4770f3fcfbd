"""What one event means before the commit point."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay import dialect as tables
from autopilot.relay.dialect import (
    Meaning,
    error_text,
    is_error,
    judge_document,
    meaning,
    plain_meaning,
    read_event,
    usage_of_usual,
)
from autopilot.relay.sse import Event

_reasons: st.SearchStrategy[object] = st.sampled_from(
    ["stop", "abort", "error", "failed", "cancelled", "x", None, 1, [], {}]
)
_members = st.sampled_from(
    ["object", "type", "error", "detail", "status", "stop_reason", "choices"]
)
_values = _reasons | st.lists(_reasons | st.dictionaries(st.just("finish_reason"), _reasons))

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


class PlainTests(SynchronousTestCase):
    """Whole plain answers."""

    def test_meaning(self) -> None:
        """Errors, give-ups and nothing are no answers; what is no object of ours is one."""
        for value, expected in (
            ({"choices": [{"finish_reason": "stop"}]}, Meaning.CONTENT),
            ({"choices": [{"message": {"content": "an error"}}]}, Meaning.CONTENT),
            ({"choices": [{"finish_reason": "stop"}], "error": "aside"}, Meaning.CONTENT),
            ({"output": [], "status": "failed"}, Meaning.GAVE_UP),
            ({"output": [1], "status": "cancelled", "error": None}, Meaning.GAVE_UP),
            ({"content": [], "stop_reason": "abort"}, Meaning.GAVE_UP),
            ({"choices": [{"finish_reason": "network_error"}]}, Meaning.GAVE_UP),
            ({"detail": "no"}, Meaning.ERROR),
            ({"detail": [{"msg": "no"}], "choices": []}, Meaning.ERROR),
            ({"type": "error", "error": {"type": "api_error"}}, Meaning.ERROR),
            ({"error": {"code": 413}}, Meaning.OWN_ERROR),
            ([{"error": 1}], Meaning.CONTENT),
            ("failed", Meaning.CONTENT),
        ):
            self.assertIs(plain_meaning(json.dumps(value).encode()), expected, value)
            self.assert_agree(json.dumps(value).encode())
        self.assertIs(plain_meaning(b""), Meaning.EMPTY)
        self.assertIs(plain_meaning(b'{"error'), Meaning.CONTENT)

    def assert_agree(self, body: bytes) -> None:
        """At first sight nothing is an answer that is none by its meaning."""
        if usage_of_usual(body) is not None:
            self.assertIs(plain_meaning(body), Meaning.CONTENT, body)

    @given(st.dictionaries(_members, _values), st.dictionaries(_members, _values))
    def test_first_sight(self, one: dict[str, object], other: dict[str, object]) -> None:
        """Members of every kind, and members that stand twice."""
        self.assert_agree(json.dumps(one).encode())
        self.assert_agree(
            b"%b,%b" % (json.dumps(one).encode()[:-1], json.dumps(other).encode()[1:])
        )

    def test_usual(self) -> None:
        """Usual answers of each dialect are seen at first sight; a broken one is not."""
        for value, usage in (
            ({"object": "chat.completion", "choices": [{"finish_reason": "stop"}]}, b""),
            (
                {"choices": [{"text": "an error", "finish_reason": None}], "usage": {"detail": 1}},
                b'{"detail": 1}',
            ),
            ({"usage": {"usage": {}}, "choices": []}, b'{"usage": {}}'),
            ({"usage": None, "type": "message", "stop_reason": "end_turn"}, b"null"),
            ({"object": "response", "status": "completed", "error": None, "output": [1]}, b""),
        ):
            body = json.dumps(value).encode()
            found = usage_of_usual(body)
            assert found is not None
            self.assertEqual(bytes(found), usage)
            self.assertIsNone(usage_of_usual(body[:-1]), value)


class ErrorTests(SynchronousTestCase):
    """Error objects."""

    def test_is_error(self) -> None:
        """Only an object with a truthy error, or one that calls itself an error."""
        for data in (b'{"error":"x"}', b'{"error":{"code":1}}\r', b'{"object":"error"}'):
            self.assertTrue(is_error(data), data)
        for data in (b"", b"{", b"[]", b'"error"', b'{"error":null}', b'{"error":""}', b"{}"):
            self.assertFalse(is_error(data), data)

    def test_spelled_with_escapes(self) -> None:
        """A name or a value may be spelled with escapes."""
        for data, expected in (
            (b'{"\\u0065rror":"x"}', Meaning.ERROR),
            (b'{"d\\u0065tail":"x"}', Meaning.ERROR),
            (b'{"object":"err\\u006fr"}', Meaning.ERROR),
            (b'{"type":"response.f\\u0061iled"}', Meaning.FAILED),
        ):
            self.assertTrue(is_error(data), data)
            self.assertIs(meaning(Event(data, bare=True), CHAT), expected, data)

    def test_not_decoded(self) -> None:
        """Bare JSON without a word of an error is not decoded."""
        with patch.object(tables, "value_of", side_effect=AssertionError):
            for data in (b"{}", b'{"a":1}', b'[{"message":"x"}]'):
                self.assertFalse(is_error(data))
                self.assertIs(meaning(Event(data, bare=True), CHAT), Meaning.EMPTY, data)
            self.assertRaises(AssertionError, is_error, b'{"error":1}')

    def test_error_text(self) -> None:
        """The text, in whichever place it stands."""
        for data, text in (
            (b'{"error":"x"}', "x"),
            (b'{"error":{"message":"x"}}', "x"),
            (b'{"object":"error","message":"x"}', "x"),
            (b'{"detail":"x"}', "x"),
            (b'[{"error":{"message":"x"}}]', "x"),
            (b'{"error":{"message":5}}', None),
            (b'{"error":[]}', None),
            (b"nonsense", None),
        ):
            self.assertEqual(error_text(data), text, data)


class LongTests(SynchronousTestCase):
    """Documents over 64 KiB, of which only the members that matter are decoded."""

    def test_no_json(self) -> None:
        """What is no JSON is read again only if it has something that decoders reject."""
        for times, documents in (
            (1, (b"x\n" * 50_000, b'{"a":' * 20_000, b"{" + b'"\\n",' * 20_000)),
            (2, (b"[NaN," * 20_000, b"-Infinity " * 20_000, b'"\\ud800' * 20_000)),
        ):
            for data in documents:
                with patch.object(tables, "_long_value", wraps=tables._long_value) as read:
                    self.assertIs(meaning(Event(data), CHAT), Meaning.INVALID)
                self.assertEqual(read.call_count, times, data[:20])

    def test_rejected(self) -> None:
        """What decoders reject does not hide the rest, and makes no number of another one."""
        pad = b'"pad":"' + b"x" * 70_000 + b'"'
        for value, expected in (
            (b"NaN", Meaning.CONTENT),
            (b"[Infinity,-Infinity ,NaN]", Meaning.CONTENT),
            (b'"\\ud83d\\uDE00 \\uDFFF"', Meaning.CONTENT),
            (b'"NaN or -Infinity"', Meaning.CONTENT),
            (b"1NaN", Meaning.INVALID),
            (b"-NaN", Meaning.INVALID),
            (b"1Infinity", Meaning.INVALID),
            (b"1-Infinity", Meaning.INVALID),
            (b"NaN1", Meaning.INVALID),
            (b"NaNNaN", Meaning.INVALID),
            (b"aNaN", Meaning.INVALID),
        ):
            data = b'{"choices":[{"text":"x"}],"a":%b,%b}' % (value, pad)
            self.assertIs(meaning(Event(data), CHAT), expected, value)

    def test_events(self) -> None:
        """They mean the same as short ones."""
        pad = "x" * 70_000
        objects: list[object] = [{}] * 30_000
        for dialect, value, expected in (
            (CHAT, {"choices": [{"index": 1, "delta": {"content": pad}}]}, Meaning.CONTENT),
            (CHAT, {"choices": [{"delta": {"role": "x"}}], "pad": pad}, Meaning.EMPTY),
            (CHAT, {"choices": [{"text": pad, "finish_reason": "stop"}]}, Meaning.FINISH),
            (CHAT, {"choices": [{"text": pad, "finish_reason": "abort"}]}, Meaning.GAVE_UP),
            (CHAT, {"choices": [], "pad": pad}, Meaning.EMPTY),
            (CHAT, {"choices": objects}, Meaning.CONTENT),
            (CHAT, {"error": {"message": pad}}, Meaning.ERROR),
            (CHAT, {"error": {"code": 400}, "pad": objects}, Meaning.OWN_ERROR),
            (CHAT, {"choices": [{"text": pad}], "a": float("nan")}, Meaning.CONTENT),
            (CHAT, {"choices": [{"text": "\ud800" * 20_000}]}, Meaning.CONTENT),
            (CHAT, [pad], Meaning.EMPTY),
            (Dialect.MESSAGES, {"type": "message_stop", "pad": pad}, Meaning.DONE),
            (
                Dialect.RESPONSES,
                {"type": "response.completed", "response": {"output": pad}},
                Meaning.COMPLETED,
            ),
            (
                Dialect.RESPONSES,
                {"type": "response.done", "response": {"output": pad, "status": "failed"}},
                Meaning.GAVE_UP,
            ),
            (Dialect.RESPONSES, {"type": "response.done", "response": [pad]}, Meaning.CONTENT),
        ):
            data = json.dumps(value).encode()
            self.assertIs(meaning(Event(data), dialect), expected, data[:60])
        broken = b'{"choices":[' + b"{}," * 30_000
        self.assertIs(meaning(Event(broken), CHAT), Meaning.INVALID)

    def test_choices(self) -> None:
        """Of many long choices it is known how each has finished."""
        choices = [{"text": "x" * 50_000, "finish_reason": "stop"} for _ in range(3)]
        data = json.dumps({"choices": choices}).encode()
        self.assertEqual(read_event(Event(data), CHAT).finished, {0, 1, 2})

    def test_plain(self) -> None:
        """So do plain answers."""
        pad = "x" * 70_000
        for value, expected in (
            ({"error": 1, "pad": pad}, Meaning.ERROR),
            ({"detail": pad}, Meaning.ERROR),
            ({"choices": [{"text": pad, "finish_reason": "error"}]}, Meaning.GAVE_UP),
            ({"choices": [{"text": pad, "finish_reason": 5}]}, Meaning.CONTENT),
            ([pad], Meaning.CONTENT),
        ):
            self.assertIs(judge_document(json.dumps(value).encode()), expected)

    def test_objects(self) -> None:
        """No object is made for each of a hundred thousand of an upstream's."""
        for body in (
            b'{"choices":[' + b"{}," * 100_000 + b"{}]}",
            b'{"error":1,"choices":[' + b"{}," * 100_000 + b"{}]}",
            b'{"error":1,"a":NaN,"b":[' + b"[]," * 100_000 + b"[]]}",
            b'{"error":1,"a":[' + b"NaN," * 100_000 + b"-Infinity]}",
            b'{"error":1,"a":"' + b"\\ud800" * 100_000 + b'"}',
        ):
            tracemalloc.start()
            try:
                judge_document(body)
                meaning(Event(body), CHAT)
                self.assertLess(tracemalloc.get_traced_memory()[1], 3 * len(body))
            finally:
                tracemalloc.stop()


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
