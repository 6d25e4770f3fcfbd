"""Tests of the warnings about valid settings that leave no room for what they should."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import Settings, settings_warnings


class SecondAttemptTests(SynchronousTestCase):
    """The time and the number of attempts."""

    def warned(self, **given: Any) -> list[str]:
        """Return the setting and value with which each warning begins."""
        found = settings_warnings(Settings(**given))
        for text in found:
            self.assertIn(" leaves no room for a second attempt", text)
            self.assertNotIn("\n", text)
        return [text.partition(" ")[0] for text in found]

    def test_defaults(self) -> None:
        """The defaults leave room."""
        self.assertEqual(settings_warnings(Settings()), ())

    def test_one_attempt(self) -> None:
        """With one attempt allowed the times do not matter."""
        self.assertEqual(self.warned(max_attempts=1), ["MAX_ATTEMPTS=1"])
        self.assertEqual(self.warned(max_attempts=1, total_deadline_ms=1), ["MAX_ATTEMPTS=1"])
        self.assertEqual(self.warned(max_attempts=2), [])

    def test_streams(self) -> None:
        """Either time that ends an attempt at a stream leaves room, if it is short enough."""
        for total, expected in ((12_001, []), (12_000, ["FAILOVER_AFTER_MS=12000"])):
            given = {"total_deadline_ms": total, "upstream_unary_timeout_ms": 5000}
            self.assertEqual(self.warned(**given), expected)
            self.assertEqual(self.warned(**given, upstream_header_timeout_ms=11_999), [])

    def test_plain_requests(self) -> None:
        """Either time that ends an attempt at a plain answer leaves room, if it is short enough."""
        for total, expected in ((180_001, []), (180_000, ["PLAIN_FAILOVER_AFTER_MS=180000"])):
            self.assertEqual(self.warned(total_deadline_ms=total), expected)
            given = {"total_deadline_ms": total, "upstream_unary_timeout_ms": 179_999}
            self.assertEqual(self.warned(**given), [])
        given = {"total_deadline_ms": 100_000, "upstream_unary_timeout_ms": 100_000}
        self.assertEqual(self.warned(**given), ["UPSTREAM_UNARY_TIMEOUT_MS=100000"])

    def test_all(self) -> None:
        """Each kind of request has its own warning, which names the deadline too."""
        found = settings_warnings(Settings(total_deadline_ms=2000))
        self.assertEqual(len(found), 3)
        self.assertEqual(
            found[0],
            "UPSTREAM_CONNECT_TIMEOUT_MS=2000 leaves no room for a second attempt after an"
            " unreachable model, as TOTAL_DEADLINE_MS=2000 is not longer; lower"
            " UPSTREAM_CONNECT_TIMEOUT_MS or raise TOTAL_DEADLINE_MS",
        )


class BodyTests(SynchronousTestCase):
    """The longest body."""

    def test_no_room(self) -> None:
        """One body of the size allowed must fit."""
        for buffered, count in ((99, 1), (100, 0), (101, 0)):
            found = settings_warnings(Settings(max_buffered_bytes=buffered, max_request_bytes=100))
            self.assertEqual(len(found), count)
            for text in found:
                self.assertTrue(text.startswith("MAX_BUFFERED_BYTES=99 leaves no room for a body"))


class AliasTests(SynchronousTestCase):
    """A name that clients can ask for."""

    def test_patterns_only(self) -> None:
        """One name among the patterns is enough; without one there is a warning."""
        for aliases in (("auto",), ("gpt-*", "auto"), ("auto", "gpt-*", "claude-*")):
            self.assertEqual(settings_warnings(Settings(aliases=aliases)), ())
        self.assertEqual(
            settings_warnings(Settings(aliases=("gpt-*", "claude-*"))),
            (
                (
                    "ALIASES='gpt-*,claude-*' has patterns only, and GET /v1/models lists none of"
                    " them; add a name for the router's choice, such as chutesai/AutoPilot"
                ),
            ),
        )
