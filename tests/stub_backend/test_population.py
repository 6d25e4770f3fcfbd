"""Tests that the feeds have the platform's form and unusual entries."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stub_backend import SCENARIOS, StubOptions
from stub_backend.population import Load, populate
from tests.stub_backend.exchange import Exchange

FULL = StubOptions(scenario_models=False)


class FeedTests(SynchronousTestCase):
    """Both feeds without the scenario models."""

    def setUp(self) -> None:
        """Fetch both feeds once."""
        exchange = Exchange(FULL)
        self.envelope: dict[str, Any] = exchange.fetch("GET", "/v1/models").json()
        self.models: list[dict[str, Any]] = self.envelope["data"]
        self.records: list[dict[str, Any]] = exchange.fetch("GET", "/chutes/utilization").json()

    def count(self, key: str, value: object) -> int:
        """Return the number of catalog entries with this value."""
        return sum(each.get(key) == value for each in self.models)

    def test_catalog(self) -> None:
        """The catalog has 60 models: some TEE, six undescribed, one external."""
        self.assertEqual(self.envelope["object"], "list")
        self.assertEqual(len({each["id"] for each in self.models}), 60)
        self.assertEqual(self.count("confidential_compute", True), 20)
        for each in self.models:
            self.assertEqual(each["id"].endswith("-TEE"), each["confidential_compute"])
            self.assertEqual("permission" in each, each["owned_by"] == "vllm")
        hosted = [each for each in self.models if each["owned_by"] != "chutes"]
        self.assertEqual(len(hosted), 59)
        self.assertEqual(sum("context_length" not in each for each in hosted), 6)

    def test_disagreements(self) -> None:
        """Some lengths differ, some features are misspelt, one id has no organisation."""
        described = [each for each in self.models if "context_length" in each]
        apart = [each for each in described if each["context_length"] != each["max_model_len"]]
        self.assertEqual(len(apart), 4)
        misspelt = [each for each in described if "structured_output" in each["supported_features"]]
        self.assertEqual(len(misspelt), 2)
        self.assertTrue(any("/" not in each["id"] for each in self.models))

    def test_utilization(self) -> None:
        """The utilization feed is an array of all hosted chutes, busiest first."""
        names = [each["name"] for each in self.records]
        self.assertEqual(len(self.records), 59 + 35 + 440)
        self.assertEqual(names.count("[private chute]"), 440)
        self.assertEqual(len({each["chute_id"] for each in self.records}), len(self.records))
        self.assertEqual(len({each["timestamp"] for each in self.records}), 1)
        hourly = [each["total_requests_1h"] for each in self.records]
        self.assertEqual(hourly, sorted(hourly, reverse=True))

    def test_join(self) -> None:
        """Every hosted catalog model is in the utilization feed under its chute id."""
        by_id = {each["chute_id"]: each for each in self.records}
        for each in self.models:
            if each["owned_by"] != "chutes":
                self.assertEqual(by_id[each["chute_id"]]["name"], each["id"])

    def test_awkward_records(self) -> None:
        """There are null columns, a utilization above one, and a null multiplier."""
        values = [each["utilization_current"] for each in self.records]
        self.assertIn(None, values)
        self.assertTrue(any(value is not None and value > 1 for value in values))
        self.assertIn(None, [each["effective_multiplier"] for each in self.records])
        starting = [
            each["total_instance_count"] - each["active_instance_count"] for each in self.records
        ]
        self.assertEqual(set(starting), {0, 1})


class ScenarioModelTests(SynchronousTestCase):
    """The scenario models in the feeds."""

    def test_listed(self) -> None:
        """Both feeds list every scenario; the option leaves them out."""
        exchange = Exchange()
        listed = {each["id"] for each in exchange.fetch("GET", "/v1/models").json()["data"]}
        measured = {each["name"] for each in exchange.fetch("GET", "/chutes/utilization").json()}
        wanted = {each.model for each in SCENARIOS.values()}
        self.assertTrue(wanted <= listed & measured)
        answer = Exchange(FULL).ask("stub/ok")
        assert answer is not None
        self.assertEqual(answer.status, 404)

    def test_ranked_last(self) -> None:
        """No other chat model ranks below a scenario model."""
        population = Exchange().stub.population
        of_scenarios = [_worth(each.load) for each in population.chat if each.scenario]
        of_others = [_worth(each.load) for each in population.chat if not each.scenario]
        self.assertLess(max(of_scenarios), min(of_others))

    def test_tee(self) -> None:
        """They run in a TEE if the option says so."""
        for tee in (False, True):
            population = Exchange(StubOptions(scenario_tee=tee)).stub.population
            found = {each.tee for each in population.chat if each.scenario}
            self.assertEqual(found, {tee})


def _worth(load: Load) -> float:
    free = max(0.0, 1.0 - (1.0 if load.minutes5 is None else load.minutes5))
    return load.active * (free - 2 * (load.limited5 or 0.0))


class SeedTests(SynchronousTestCase):
    """The seed of the population."""

    @settings(max_examples=20, deadline=None)
    @given(seed=st.integers(0, 2**32), models=st.integers(0, 80))
    def test_any_size(self, seed: int, models: int) -> None:
        """Equal seeds give equal chutes, with distinct names and ids."""
        first, second = populate(seed, models, 5, 5), populate(seed, models, 5, 5)
        self.assertEqual(first.chat, second.chat)
        self.assertEqual(first.private, second.private)
        self.assertEqual(len({each.name for each in first.chat}), models)
        self.assertEqual(len({each.chute_id for each in first.everyone()}), len(first.everyone()))
