"""Tests of the live settings of private mode, each named after its setting."""

from __future__ import annotations

import json
from pathlib import Path

from autopilot.wiring import mapping
from tests.unit.wiring.cases import ReloadTestCase

SEEN = Path(__file__).parents[2] / "data" / "private" / "measurements_seen.json"


class PrivateTests(ReloadTestCase):
    """What can change while the router runs."""

    def test_private_max_instances(self) -> None:
        """The next request is bounded by the new number."""
        self.start()
        for most in (1, 5):
            self.change(private_max_instances=most)
            self.assertEqual(mapping.relay(self.router.settings).max_instances, most)

    def test_private_measurements(self) -> None:
        """Other rows of the same file are a change, and reach what verifies."""
        self.start()
        rows = json.loads(SEEN.read_bytes())
        path = Path(self.mktemp())
        for count in (2, 3):
            path.write_text(json.dumps(rows[:count]))
            self.assertEqual(
                self.change(private_measurements=str(path)).changed, ("PRIVATE_MEASUREMENTS",)
            )
            pinned = mapping.private(self.router.settings).pinned
            self.assertEqual(len(pinned or ()), count)
