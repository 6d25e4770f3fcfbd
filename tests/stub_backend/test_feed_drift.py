"""Tests of the feeds' variations."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.stub_backend.exchange import Exchange

PRIVATE = "[private chute]"


class DriftTests(SynchronousTestCase):
    """The modes that keep a feed readable."""

    def setUp(self) -> None:
        """Fetch both feeds in the usual mode."""
        self.exchange = Exchange()
        self.usual = self.fetched("ok")

    def fetched(self, mode: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return catalog entries and utilization records in a mode."""
        self.exchange.stub.feeds.behave(models=mode, utilization=mode)
        models = self.exchange.fetch("GET", "/v1/models").json()["data"]
        return models, self.exchange.fetch("GET", "/chutes/utilization").json()

    def test_renamed(self) -> None:
        """All names and chute ids change consistently, and the new ones are served."""
        models, records = self.fetched("renamed")
        before = {each["id"] for each in self.usual[0]}
        self.assertEqual(len(models), len(before))
        self.assertEqual(before & {each["id"] for each in models}, set())
        by_id = {each["chute_id"]: each["name"] for each in records}
        for each in models:
            self.assertEqual(by_id.get(each["chute_id"], each["id"]), each["id"])
        private = [each["name"] for each in records].count(PRIVATE)
        self.assertEqual(private, [each["name"] for each in self.usual[1]].count(PRIVATE))
        answer = self.exchange.ask(models[0]["id"])
        assert answer is not None
        self.assertEqual(answer.status, 200)

    def test_rebuilt(self) -> None:
        """Members appear and disappear, some records are old, and `created` changes."""
        models, records = self.fetched("rebuilt")
        self.assertEqual([e["id"] for e in models], [e["id"] for e in self.usual[0]])
        self.assertTrue(all("of_next_year" in each for each in (*models, *records)))
        self.assertFalse(any("price" in each for each in models))
        self.assertNotEqual(models[5]["created"], self.usual[0][5]["created"])
        self.assertFalse(any("effective_multiplier" in each for each in records))
        self.assertEqual({type(each["update_in_progress"]) for each in records}, {bool})
        self.assertEqual(len({each["timestamp"] for each in records}), 2)

    def test_rotating(self) -> None:
        """Each fetch gives most free instances to the next of six models; the rest stays."""
        best: list[str] = []
        for _ in range(7):
            models, records = self.fetched("rotating")
            self.assertEqual(models, self.usual[0])
            most = max(records, key=lambda each: each["active_instance_count"])
            self.assertEqual((most["utilization_5m"], most["rate_limit_ratio_1h"]), (0.0, 0.0))
            pairs = zip(records, self.usual[1], strict=True)
            changed = [now["name"] for now, usual in pairs if now != usual]
            self.assertEqual(changed, [most["name"]])
            best.append(most["name"])
        self.assertEqual(len(set(best)), 6)
        self.assertEqual(best[6], best[0])
        self.assertEqual(tuple(best[:6]), self.exchange.stub.feeds.leaders)

    def test_halved(self) -> None:
        """The halves of both feeds have no model in common."""
        models, records = self.fetched("halved")
        listed = {each["chute_id"] for each in models}
        measured = {each["chute_id"] for each in records}
        self.assertTrue(listed)
        self.assertTrue(measured)
        self.assertEqual(listed & measured, set())
