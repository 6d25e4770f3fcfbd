"""The table of scenarios of encrypted calls, and the choice among them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from stub_backend.population import INSTANCES, SCENARIO_LOAD, Chute, chute_uuid
from stub_backend.scenario import PREFIX
from stub_backend.sealed.flaws import FLAWS
from stub_backend.sealed.hostile import HOSTILE
from stub_backend.sealed.refusals import REFUSALS, Refusal
from stub_backend.sealed.replies import Pieces

SEALED = "sealed-"
USUAL = "ok"


@dataclass(frozen=True, slots=True)
class SealedScenario:
    """One row of the table.

    `engine` is the usual scenario that answers inside, `hostile` the name of a hostile stream, and
    `flaw` that of a flaw of the evidence.
    `key_changed`: instances open with another key than they are listed with. `vanishes`: an
    instance that is called is gone from then on.
    """

    name: str
    summary: str
    refusal: Refusal | None = None
    pieces: Pieces = Pieces.LINES
    hostile: str | None = None
    flaw: str | None = None
    engine: str | None = None
    key_changed: bool = False
    vanishes: bool = False

    @property
    def model(self) -> str:
        """The model name that selects it."""
        return PREFIX + SEALED + self.name


def _refused(refusal: Refusal) -> SealedScenario:
    problem = refusal.problem
    detail = problem.detail if isinstance(problem.detail, str) else "an error without a text"
    return SealedScenario(refusal.name, f"{refusal.stage.value}: {detail}", refusal)


def _hostile(name: str) -> SealedScenario:
    summary = f"a hostile stream: {name.replace('_', ' ')}"
    return SealedScenario(f"stream-{name.replace('_', '-')}", summary, hostile=name)


def _flawed(name: str) -> SealedScenario:
    summary = f"refused evidence: {name.replace('_', ' ')}"
    return SealedScenario(f"evidence-{name.replace('_', '-')}", summary, flaw=name)


_ROWS = (
    SealedScenario(USUAL, "a healthy sealed response"),
    SealedScenario("events", "each event of a stream is sealed whole", pieces=Pieces.EVENTS),
    SealedScenario("odd", "a stream is sealed in pieces of seven bytes", pieces=Pieces.ODD),
    SealedScenario("400-sealed", "the engine's refusal cannot be read", engine="400-context"),
    SealedScenario("cut", "a stream breaks off in the middle", engine="drop-mid-stream"),
    SealedScenario("key-changed", "the instance restarted, and has another key", key_changed=True),
    SealedScenario("vanished", "the instance is gone once it is called", vanishes=True),
    *(_refused(each) for each in REFUSALS),
    *(_hostile(each) for each in HOSTILE),
    *(_flawed(each) for each in FLAWS),
)
SEALED_SCENARIOS: Mapping[str, SealedScenario] = {each.name: each for each in _ROWS}


def sealed_chutes() -> tuple[Chute, ...]:
    """Return a TEE chat model with fourteen instances for each scenario, ranked last."""
    return tuple(
        Chute(
            name=each.model,
            chute_id=chute_uuid(each.model),
            engine="sglang",
            tee=True,
            sealed=each.name,
            load=replace(SCENARIO_LOAD, active=INSTANCES, target=INSTANCES),
        )
        for each in SEALED_SCENARIOS.values()
    )


class SealedScripts:
    """The scenarios of the models' next encrypted calls."""

    def __init__(self) -> None:
        self._steps: dict[str, deque[SealedScenario]] = {}
        self._then: dict[str, SealedScenario] = {}

    def write(self, model: str, steps: Iterable[str], then: str = USUAL) -> None:
        """Give a model a new script. Raises ValueError for an unknown scenario."""
        self._steps[model], self._then[model] = deque(map(_named, steps)), _named(then)

    def clear(self) -> None:
        """Return every model to the scenario of its name."""
        self._steps.clear()
        self._then.clear()

    def current(self, chute: Chute) -> SealedScenario:
        """Return the scenario of a model's next call."""
        steps = self._steps.get(chute.name)
        if steps:
            return steps[0]
        return self._then.get(chute.name) or SEALED_SCENARIOS[chute.sealed or USUAL]

    def take(self, chute: Chute) -> SealedScenario:
        """Return the scenario of a model's next call, and go on to the one after it."""
        taken = self.current(chute)
        if self._steps.get(chute.name):
            self._steps[chute.name].popleft()
        return taken


def _named(name: str) -> SealedScenario:
    found = SEALED_SCENARIOS.get(name.removeprefix(PREFIX + SEALED))
    if found is None:
        raise ValueError(f"unknown sealed scenario: {name}")
    return found
