"""The table of scenarios, from which help, catalog, documentation and tests are generated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from stub_backend.answers.bare import BARE
from stub_backend.answers.beginnings import BEGINNINGS
from stub_backend.answers.breaks import BREAKS
from stub_backend.answers.endings import ENDINGS
from stub_backend.answers.errors import ERRORS
from stub_backend.answers.flavours import FLAVOURS
from stub_backend.answers.shapes import SHAPES
from stub_backend.answers.timing import TIMING
from stub_backend.answers.wire import WIRE
from stub_backend.population import INSTANCES, SCENARIO_LOAD, Chute, chute_uuid
from stub_backend.scenario import PREFIX, Scenario

USUAL = "ok"
# Their conduct is another in each API, streamed and plain: tests/conduct/endings.py says which.
OF_EACH_API: tuple[Scenario, ...] = (*BEGINNINGS, *BARE, *ENDINGS)
SCENARIOS: Mapping[str, Scenario] = {
    each.name: each for each in (*FLAVOURS, *SHAPES, *ERRORS, *TIMING, *BREAKS, *WIRE, *OF_EACH_API)
}


def scenario_named(name: str) -> Scenario | None:
    """Return the scenario of this name, with or without the model's prefix."""
    return SCENARIOS.get(name.removeprefix(PREFIX))


def scenario_chutes(*, tee: bool = False) -> tuple[Chute, ...]:
    """Return a chat model for each scenario: with every feature, ranked last.

    With `tee`, each has more instances than discovery lists at once.
    """
    return tuple(_chute(each, tee) for each in SCENARIOS.values())


def _chute(scenario: Scenario, tee: bool) -> Chute:
    return Chute(
        name=scenario.model,
        chute_id=chute_uuid(scenario.model),
        engine=scenario.engine,
        tee=tee,
        scenario=scenario.name,
        context_length=scenario.context_length,
        engine_length=scenario.context_length,
        features=("json_mode", "structured_outputs", "tools", "reasoning"),
        modalities=("text", "image"),
        load=replace(SCENARIO_LOAD, active=INSTANCES, target=INSTANCES) if tee else SCENARIO_LOAD,
    )
