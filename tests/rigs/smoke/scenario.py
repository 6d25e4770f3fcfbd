"""Scenarios, which are named functions, and their results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.rigs.smoke.stage import Check, Stage


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the smoke run."""

    name: str
    play: Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a scenario. `error`: why the scenario was aborted."""

    name: str
    checks: tuple[Check, ...]
    error: str | None
    status: int | None
    attempts: int | None
    ms: int
    transcripts: str

    @property
    def passed(self) -> bool:
        """Whether there was a check, every check held, and no error occurred."""
        return self.error is None and bool(self.checks) and all(each.ok for each in self.checks)


def play(scenario: Scenario, stage: Stage) -> Result:
    """Run a scenario; an exception becomes part of its result and does not end the run."""
    error = None
    started = time.monotonic()
    try:
        scenario.play(stage)
    except Exception as problem:  # noqa: BLE001  the next scenario is played all the same
        error = f"{type(problem).__name__}: {problem}"
    ms = round((time.monotonic() - started) * 1000)
    where = stage.transcripts.folder.name
    return Result(
        scenario.name, tuple(stage.checks), error, stage.status, stage.attempts, ms, where
    )


def not_played(scenario: Scenario, why: str) -> Result:
    """Return the result of a scenario that was not run."""
    return Result(scenario.name, (), f"not played: {why}", None, None, 0, "")
