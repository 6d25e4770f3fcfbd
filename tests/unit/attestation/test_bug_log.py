"""Tests of the log entry for a bug of ours."""

from __future__ import annotations

from twisted.logger import Logger, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.bug_log import log_bug


def raise_canary() -> None:
    """Raise an exception whose text must not be logged."""
    raise ValueError("canary")


class BugLogTests(SynchronousTestCase):
    """`log_bug`."""

    def test_entry(self) -> None:
        """Type and place are logged, and nothing of the text."""
        with capturedLogs() as logs:
            try:
                raise_canary()
            except ValueError:
                log_bug(Logger(), "a test ran", Failure())
        text = formatEvent(logs[0])
        self.assertRegex(
            text,
            r"Internal error while a test ran: ValueError in raise_canary, test_bug_log.py:\d+;",
        )
        self.assertNotIn("canary'", repr(logs))
        self.assertNotIn('("canary', repr(logs))

    def test_no_frames(self) -> None:
        """A failure that was never raised has no place."""
        with capturedLogs() as logs:
            log_bug(Logger(), "a test ran", Failure(KeyError("secret")))
        self.assertIn("KeyError in an unknown place", formatEvent(logs[0]))
        self.assertNotIn("secret", repr(logs))
