"""Tests of the errors of requests that cannot be private."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.private_mode import (
    PRIVATE_ALIAS,
    PRIVATE_IS_OFF,
    PrivateMode,
    asks_for_private,
    unsupported,
)
from autopilot.settings import private as settings


class PrivateModeTests(SynchronousTestCase):
    """The words of the setting, and the error."""

    def test_words(self) -> None:
        """They are those of the setting."""
        self.assertEqual([each.value for each in PrivateMode], ["off", "ask", "always"])

    def test_alias(self) -> None:
        """Settings, which are below routing, know the alias by the same name."""
        self.assertEqual(PRIVATE_ALIAS, settings.PRIVATE_ALIAS)
        self.assertTrue(asks_for_private(PRIVATE_ALIAS.swapcase()))
        slips = ("AutoPilot_Private", "autopilot\u2011private", "auto-pilot private:x")
        for text in (*slips, "a,AUTOPILOTPRIVATE,b", "auto\u200bpilot\u2014private"):
            self.assertTrue(asks_for_private(text), text)
        others = ("autopilot,private/b", "auto-pilot-x-private", "private-autopilot")
        for text in ("chutesai/AutoPilot", "private", *others):
            self.assertFalse(asks_for_private(text), text)

    def test_error(self) -> None:
        """It says what to do, and that nothing was sent."""
        error = unsupported("Inline the image.", "messages")
        self.assertEqual(
            (error.status, error.code, error.param), (400, "private_unsupported", "messages")
        )
        self.assertEqual(error.message, "Inline the image. Nothing was sent.")
        self.assertIn("PRIVATE", PRIVATE_IS_OFF.message)
