"""The scripts, which select the scenarios of a model's next calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from stub_backend.population import Chute
from stub_backend.scenario import Scenario
from stub_backend.scenarios import SCENARIOS, USUAL, scenario_named


class UnknownScenarioError(ValueError):
    """A script names an unknown scenario."""


@dataclass(slots=True)
class _Script:
    steps: deque[Scenario]
    then: Scenario


class Scripts:
    """The scripts by model name; each call of a model consumes one step."""

    def __init__(self) -> None:
        self._by_model: dict[str, _Script] = {}

    def write(
        self, model: str, steps: Iterable[str | Scenario], then: str | Scenario = USUAL
    ) -> None:
        """Give a model a new script, of names or of scenarios that stand in no table.

        Raises UnknownScenarioError.
        """
        self._by_model[model] = _Script(deque(_known(each) for each in steps), _known(then))

    def clear(self) -> None:
        """Return every model to the scenario of its name."""
        self._by_model.clear()

    def next_for(self, chute: Chute) -> Scenario:
        """Return the scenario of a call, consuming a step of the model's script."""
        script = self._by_model.get(chute.name)
        if script is None:
            return SCENARIOS[chute.scenario or USUAL]
        return script.steps.popleft() if script.steps else script.then


def _known(name: str | Scenario) -> Scenario:
    if isinstance(name, Scenario):
        return name
    found = scenario_named(name)
    if found is None:
        raise UnknownScenarioError(f"unknown scenario: {name}")
    return found
