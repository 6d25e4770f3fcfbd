"""Tests of the governor of each process."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import Settings
from autopilot.state.edge_lease import LeasingGovernor
from autopilot.state.edge_limit import EdgeGovernor
from autopilot.wiring.edge import governor_of, rules_of
from autopilot.wiring.role import Place


class EdgeTests(SynchronousTestCase):
    """The places of processes."""

    def test_places(self) -> None:
        """Workers lease from the parent, which keeps a second's calls out of its burst."""
        settings = Settings(edge_rate=120)
        for place, kind, burst in (
            (Place.SINGLE, EdgeGovernor, 120),
            (Place.PARENT, EdgeGovernor, 118),
            (Place.WORKER, LeasingGovernor, 120),
        ):
            self.assertIs(type(governor_of(place, settings, Clock())), kind)
            rules = rules_of(place, settings)
            self.assertAlmostEqual(rules.most * rules.burst, burst)
