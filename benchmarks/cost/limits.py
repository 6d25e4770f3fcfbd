"""`benchmarks/cost.toml`: targets and additions, written by hand, and recorded counts."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.cost.interpreter import Interpreter
from benchmarks.processes import PROJECT

PATH: Final = PROJECT / "benchmarks" / "cost.toml"
EMULATED: Final = frozenset({"instructions", "allocated_bytes", "allocations", "retained_bytes"})
"""Metrics that also depend on how the interpreter was built."""

_RECORDED: Final = "# Recorded by `make cost ARGS=--update`, which replaces everything below.\n"

Table = Mapping[str, Mapping[str, float]]
"""Numbers by kind or scenario, and then by metric."""


class LimitsError(Exception):
    """The file is invalid or contradicts itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Content of the file.

    A target applies to a kind of unit. An addition names the issue that raises a target, and the
    amount; a target with all its additions stays within the budget. `build` identifies the
    interpreter on which the metrics of `EMULATED` were recorded.
    """

    targets: Table
    budgets: Table
    additions: tuple[Mapping[str, Any], ...]
    build: str
    recorded: Table

    @classmethod
    def parse(cls, text: str) -> Limits:
        """Read the text of the file. Raises `LimitsError`."""
        try:
            value = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise LimitsError(str(error)) from None
        limits = cls(
            value.get("target", {}),
            value.get("budget", {}),
            tuple(value.get("addition", ())),
            value.get("interpreter", {}).get("build", ""),
            value.get("recorded", {}),
        )
        if problems := list(limits._problems()):
            raise LimitsError("; ".join(problems))
        return limits

    def target(self, kind: str, metric: str) -> float | None:
        """Return the target for a kind of unit, additions included, or None."""
        target = self.targets.get(kind, {}).get(metric)
        return None if target is None else target + self._added(kind, metric)

    def _added(self, kind: str, metric: str) -> float:
        return sum(float(each.get(metric, 0)) for each in self.additions if each["kind"] == kind)

    def _problems(self) -> Iterator[str]:
        for number, each in enumerate(self.additions, 1):
            if not each.get("issue") or each.get("kind") not in self.targets:
                yield f"addition {number} needs an issue and the kind of a target"
                return
        for kind, budgets in self.budgets.items():
            for metric, budget in budgets.items():
                target = self.target(kind, metric)
                if target is not None and target > budget:
                    yield f"{kind}: additions raise {metric} to {target:g}, beyond {budget:g}"


def load(path: Path = PATH) -> Limits:
    """Read the file."""
    return Limits.parse(path.read_text())


def updated(text: str, measured: Table, interpreter: Interpreter) -> str:
    """Return the text of the file with the measured counts; it keeps those not measured.

    Counts of `EMULATED` from another interpreter are dropped: the file names one interpreter.
    """
    limits = Limits.parse(text)
    recorded = {name: dict(counts) for name, counts in limits.recorded.items()}
    build = limits.build
    if any(EMULATED & counts.keys() for counts in measured.values()) and build != interpreter.build:
        build = interpreter.build
        for old in recorded.values():
            for metric in EMULATED & old.keys():
                del old[metric]
    for name, counts in measured.items():
        recorded.setdefault(name, {}).update(counts)
    head = text.partition(_RECORDED)[0]
    return head + _RECORDED + "".join(_lines(recorded, build))


def _lines(recorded: Table, build: str) -> Iterator[str]:
    if build:
        yield f"\n[interpreter]\nbuild = {json.dumps(build)}\n"
    for name, counts in recorded.items():
        yield f"\n[recorded.{name}]\n"
        for metric, count in counts.items():
            yield f"{metric} = {_number(metric, count)}\n"


def _number(metric: str, count: float) -> str:
    """Format a count: with at most one decimal place, and bytes and instructions as integers."""
    places = 0 if metric in EMULATED else 1
    # Only noise is negative: garbage of earlier units, say, that is collected during a window.
    return f"{max(count, 0.0):.{places}f}".removesuffix(".0")
