"""Tests of the dialects: their names, and in which one an error is written."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import COUNT_TOKENS, MESSAGES_PATH, Dialect, error_dialect


class DialectTests(SynchronousTestCase):
    """The three APIs."""

    def test_names(self) -> None:
        """A dialect is found by its name, and by itself."""
        self.assertEqual([str(each) for each in Dialect], ["completions", "messages", "responses"])
        for each in Dialect:
            self.assertIs({each: each}[Dialect(each.value)], each)


class ErrorDialectTests(SynchronousTestCase):
    """The dialect of errors at a path, which need not exist."""

    def test_anthropic(self) -> None:
        """At Anthropic's endpoint and below it an error is Anthropic's."""
        for path in (MESSAGES_PATH, COUNT_TOKENS, b"/v1/messages/", b"/v1/messages/no/such"):
            self.assertIs(error_dialect(path), Dialect.MESSAGES, path)

    def test_others(self) -> None:
        """Elsewhere it is none of a dialect's, however similar the path."""
        for path in (
            *(b"", b"/", b"/v1", b"/v1/message", b"/v1/messagesX", b"/v1/messages2/x"),
            *(b"/v1/MESSAGES", b"/x/v1/messages", b"v1/messages", b"/v1/messages%2F"),
            *(b"/v1/chat/completions", b"/v1/responses"),
        ):
            self.assertIsNone(error_dialect(path), path)
