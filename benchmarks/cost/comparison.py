"""Comparison of measured counts with the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from benchmarks.cost.interpreter import COMPARABLE, Interpreter
from benchmarks.cost.limits import EMULATED, Limits, Table
from benchmarks.cost.scenarios import Scenario

_CALLS: Final = frozenset({"python_calls", "c_calls"})


class Verdict(Enum):
    """Result of comparing one count. The first two fail the run."""

    GREW = "grew"
    NEW = "not in the file"
    SAME = ""
    FELL = "fell"
    OTHER_VERSION = f"not compared: not {COMPARABLE}"
    OTHER_BUILD = "not compared: other interpreter"


FAILURES: Final = frozenset({Verdict.GREW, Verdict.NEW})
_NOT_COMPARED: Final = frozenset({Verdict.OTHER_VERSION, Verdict.OTHER_BUILD})


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Permitted distance from the recorded count: the larger of the two."""

    absolute: float = 0.5
    share: float = 0.0

    def of(self, recorded: float) -> float:
        """Return the permitted distance from a recorded count."""
        return max(self.absolute, abs(recorded) * self.share)


_TOLERANCES: Final = {
    "instructions": Tolerance(share=0.02),
    "allocated_bytes": Tolerance(share=0.02),
    "allocations": Tolerance(share=0.02),
    # Tables grow in steps, and the garbage collector runs at times: a window may include either.
    "retained_bytes": Tolerance(absolute=1024),
}
_EXACT: Final = Tolerance()

_FRACTION: Final = 0.1
"""Share of periodic work, such as a timer, that a unit may have beyond its target."""


@dataclass(frozen=True, slots=True)
class Row:
    """One count of one scenario, and its comparison. A count not compared has no target."""

    scenario: str
    metric: str
    measured: float
    recorded: float | None
    target: float | None
    verdict: Verdict

    @property
    def misses_target(self) -> bool:
        """Whether the count is beyond the target."""
        return self.target is not None and self.measured > self.target + _FRACTION


def compare(
    scenarios: Iterable[Scenario], measured: Table, limits: Limits, interpreter: Interpreter
) -> list[Row]:
    """Return a row for each count, in the order of the scenarios."""
    return list(_rows(scenarios, measured, limits, interpreter))


def failures(rows: Sequence[Row]) -> list[Row]:
    """Return the counts that fail the run."""
    return [row for row in rows if row.verdict in FAILURES]


def _rows(
    scenarios: Iterable[Scenario], measured: Table, limits: Limits, interpreter: Interpreter
) -> Iterator[Row]:
    for scenario in scenarios:
        recorded: Mapping[str, float] = limits.recorded.get(scenario.name, {})
        for metric, count in measured.get(scenario.name, {}).items():
            known = recorded.get(metric)
            verdict = _bound(metric, limits, interpreter) or _verdict(metric, count, known)
            target = None if verdict in _NOT_COMPARED else limits.target(scenario.kind, metric)
            yield Row(scenario.name, metric, count, known, target, verdict)


def _bound(metric: str, limits: Limits, interpreter: Interpreter) -> Verdict | None:
    """Return why this interpreter's count cannot be compared, or None."""
    if metric in _CALLS and not interpreter.comparable:
        return Verdict.OTHER_VERSION
    if metric in EMULATED and limits.build and interpreter.build != limits.build:
        return Verdict.OTHER_BUILD
    return None


def _verdict(metric: str, count: float, recorded: float | None) -> Verdict:
    if recorded is None:
        return Verdict.NEW
    tolerated = _tolerance(metric, recorded)
    if count > recorded + tolerated:
        return Verdict.GREW
    return Verdict.FELL if count < recorded - tolerated else Verdict.SAME


def _tolerance(metric: str, count: float) -> float:
    return _TOLERANCES.get(metric, _EXACT).of(count)
