"""How many tokens an answer has."""

from __future__ import annotations

import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.usage import answer_tokens, count_events
from tests.unit.relay.chunks import halves


class UsageTests(SynchronousTestCase):
    """The upstream's own count."""

    def test_dialects(self) -> None:
        """Each dialect has its own word."""
        for text in (
            b'data: {"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}\n\n',
            b'data: {"type":"message_delta","usage":{"output_tokens": 12}}\n\n',
            b'data: {"response":{"usage":{"input_tokens":1,"output_tokens"\t:\n12}}}\n\n',
            b'data: {"usage":{"completion_tokens":12,"completion_tokens_details":null}}\n\n',
        ):
            self.assertEqual(answer_tokens(text), 12)

    def test_last(self) -> None:
        """Running counts: the last one is the whole."""
        self.assertEqual(answer_tokens(b'"completion_tokens":1} "completion_tokens":2}'), 2)

    def test_none(self) -> None:
        """No count, a count cut in two, and one that is quoted within a text."""
        for text in (
            b"",
            b'"usage":null',
            b'"completion_tokens":',
            b'"completion_tokens":-1',
            b'"completion_tokens":"12"',
            b'"completion_tokens":1234567890123',
            b'{"content":"\\"completion_tokens\\":12"}',
        ):
            self.assertIsNone(answer_tokens(text), text)


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
