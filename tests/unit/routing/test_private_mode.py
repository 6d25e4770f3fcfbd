"""Tests of the errors of requests that cannot be private."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.private_mode import PRIVATE_IS_OFF, PrivateMode, unsupported


class PrivateModeTests(SynchronousTestCase):
    """The words of the setting, and the error."""

    def test_words(self) -> None:
        """They are those of the setting."""
        self.assertEqual([each.value for each in PrivateMode], ["off", "ask", "always"])

    def test_error(self) -> None:
        """It says what to do, and that nothing was sent."""
        error = unsupported("Inline the image.", "messages")
        self.assertEqual(
            (error.status, error.code, error.param), (400, "private_unsupported", "messages")
        )
        self.assertEqual(error.message, "Inline the image. Nothing was sent.")
        self.assertIn("PRIVATE", PRIVATE_IS_OFF.message)
