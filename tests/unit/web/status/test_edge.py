"""Tests of the section of the account's governor."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from autopilot.web.status.edge import EdgeNow, edge
from tests.unit.web.status.test_page import Reading, data, read
from tests.unit.web.status.values import facts


class EdgeTests(SynchronousTestCase):
    """The section."""

    def test_nothing(self) -> None:
        """A router that governs nothing has neither section nor member."""
        self.assertEqual(str(edge(None)), '<section id="edge" class="numbers" hidden></section>')
        self.assertNotIn("edge", data(facts("a")))
        self.assertNotIn("Platform's limit", read(facts("a")).text)

    def test_quiet(self) -> None:
        """Without any ban the tiles say so."""
        text = Reading(str(edge(EdgeNow(0, 0, 0.0, 0.0, None)))).text
        self.assertIn("Requests waiting0", text)
        self.assertIn("–all keys have all their calls", text)
        self.assertIn("Keys banned0This router's addressnot banned", text)

    def test_busy(self) -> None:
        """Bans have their time, and the same is in the JSON."""
        now = EdgeNow(1200, 2, 7200.0, 60.0, 0)
        text = Reading(str(edge(now))).text
        self.assertIn("Requests waiting1,200Key with fewest left0calls at once", text)
        self.assertIn("Keys banned2the longest for another 2 h", text)
        self.assertIn("bannedfor another 60 s", text)
        self.assertEqual(data(replace(facts("a"), edge=now))["edge"]["waiting"], 1200)
