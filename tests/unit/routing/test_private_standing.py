"""Tests of what is known of models in private mode."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.private_standing import NOTHING_KNOWN, PrivateStanding


class PrivateStandingTests(SynchronousTestCase):
    """The value."""

    def test_nothing_known(self) -> None:
        """Before anything was asked no model is ready, and none is left out."""
        self.assertEqual(NOTHING_KNOWN, PrivateStanding(frozenset(), frozenset()))
