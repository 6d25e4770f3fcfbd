"""Tests of the streams of each API, in both engines' formats."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.stub_backend.exchange import Exchange

QUESTION = hashlib.sha256(b"What is the weather?").hexdigest()


def streamed(model: str, path: str = "/v1/chat/completions", **members: Any) -> list[Any]:
    """Return the events of one streamed call, with the terminator as text."""
    answer = Exchange().ask(model, path=path, stream=True, **members)
    assert answer is not None
    return [each if each == "[DONE]" else json.loads(each) for each in answer.events()]


class ChatTests(SynchronousTestCase):
    """Chat and text completions."""

    def test_order(self) -> None:
        """The stream has role, content, finish reason, usage without choices, and terminator."""
        for model in ("stub/ok", "stub/ok-vllm"):
            role, *tokens, finish, usage, done = streamed(model)
            self.assertEqual(role["choices"][0]["delta"]["role"], "assistant")
            self.assertTrue(all(each["choices"][0]["delta"]["content"] for each in tokens))
            self.assertEqual(finish["choices"][0]["finish_reason"], "stop")
            self.assertEqual(usage["choices"], [])
            self.assertEqual(usage["usage"]["completion_tokens"], len(tokens))
            self.assertEqual(done, "[DONE]")

    def test_says_who_and_what(self) -> None:
        """The text names the model and the hash of the last user message."""
        _, first, second, *_ = streamed("stub/ok")
        said = first["choices"][0]["delta"]["content"] + second["choices"][0]["delta"]["content"]
        self.assertIn("stub/ok", said)
        self.assertIn(QUESTION, said)

    def test_engines_differ(self) -> None:
        """SGLang has matched_stop and reasoning_content, vLLM stop_reason and reasoning."""
        sglang, vllm = streamed("stub/reasoning"), streamed("stub/reasoning-vllm")
        self.assertIn("matched_stop", sglang[1]["choices"][0])
        self.assertIn("reasoning_content", sglang[1]["choices"][0]["delta"])
        self.assertIn("reasoning_tokens", sglang[1]["usage"])
        self.assertIn("stop_reason", vllm[1]["choices"][0])
        self.assertIn("reasoning", vllm[1]["choices"][0]["delta"])
        self.assertEqual(len(vllm[1]["chutes_verification"]), 32)

    def test_running_usage(self) -> None:
        """Every chunk after the first has the running usage."""
        tokens = streamed("stub/ok")[1:-3]
        totals = [each["usage"]["completion_tokens"] for each in tokens]
        self.assertEqual(totals, list(range(1, len(tokens) + 1)))

    def test_completion_limit(self) -> None:
        """A limit truncates the response, with `length` as the finish reason."""
        events = streamed("stub/ok", max_tokens=3)
        self.assertEqual(events[-3]["choices"][0]["finish_reason"], "length")
        self.assertEqual(events[-2]["usage"]["completion_tokens"], 3)

    def test_tool_call(self) -> None:
        """The joined fragments of a tool call are JSON, for the offered tool."""
        tools = [{"type": "function", "function": {"name": "weather"}}]
        events = streamed("stub/tool-call", tools=tools)[1:-3]
        calls = [each["choices"][0]["delta"]["tool_calls"][0]["function"] for each in events]
        self.assertEqual(calls[0]["name"], "weather")
        self.assertIn("city", json.loads("".join(each["arguments"] for each in calls)))

    def test_structured(self) -> None:
        """The text is JSON, in fragments."""
        tokens = streamed("stub/structured")[1:-3]
        said = [each["choices"][0]["delta"]["content"] for each in tokens]
        self.assertGreater(len(said), 1)
        self.assertEqual(json.loads("".join(said)), {"city": "Oslo", "days": 3})

    def test_text(self) -> None:
        """Text completions have text, and no role event."""
        first, *_, done = streamed("stub/ok", "/v1/completions", prompt="hi")
        self.assertEqual(first["object"], "text_completion")
        self.assertTrue(first["choices"][0]["text"])
        self.assertEqual(done, "[DONE]")

    def test_plain(self) -> None:
        """A plain response has the same text as the stream."""
        answer = Exchange().ask("stub/ok")
        assert answer is not None
        tokens = streamed("stub/ok")[1:-3]
        text = "".join(each["choices"][0]["delta"]["content"] for each in tokens)
        self.assertEqual(answer.json()["choices"][0]["message"]["content"], text)


class TypedTests(SynchronousTestCase):
    """Messages and Responses: typed events."""

    def test_messages(self) -> None:
        """The stream goes from message_start to message_stop; each block starts and stops."""
        for model, blocks in (("stub/ok", 1), ("stub/reasoning", 2), ("stub/tool-call", 1)):
            types = [each["type"] for each in streamed(model, "/v1/messages")]
            self.assertEqual((types[0], types[-1]), ("message_start", "message_stop"))
            self.assertEqual(types.count("content_block_start"), blocks)
            self.assertEqual(types.count("content_block_stop"), blocks)

    def test_responses(self) -> None:
        """The stream goes from created to completed, numbered without gaps."""
        for model, items in (("stub/ok", 1), ("stub/reasoning", 2), ("stub/tool-call", 1)):
            events = streamed(model, "/v1/responses", input="hi")
            types = [each["type"] for each in events]
            numbers = [each["sequence_number"] for each in events]
            self.assertEqual((types[0], types[-1]), ("response.created", "response.completed"))
            self.assertEqual(numbers, list(range(len(events))))
            self.assertEqual(types.count("response.output_item.added"), items)
            self.assertEqual(types.count("response.output_item.done"), items)

    def test_whole(self) -> None:
        """Plain responses have their API's format."""
        message = Exchange().ask("stub/tool-call", path="/v1/messages")
        response = Exchange().ask("stub/ok", path="/v1/responses", input="hi")
        assert message is not None
        assert response is not None
        self.assertEqual(message.json()["stop_reason"], "tool_use")
        self.assertEqual(response.json()["output"][0]["content"][0]["type"], "output_text")

    def test_errors_in_streams(self) -> None:
        """Each API's error event has its own format."""
        self.assertIn("error", streamed("stub/error-event-mid")[-1])
        for path in ("/v1/messages", "/v1/responses"):
            self.assertEqual(streamed("stub/error-event-mid", path)[-1]["type"], "error")


class MembersTests(SynchronousTestCase):
    """The other members of a chunk."""

    def test_unknown_members(self) -> None:
        """Every chunk has hashes, and a member that no API defines."""
        for event in streamed("stub/extra-keys")[:-1]:
            self.assertEqual(len(event["prompt_sha256"]), 64)
            self.assertIn("of_next_year", event)

    def test_details_of_the_prompt(self) -> None:
        """The details of usage are null until the last chunk, with both engines."""
        for model in ("stub/ok", "stub/ok-vllm"):
            *counting, last = (each["usage"] for each in streamed(model)[1:-1])
            self.assertEqual({each["prompt_tokens_details"] for each in counting}, {None})
            self.assertEqual(last["prompt_tokens_details"], {"cached_tokens": 0})

    def test_usage_in_the_end(self) -> None:
        """Without forced usage only the last chunk contains it."""
        *before, last = streamed("stub/usage-last")[:-1]
        self.assertEqual({each["usage"] for each in before}, {None})
        self.assertEqual(last["usage"]["completion_tokens"], len(before) - 2)

    def test_usage_if_asked(self) -> None:
        """The last chunk is sent if the caller asks; the others have null with SGLang alone."""
        for path in ("/v1/chat/completions", "/v1/completions"):
            for model, members in (("stub/usage-asked", {None}), ("stub/usage-asked-vllm", set())):
                *silent, _ = streamed(model, path)
                *before, last, _ = streamed(model, path, stream_options={"include_usage": True})
                said = {each["usage"] for each in silent if "usage" in each}
                self.assertEqual((said, len(silent)), (members, len(before)), model)
                self.assertEqual((last["choices"], bool(last["usage"])), ([], True), model)

    def test_tool_call_of_vllm(self) -> None:
        """Send the same call to the other engine."""
        _, first, *_ = streamed("stub/tool-call-vllm")
        self.assertIn("tool_calls", first["choices"][0]["delta"])
        self.assertIn("stop_reason", first["choices"][0])

    def test_trace(self) -> None:
        """A trace has its own events, then the response's events as text."""
        first, second, *results = streamed("stub/trace-envelope")
        self.assertEqual({*first, *second}, {"trace"})
        self.assertEqual(results[-1], {"result": "data: [DONE]\n\n"})
        exchange = Exchange()
        headers = {"x-chutes-trace": "true"}
        exchange.send("POST", "/v1/chat/completions", b'{"model":"stub/ok"}', headers)
        exchange.run()
        answer = exchange.answer()
        assert answer is not None
        self.assertEqual(answer.content_type, "text/event-stream")
        whole = json.loads(json.loads(answer.events()[-1])["result"])
        self.assertEqual(whole["object"], "chat.completion")
