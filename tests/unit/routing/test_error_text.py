"""Tests of the recognition of upstream error messages in all their envelopes."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing import error_text
from autopilot.routing.error_text import read_error, texts
from tests.unit.relay.profiled import calls


def _texts(value: object) -> tuple[str, ...]:
    return texts(read_error(json.dumps(value).encode()))


class TextsTests(SynchronousTestCase):
    """All texts of an error body."""

    def test_envelopes(self) -> None:
        """Strings are found in the envelopes of the platform, the engines and OpenAI."""
        for value in (
            {"detail": "Boom"},
            {"detail": {"message": "Boom", "quota_reset_timestamp": "later"}},
            {"detail": [{"loc": ["body"], "msg": "Boom", "input": "x"}]},
            {"detail": ["Boom"]},
            {"detail": {"error": {"message": "Boom"}}},
            {"error": {"message": "Boom", "param": "x", "code": None}},
            {"error": "Boom"},
            {"object": "error", "message": "Boom", "code": 400},
            {"detail": "  \tBoom\n"},
            {"detail": {"detail": {"detail": "Boom"}}},
        ):
            self.assertEqual(_texts(value), ("boom",), value)

    def test_several_texts(self) -> None:
        """Message, code and type are all returned, in a fixed order."""
        value = {"error": {"type": "T", "code": "C", "message": "M"}, "detail": "D"}
        self.assertEqual(_texts(value), ("d", "m", "c", "t"))

    def test_what_says_nothing(self) -> None:
        """Invalid or truncated JSON, non-objects and unusual members yield no strings."""
        for body in (
            b"",
            b"detail",
            b'{"detail": "Infrastructure',
            b"\xff\xfe{",
            b'{"detail":"\xff"}',
            b"[" * 100_000,
            b'{"detail":' + b"[" * 100_000,
            b"1" * 5000,
            b'["Boom"]',
            b'"Boom"',
            b"null",
            b"{}",
            b'{"detail": null}',
            b'{"detail": 1, "error": true}',
            b'{"other": "Boom"}',
        ):
            self.assertEqual(texts(read_error(body)), (), body[:30])

    def test_depth_is_bounded(self) -> None:
        """Strings below four levels of envelopes are not collected."""
        self.assertEqual(_texts({"detail": [[["Boom"]]]}), ("boom",))
        self.assertEqual(_texts({"detail": [[[["Boom"]]]]}), ())
        four = {"detail": {"detail": {"detail": {"detail": "Boom"}}}}
        self.assertEqual(_texts(four), ("boom",))
        self.assertEqual(_texts({"detail": four}), ())

    def test_work_is_bounded(self) -> None:
        """Strings are sought in the first thousand values, whatever the others are."""
        fillers: tuple[object, ...] = ({}, [], None, "", {"message": None}, [[]])
        for filler in fillers:
            self.assertIn("boom", _texts({"detail": [*[filler] * 100, "Boom"]}), filler)
            self.assertNotIn("boom", _texts({"detail": [*[filler] * 20_000, "Boom"]}), filler)
            error = read_error(json.dumps({"detail": [filler] * 20_000}).encode())
            self.assertLess(calls(texts, error), 20_000, filler)


class MeaningTests(SynchronousTestCase):
    """The error messages that are recognized."""

    def test_at_capacity(self) -> None:
        """The capacity message is recognized by its beginning."""
        self.assertTrue(
            error_text.at_capacity(("infrastructure is at maximum capacity, try again",))
        )
        self.assertTrue(error_text.at_capacity(("x", "infrastructure is at maximum capacity")))
        for text in (
            "sorry: infrastructure is at maximum capacity",
            "instance is at maximum capacity, try again later",
            "rate limit exceeded. try again later.",
            "",
        ):
            self.assertFalse(error_text.at_capacity((text,)), text)
        self.assertFalse(error_text.at_capacity(()))

    def test_no_target_left(self) -> None:
        """All four messages of a model whose replicas failed are recognized."""
        for text in (
            "exhausted all available targets to no avail",
            "no infrastructure available to serve request",
            "no infrastructure available to serve request: code=502",
            "no result returned from upstream",
            "unhandled error generating response: boom",
        ):
            self.assertTrue(error_text.no_target_left((text,)), text)
        for text in ("internal server error", "list index out of range", "no result"):
            self.assertFalse(error_text.no_target_left((text,)), text)

    def test_model_not_found(self) -> None:
        """The platform's message for an unknown model is recognized, and no other 404."""
        self.assertTrue(error_text.model_not_found(("model not found: acme/m",)))
        for text in ("no matching cord found!", "no matching chute found!", "not found"):
            self.assertFalse(error_text.model_not_found((text,)), text)

    def test_context_exceeded(self) -> None:
        """Every engine's message is recognized, also behind the platform's doubled prefix."""
        prefix = "invalid request: invalid request: "
        for text in (
            "the input (61709 tokens) is longer than the model's context length (40960 tokens).",
            "input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).",
            "requested token count exceeds the model's maximum context length of 4096 tokens.",
            "this model's maximum context length is 8192 tokens. however, you requested 9000.",
            "the decoder prompt (length 8357) is longer than the maximum model length of 8192.",
            "the prompt (total length 25938) is too long to fit into the model",
            "`inputs` tokens + `max_new_tokens` must be <= 4096. given: 5000",
            "context_length_exceeded",
            "context length exceeded",
            "your input exceeds the context window of this model.",
            "please reduce the length of the messages or completion.",
            "prompt is too long: 215000 tokens > 200000 maximum",
            "input is too long for requested model.",
            "input length and `max_tokens` exceed context limit: 1 + 2 > 3",
            "the request (5000 tokens) exceeds the available context size (4096 tokens)",
            "exceed_context_size_error",
            "prompt length exceeds the limit",
            "maximum input length is 5 tokens",
            "the context window exceeded",
            "this exceeds the model's context",
        ):
            self.assertTrue(error_text.context_exceeded((text,)), text)
            self.assertTrue(error_text.context_exceeded(("x", prefix + text)), text)

    def test_other_bad_requests(self) -> None:
        """Errors that a larger context would not avoid are not recognized as context errors."""
        for text in (
            "invalid request: invalid request: content policy violation",
            "invalid request json: expecting value",
            "file content not currently supported",
            "exceeded maximum image urls per request: 8",
            "the context is missing",
            "",
        ):
            self.assertFalse(error_text.context_exceeded((text,)), text)
        self.assertFalse(error_text.context_exceeded(()))
