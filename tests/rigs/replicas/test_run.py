"""A short run of the replicas: three routers, HAProxy and a Redis server as processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.replicas.run import DISTURBANCES, Options, campaign

_SHORT = Options(conversations=20, turns=5, pause=0.3, outage=1.0)


class RunTests(SynchronousTestCase):
    """What the long run checks, with few conversations."""

    def test_one_router(self) -> None:
        """Three routers are one while the store is well, and serve whatever happens to it."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        phases, found = asyncio.run(campaign(folder, _SHORT))
        self.assertEqual(found, [])
        self.assertEqual(len(phases), 1 + len(DISTURBANCES))
        for phase in phases:
            self.assertEqual(len(phase.turns), _SHORT.conversations * _SHORT.turns)
