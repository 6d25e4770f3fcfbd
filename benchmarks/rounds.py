"""The execution of the plan in interleaved rounds, so that a slow minute affects every proxy.

It reports its progress, and continues when one proxy fails.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.pace import SLOWED, Pace
from benchmarks.processes import ProcessError
from benchmarks.results import Measurement, Results
from benchmarks.scenarios import Item

_OVERHEAD = 0.8
"""Seconds of each measurement for starting and stopping the load."""


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement of one round."""

    item: Item
    round: int


def steps(plan: Sequence[Item], rounds: int) -> list[Step]:
    """Return all steps in order: round 1 of every item, then round 2 where wanted, and so on."""
    wanted = [(item, item.scenario.rounds_of(rounds)) for item in plan]
    return [
        Step(item, number)
        for number in range(1, max((most for _, most in wanted), default=0) + 1)
        for item, most in wanted
        if number <= most
    ]


@dataclass(slots=True)
class TimeLeft:
    """An estimate of the remaining time, corrected by the time that the finished parts took."""

    parts: list[float]
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock."""
        self._began = self.clock()

    def after(self, done: int) -> float:
        """Return the seconds left after `done` of the parts."""
        expected, left = sum(self.parts[:done]), sum(self.parts[done:])
        spent = self.clock() - self._began
        return left * (spent / expected) if expected else left


def run(
    todo: Sequence[Step],
    measure: Callable[[Step], Measurement],
    pace: Pace,
    results: Results,
    left: TimeLeft,
    say: Callable[[str], None] = print,
) -> None:
    """Make all measurements, leaving out a proxy after it fails.

    Disturbed measurements are repeated at the end, up to half the number of all steps.
    """
    given_up: set[tuple[str, str]] = set()
    queue = deque(zip(todo, left.parts, strict=True))
    repeats, number = len(todo) // 2, 0
    while queue:
        step, part = queue.popleft()
        item, number = step.item, number + 1
        place = (item.subject.proxy, item.upstream)
        if place in given_up:
            continue
        try:
            slowdown = pace.quiet()
            measured = measure(step)
        except ProcessError as error:
            results.problems.append(f"{item.name}, round {step.round}: {error}")
            outcome = f"FAILED: {error}"
            given_up.add(place)
        else:
            measured = replace(measured, slowdown=max(slowdown, pace.slowdown()))
            results.keep(measured)
            outcome = line_of(item, measured)
            if measured.slowdown > SLOWED and repeats:
                repeats -= 1
                queue.append((step, part))
                left.parts.append(part)
        total = len(left.parts)
        say(f"[{number:3}/{total} {clock(left.after(number))} left] {item.name}: {outcome}")


def line_of(item: Item, measured: Measurement) -> str:
    """Return the line that shows a measurement during the run."""
    parts = []
    if measured.cpu and item.scenario.unit == "stream":
        parts.append(f"{measured.grown / 1024 / max(1, measured.units):.1f} KB/stream")
        parts.append(f"idle CPU {measured.cpu / measured.elapsed:.1%}")
    elif measured.cpu and measured.cpu_us is not None:
        parts.append(f"{measured.cpu_us:.1f} µs/{item.scenario.unit}")
    if item.scenario.unit != "stream":
        parts.append(f"{measured.per_second:,.0f}/s")
        parts.append(f"p50 {measured.p50} µs, p99 {measured.p99} µs")
    parts.append(f"load and upstream {measured.busy:.0%} of a core")
    if measured.slowdown > SLOWED:
        parts.append(f"core {measured.slowdown:.1f} × slower than at best")
    if measured.errors:
        parts.append(f"{measured.errors} ERRORS {dict(measured.reasons)}")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """Format a duration as minutes and seconds."""
    whole = max(0, round(seconds))
    return f"{whole // 60:02}:{whole % 60:02}"


def expected(todo: Iterable[Step], warmup: float, seconds: float) -> list[float]:
    """Return the estimated duration of each step."""
    return [
        step.item.scenario.expected_seconds(step.item.subject, warmup, seconds) + _OVERHEAD
        for step in todo
    ]
