"""Comparison: which differences are reported, and which are ignored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.live.compare import Delta, compare
from tests.rigs.live.observe import Observation, observe
from tests.rigs.live.redact import Redactor
from tests.rigs.live.reply import Reply

HEADERS = (("content-type", "application/json"),)
SSE = (("content-type", "text/event-stream"),)


def seen(
    body: Any, status: int = 200, headers: Sequence[tuple[str, str]] = HEADERS, end: str = "whole"
) -> Observation:
    """Return an observation with a JSON body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return observe(Reply(status, tuple(headers), data, end), Redactor(lambda _: None, ["acme/one"]))


def stream(*events: Any, end: str = "[DONE]") -> Observation:
    """Return an observation with these events."""
    data = [f"data: {json.dumps(each)}\n\n" for each in events] + [f"data: {end}\n\n"] * bool(end)
    return seen("".join(data).encode(), headers=SSE)


def chunk(number: str = "a", /, **delta: Any) -> dict[str, Any]:
    """Return a chunk of a completion."""
    return {"id": number, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


ROLE = chunk(role="assistant", content="")
FINISH = {"id": "a", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USAGE = {"id": "a", "choices": [], "usage": {"total_tokens": 1}}


class WholeTests(SynchronousTestCase):
    """Unary responses."""

    def assert_deltas(
        self, one: Observation, other: Observation, *expected: tuple[str, ...]
    ) -> None:
        """Assert the differences, where `one` is the platform's response and `other` the stub's."""
        self.assertEqual(compare(one, [other]), [Delta(*each) for each in expected])

    def test_nothing(self) -> None:
        """Other values of the same types are no difference, nor are fields of the connection."""
        one = seen({"id": "a1", "n": 7, "list": [1, 2]}, headers=(*HEADERS, ("Date", "x")))
        self.assert_deltas(one, seen({"id": "b", "n": 1, "list": [3]}))

    def test_status_and_type(self) -> None:
        """A different status and type are both reported, and the body once."""
        page = seen(b"<html><center>nginx</center>", 429, (("content-type", "text/html"),))
        self.assert_deltas(
            page, seen({"detail": "No."}, 401),
            ("status", "401", "429"),
            ("content type", "application/json", "text/html"),
            ("body", "JSON", "page of the ingress"),
        )  # fmt: skip

    def test_another_kind_of_answer(self) -> None:
        """A refusal in place of a success is reported as such, not member by member."""
        refusal = seen({"detail": "No."}, 400, (*HEADERS, ("Retry-After", "1")))
        success = seen({"choices": [], "usage": {}}, 200, (*HEADERS, ("X-Chutes-RL-User", "60")))
        self.assert_deltas(
            refusal, success,
            ("status", "200", "400"),
            ("header retry-after", "absent", "present: 1"),
            ("body", "another kind of answer", "JSON"),
            ("body $.detail", "absent", "“No.”"),
        )  # fmt: skip

    def test_headers(self) -> None:
        """New and missing header names are reported, values only if they are harmless."""
        one = seen({}, headers=(*HEADERS, ("Retry-After", "30"), ("X-Trace-Id", "8f0b8f0b8f0b")))
        other = seen({}, headers=(*HEADERS, ("X-Chutes-RL-User", "60")))
        self.assert_deltas(
            one, other,
            ("header retry-after", "absent", "present: 30"),
            ("header x-trace-id", "absent", "present: <redacted hexadecimal, 12 characters>"),
            ("header x-chutes-rl-user", "present", "absent"),
        )  # fmt: skip

    def test_members(self) -> None:
        """New and missing members and other types are reported; a new object only as a whole."""
        one = seen({"a": "x", "new": {"deep": 1}, "list": [{"here": 1}, {"here": None}]})
        other = seen({"a": 1, "gone": [1], "list": [{"here": 2, "seldom": 1}, {"here": 2}]})
        self.assert_deltas(
            one, other,
            ("body $.a", "integer", "string"),
            ("body $.gone", "array", "absent"),
            ("body $.list[].here", "integer", "integer or null"),
            ("body $.new", "absent", "object"),
        )  # fmt: skip

    def test_texts(self) -> None:
        """Error texts are compared without names, numbers and ids."""
        known = seen({"detail": "model not found: acme/one, code 7"}, 404)
        same = seen({"detail": "model not found: acme/one, code 12"}, 404)
        self.assert_deltas(same, known)
        other = seen({"detail": "no such model: acme/one"}, 404)
        self.assert_deltas(
            other, known,
            ("body $.detail", "“model not found: {model}, code <hidden>”",
             "“no such model: {model}”"),
        )  # fmt: skip

    def test_detail_of_another_type(self) -> None:
        """An object in place of a string is reported."""
        self.assert_deltas(
            seen({"detail": {"message": "No."}}, 402), seen({"detail": "No."}, 402),
            ("body $.detail", "string", "object"),
        )  # fmt: skip

    def test_end(self) -> None:
        """A truncated body is reported."""
        self.assert_deltas(
            seen({"a": 1}, end="cut"), seen({"a": 1}), ("end of the body", "whole", "cut")
        )

    def test_integers_are_numbers(self) -> None:
        """An integer is accepted where the stub has a number, but not the reverse."""
        self.assert_deltas(seen({"count": 0}), seen({"count": 0.5}))
        self.assert_deltas(
            seen({"count": 0.5}), seen({"count": 0}), ("body $.count", "integer", "number")
        )


class StreamTests(SynchronousTestCase):
    """Streams."""

    def test_chance(self) -> None:
        """The number of tokens, and of reasoning tokens, may vary."""
        one = stream(ROLE, chunk(content="a"), chunk(content="b"), FINISH, USAGE)
        other = stream(ROLE, chunk(reasoning_content="a"), chunk(content="b"), FINISH, USAGE)
        self.assertEqual(compare(one, [other]), [])
        self.assertEqual(compare(stream(ROLE, FINISH, USAGE), [other]), [])
        [delta] = compare(other, [one])
        self.assertEqual((delta.field, delta.seen), ("reasoning event", "present"))

    def test_order(self) -> None:
        """A missing usage event and another order of events are reported."""
        known = stream(ROLE, chunk(content="a"), FINISH, USAGE)
        [delta] = compare(stream(ROLE, chunk(content="a"), FINISH), [known])
        self.assertEqual(delta.field, "order of events")
        self.assertEqual(delta.seen, "role → finish → [DONE]")

    def test_end(self) -> None:
        """A missing end mark, an error event and bare JSON are reported."""
        known = stream(ROLE, FINISH)
        self.assertEqual(
            compare(stream(ROLE, FINISH, end=""), [known])[0],
            Delta("end of the stream", "[DONE]", "finish"),
        )
        error = stream(ROLE, {"error": {"message": "broken"}}, end="")
        self.assertIn(Delta("end of the stream", "[DONE]", "error"), compare(error, [known]))
        bare = seen(b'data: {"id":"a","choices":[]}\n\n{"error":"broken"}', headers=SSE)
        self.assertEqual(bare.stream and bare.stream.kinds, ["usage", "bare JSON"])

    def test_splice(self) -> None:
        """A second generation has an id of its own."""
        one = stream(ROLE, chunk(content="a"), chunk("b", role="assistant", content=""), FINISH)
        fields = [each.field for each in compare(one, [stream(ROLE, chunk(content="a"), FINISH)])]
        self.assertEqual(fields, ["chunk ids in one stream", "order of events"])

    def test_shapes_of_events(self) -> None:
        """Members are compared separately for each kind of event."""
        one = stream(ROLE, chunk(content="a") | {"usage": None}, FINISH)
        other = stream(ROLE, chunk(content="a"), FINISH)
        self.assertEqual(compare(one, [other]), [Delta("content event $.usage", "absent", "null")])

    def test_line_ends_and_comments(self) -> None:
        """Neither CRLF nor a comment changes the kinds of events."""
        plain = stream(ROLE, FINISH)
        text = (
            f": ping\n\ndata: {json.dumps(ROLE)}\n\ndata: {json.dumps(FINISH)}\n\ndata: [DONE]\n\n"
        )
        other = seen(text.replace("\n", "\r\n").encode(), headers=SSE)
        self.assertEqual(compare(other, [plain]), [])
