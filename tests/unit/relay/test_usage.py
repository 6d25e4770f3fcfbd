"""The usage that an answer reports, and how many events it has."""

from __future__ import annotations

import json
import tracemalloc
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay.usage import count_events, read_usage, reported_usage
from autopilot.routing.usage import Usage
from tests.unit.relay.chunks import halves

CHAT, MESSAGES, RESPONSES = Dialect.COMPLETIONS, Dialect.MESSAGES, Dialect.RESPONSES


class ReadTests(SynchronousTestCase):
    """The value of one ``usage`` member."""

    def test_flavours(self) -> None:
        """Each dialect and each engine has names of its own."""
        for value, usage in (
            ({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}, Usage(9, None, 2)),
            ({"prompt_tokens": 9, "completion_tokens": 2, "reasoning_tokens": 1},
             Usage(9, None, 2, 1)),
            ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": None},
             Usage(9, None, 2)),
            ({"prompt_tokens": 9, "completion_tokens": 2,
              "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
              "completion_tokens_details": {"reasoning_tokens": 1, "audio_tokens": None}},
             Usage(9, 4, 2, 1)),
            ({"prompt_tokens": 9, "completion_tokens": 2, "cached_tokens": 8}, Usage(9, 8, 2)),
            ({"prompt_tokens": 9, "total_tokens": 9}, Usage(9)),
            ({"input_tokens": 9, "output_tokens": 2}, Usage(9, None, 2)),
            ({"input_tokens": 9, "cache_read_input_tokens": 100,
              "cache_creation_input_tokens": 20, "output_tokens": 2}, Usage(129, 100, 2)),
            ({"input_tokens": 9, "cache_creation_input_tokens": 20}, Usage(29)),
            ({"input_tokens": 9, "cache_read_input_tokens": None,
              "cache_creation_input_tokens": None}, Usage(9)),
            ({"output_tokens": 2}, Usage(None, None, 2)),
            ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 2,
              "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 11},
             Usage(9, 4, 2, 1)),
            ({"prompt_tokens": 0, "completion_tokens": 0,
              "prompt_tokens_details": {"cached_tokens": 0}}, Usage(0, 0, 0)),
        ):  # fmt: skip
            self.assertEqual(read_usage(json.dumps(value).encode()), usage, value)

    def test_nothing(self) -> None:
        """What reports no count is none."""
        for raw in (b"", b"null", b"{}", b"[]", b"7", b'"x"', b"{", b'{"total_tokens":3}', b"\xff",
                    b'{"prompt_tokens":null}', b"[" * 1500, b'{"a":' * 300):  # fmt: skip
            self.assertIsNone(read_usage(raw), raw)

    def test_hostile(self) -> None:
        """What is no count that an answer can have is unknown, and the others are kept."""
        for bad in ("-1", "1000000000", "1" * 400, '"12"', "NaN", "Infinity", "true", "[]", "{}",
                    "1.5", "1e400", '{"prompt_tokens":1}'):  # fmt: skip
            raw = b'{"prompt_tokens":%b,"completion_tokens":2}' % bad.encode()
            self.assertEqual(read_usage(raw), Usage(None, None, 2), raw)
            raw = b'{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":%b}}' % bad.encode()
            self.assertEqual(read_usage(raw), Usage(9), raw)
        self.assertEqual(read_usage(b'{"prompt_tokens":9,"prompt_tokens_details":7}'), Usage(9))
        most = b'{"prompt_tokens":999999999,"completion_tokens":0}'
        self.assertEqual(read_usage(most), Usage(999_999_999, None, 0))

    def test_more_cached_than_prompt(self) -> None:
        """More tokens cannot be cached than there are: a cost would fall below zero."""
        raw = b'{"prompt_tokens":4,"prompt_tokens_details":{"cached_tokens":%d}}'
        self.assertEqual(read_usage(raw % 4), Usage(4, 4))
        self.assertEqual(read_usage(raw % 5), Usage(4))

    def test_long(self) -> None:
        """A value of more than 2 KiB is not read."""
        pad = b'{"prompt_tokens":4,"pad":"%b"}'
        self.assertEqual(read_usage(pad % (b"x" * 2000)), Usage(4))
        self.assertIsNone(read_usage(pad % (b"x" * 2048)))


class ReportedTests(SynchronousTestCase):
    """The usage in the first and last bytes of an answer."""

    def assert_reported(
        self, usage: Usage | None, latest: bytes, dialect: Dialect = CHAT, opening: bytes = b""
    ) -> None:
        """Check what the bytes report."""
        self.assertEqual(reported_usage(dialect, opening or latest[:2048], latest), usage, latest)

    def test_last(self) -> None:
        """Of running totals the last one counts; without a total, or cut, the one before."""
        one, two = b'"usage":{"completion_tokens":1}', b'"usage" : {"completion_tokens":2}'
        for latest in (
            one + two,
            one + two + b'"usage":null',
            one + two + b'"usage":{}',
            two + b'"usage":{"completion_tokens":3',
            two + b'"usage":{"x":{"y":{}}}',
            two + b'"usage":"{}"',
            two + b'"usage"',
            two + b'"usage":{"a":NaN}',
        ):
            self.assert_reported(Usage(completion=2), latest)  # fmt: skip

    def test_quoted(self) -> None:
        """A text or a tool's arguments that quote a usage report none."""
        text = json.dumps('{"usage":{"completion_tokens":5}}').encode()
        self.assert_reported(None, b'data: {"choices":[{"delta":{"content":%b}}]}' % text)

    def test_nested(self) -> None:
        """The object ends where its own brace does."""
        inner = (
            b'"usage":{"a":{"b":1},"completion_tokens":2,"prompt_tokens_details":{}},"z":{"q":1}'
        )
        self.assert_reported(Usage(completion=2), inner)

    def test_responses(self) -> None:
        """The response that is complete holds its usage, behind those that have none yet."""
        usage = b'"usage":{"input_tokens":9,"output_tokens":2},"user":null,"metadata":{}}}\n\n'
        latest = b'data: {"response":{"usage":null}}\n\ndata: {"response":{' + usage
        self.assert_reported(Usage(9, None, 2), latest, RESPONSES)

    def test_messages(self) -> None:
        """The first event reports the prompt, the last but one the answer."""
        start = (
            b'data: {"message":{"usage":{"input_tokens":9,"cache_read_input_tokens":90,'
            b'"cache_creation_input_tokens":1,"cache_creation":{"x":0},"output_tokens":1}}}\n\n'
        )
        delta = b'data: {"type":"message_delta","usage":{"output_tokens":12}}\n\n'
        self.assert_reported(Usage(100, 90, 12), start + delta, MESSAGES)
        self.assert_reported(Usage(100, 90, 12), delta, MESSAGES, start)
        self.assert_reported(Usage(100, 90, 1), start, MESSAGES)
        self.assert_reported(Usage(None, None, 12), delta, MESSAGES, b"data")
        self.assert_reported(Usage(100, 90, 1), b"data", MESSAGES, start)
        self.assert_reported(None, b"data", MESSAGES)

    def test_messages_told_twice(self) -> None:
        """The prompt of the last event counts, unless only the first event knew the cache."""
        start = b'data: {"usage":{"input_tokens":9%b,"output_tokens":0}}'
        cached = b',"cache_read_input_tokens":3'
        delta = b'{"usage":{"input_tokens":10%b,"output_tokens":12}}'
        for first, last, usage in (
            (start % b"", delta % b"", Usage(10, None, 12)),
            (start % cached, delta % b"", Usage(12, 3, 12)),
            (start % b"", delta % cached, Usage(13, 3, 12)),
            (start % cached, delta % cached, Usage(13, 3, 12)),
        ):
            self.assert_reported(usage, last, MESSAGES, first)

    def test_plain_message_with_a_tool(self) -> None:
        """The input of a tool says nothing about the tokens of a plain message."""
        for blanks in (b"", b"\r\n "):
            tool = {"usage": {"input_tokens": 2, "cache_read_input_tokens": 1}}
            usage = {"input_tokens": 50, "output_tokens": 20}
            answer = {"content": [{"type": "tool_use", "input": tool}], "usage": usage}
            body = blanks + json.dumps(answer).encode()
            self.assertEqual(reported_usage(MESSAGES, body, body), Usage(50, None, 20))

    def test_linear(self) -> None:
        """Hostile bytes are looked at in few places, and in each only so far."""
        for unit in (b'"usage":null', b'"usage":{', b'"usage":{}', b'"usage":{"a":{}', b"{", b"{}"):
            many = b'"usage":{"prompt_tokens":1}' + unit * (65536 // len(unit))
            looks = 0

            def counted(raw: bytes) -> Usage | None:
                nonlocal looks
                looks += 1
                self.assertLessEqual(len(raw), 2048)
                return read_usage(raw)

            with patch("autopilot.relay.usage.read_usage", counted):
                reported_usage(CHAT, many[:2048], many)
            self.assertLessEqual(looks, 32, unit)


class EventTests(SynchronousTestCase):
    """The number of events, where the upstream does not count."""

    def test_line_ends(self) -> None:
        """Each of the three line ends, wherever the chunks are cut."""
        for end in (b"\n", b"\r\n", b"\r"):
            stream = (b"data: x" + end + end) * 3
            for chunks in halves(stream):
                before, events = b"", 0
                for chunk in chunks:
                    events += count_events(before, chunk)
                    before += chunk
                self.assertEqual(events, 3, chunks)

    def test_memory(self) -> None:
        """Counting makes no object for an event: a chunk may consist of thousands of ends."""
        for unit in (b"\n", b"\r", b"\r\n", b"data: x\r\n\r\n"):
            chunk = unit * (65536 // len(unit))
            tracemalloc.start()
            try:
                count_events(b"", chunk)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            self.assertLess(peak, 3 * len(chunk), unit)
