"""Which JSON is an error, and its text."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay import dialect, long_document
from autopilot.relay.dialect import meaning
from autopilot.relay.error_objects import error_text, is_error
from autopilot.relay.meaning import Meaning
from autopilot.relay.sse import Event

CHAT = Dialect.COMPLETIONS


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
        raises = AssertionError
        with (
            patch.object(dialect, "value_of", side_effect=raises),
            patch.object(long_document, "value_of", side_effect=raises),
        ):
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
