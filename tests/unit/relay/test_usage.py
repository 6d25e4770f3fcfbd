"""How many tokens an answer has."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.usage import answer_tokens


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
