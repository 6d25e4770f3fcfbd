"""Tests of the section of the account's governor."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from autopilot.web.status.edge import EdgeKeyNow, EdgeNow, edge
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

    def test_keys(self) -> None:
        """Each key has a row, with dashes for what it has not."""
        keys = (
            EdgeKeyNow("0123456789a0", 60.0, 0.5, 7, 1200, 0.0),
            EdgeKeyNow("ba9876543210", None, 1.0, None, 0, 7200.0),
        )
        now = EdgeNow(1200, 1, 7200.0, 0.0, 7, keys)
        text = Reading(str(edge(now))).text
        self.assertIn("0123456789a06050%71,200–", text)
        self.assertIn("ba9876543210–100%–02 h", text)
        shown = data(replace(facts("a"), edge=now))["edge"]["keys"]
        self.assertEqual(
            shown[0],
            {
                "key": "0123456789a0",
                "per_minute": 60,
                "share": 0.5,
                "left": 7,
                "waiting": 1200,
                "banned_seconds": 0,
            },
        )
        self.assertEqual((shown[1]["per_minute"], shown[1]["left"]), (None, None))

    def test_many(self) -> None:
        """The page has a limited number of rows, and counts the others."""
        keys = tuple(EdgeKeyNow(f"{n:012x}", 60.0, 1.0, n, 0, 0.0) for n in range(210))
        text = Reading(str(edge(EdgeNow(0, 0, 0.0, 0.0, 0, keys)))).text
        self.assertIn("192 more keys", text)
        self.assertIn("and 10 more keys, which are in status.json", text)
