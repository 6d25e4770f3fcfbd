"""Tests of the section of shared state."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.web.status.sharing import SharingNow, StoreNow, sharing
from tests.unit.web.status.test_page import Reading, data, read
from tests.unit.web.status.values import facts


class SharingTests(SynchronousTestCase):
    """The section."""

    def test_nothing(self) -> None:
        """A router that shares nothing has neither section nor member."""
        self.assertEqual(
            str(sharing(None)), '<section id="sharing" class="numbers" hidden></section>'
        )
        self.assertNotIn("sharing", data(facts("a")))
        self.assertNotIn("Shared state", read(facts("a")).text)

    def test_among_workers(self) -> None:
        """Without a store the events are those between workers."""
        now = SharingNow(1200, 1100, 0, 0)
        text = Reading(str(sharing(now))).text
        self.assertIn("Shared state among the workers", text)
        self.assertIn("Events sent1,200Events received1,100Events lost0", text)
        self.assertNotIn("Store", text)

    def test_store(self) -> None:
        """The store's state is in words, with what is wrong and for how long."""
        for store, words, kind in (
            (
                StoreNow("ok", "", "", 7200.0, 0.0012, 0, 0, "loaded"),
                "connectedfor 2 hlast command took 1 ms",
                "fresh",
            ),
            (
                StoreNow("down", "unreached", "no connection to it", 5.0, None, 3, 2, "waiting"),
                "not connectedfor 5 snot read yet what others knowno connection to it",
                "stale",
            ),
            (
                StoreNow("degraded", "full", "it has no memory left", 5.0, 0.2, 0, 0, "loaded"),
                "refuses somethingfor 5 slast command took 200 msit has no memory left",
                "stale",
            ),
        ):
            shown = str(sharing(SharingNow(1, 1, 7, 2, store)))
            self.assertIn(f"Store{words}", Reading(shown).text)
            self.assertIn(f'<div class="{kind}"><dt>Store', shown)
            self.assertIn(f'<div class="stale"><dt>Events lost</dt><dd>{7 + store.lost}', shown)
            self.assertEqual("3 wait for the store" in shown, bool(store.queued))
            self.assertIn("2 batches could not be read", shown)
            self.assertIn("with other routers", shown)

    def test_feeds(self) -> None:
        """What the router does for each shared feed is in words."""
        store = StoreNow("ok", "", "", 1.0, None, 0, 0, "loaded")
        now = SharingNow(0, 0, 0, 0, store, {"utilization": "reader", "catalog": "holder"})
        text = Reading(str(sharing(now))).text
        self.assertIn("Feed: catalogholderfetched here, for all routers", text)
        self.assertIn("Feed: utilizationreaderread from the store", text)

    def test_on_the_page(self) -> None:
        """The section is on the page, and in /status.json."""
        report = facts("a", sharing=SharingNow(3, 4, 5, 6))
        self.assertIn("Events sent3Events received4", read(report).text)
        self.assertEqual(
            data(report)["sharing"],
            {"sent": 3, "received": 4, "lost": 5, "refused": 6, "store": None, "feeds": {}},
        )
