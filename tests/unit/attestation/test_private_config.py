"""Tests of the configuration of private mode, whose values `tests/unit/wiring` maps."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import Settings
from autopilot.wiring.mapping import private


class PrivateConfigTests(SynchronousTestCase):
    """The value."""

    def test_frozen(self) -> None:
        """Nothing loosens what is accepted while the router runs."""
        config = private(Settings())
        with self.assertRaises(FrozenInstanceError):
            config.envelope_required = False  # type: ignore[misc]
