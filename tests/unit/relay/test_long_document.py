"""Documents that are too long to be decoded as a whole."""

from __future__ import annotations

import json
import tracemalloc
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay import long_document
from autopilot.relay.dialect import meaning, read_event
from autopilot.relay.meaning import Meaning
from autopilot.relay.plain_answer import judge_document
from autopilot.relay.sse import Event

CHAT = Dialect.COMPLETIONS


class LongTests(SynchronousTestCase):
    """Documents over 64 KiB, of which only the members that matter are decoded."""

    def test_no_json(self) -> None:
        """What is no JSON is read again only if it has something that decoders reject."""
        for times, documents in (
            (1, (b"x\n" * 50_000, b'{"a":' * 20_000, b"{" + b'"\\n",' * 20_000)),
            (2, (b"[NaN," * 20_000, b"-Infinity " * 20_000, b'"\\ud800' * 20_000)),
        ):
            for data in documents:
                with patch.object(
                    long_document, "_long_value", wraps=long_document._long_value
                ) as read:
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
