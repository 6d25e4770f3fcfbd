"""Tests of the section of keys."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.web.status.keys import KeysNow, LentKeyNow, OwnKeyNow, Use, keys
from tests.unit.web.status.test_page import Reading, data, read
from tests.unit.web.status.values import facts

_NOTHING = Use(0, None)


def own(name: str, tokens: Use = _NOTHING) -> OwnKeyNow:
    """Return a key that has used so many tokens today."""
    return OwnKeyNow(name, Use(3, 60), _NOTHING, tokens, _NOTHING, Use(0.126, 1.0), _NOTHING)


class KeysTests(SynchronousTestCase):
    """The section."""

    def test_nothing(self) -> None:
        """A router without keys has neither section nor member."""
        self.assertEqual(str(keys(None)), '<section id="keys" hidden></section>')
        self.assertNotIn("keys", data(facts("a")))
        self.assertNotIn("Keys of your own", read(facts("a")).text)

    def test_own(self) -> None:
        """Each limit stands beside what is used of it."""
        text = Reading(str(keys(KeysNow((own("a&b", Use(1234, 5000)),))))).text
        self.assertIn("Keys of your own", text)
        self.assertIn("a&b3 of 6001,234 of 5,00000.13 of 1.000.00", text)
        self.assertNotIn("Keys of the platform", text)

    def test_pool(self) -> None:
        """A key that rests says why, and for how long."""
        pool = (
            LentKeyNow("p1", 1200, 3, 0.25, None, ""),
            LentKeyNow("p2", 7, 0, None, 42.0, "edge"),
        )
        text = Reading(str(keys(KeysNow((), pool)))).text
        self.assertIn("p11,200325%", text)
        self.assertIn("banned by the edge, 42 s", text)

    def test_many(self) -> None:
        """The page shows some, the report all."""
        now = KeysNow(tuple(own(f"k{number:03}") for number in range(210)))
        self.assertIn("and 10 more keys", Reading(str(keys(now))).text)
        shown = data(facts("a", keys=now))["keys"]
        self.assertEqual(len(shown["own"]), 210)
        self.assertEqual(shown["own"][0]["requests_last_minute"], {"used": 3, "limit": 60})
