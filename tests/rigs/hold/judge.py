"""The judge: an input's verdict from what the probe saw and the clients received."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.pace import SLOWED
from tests.rigs.hold.client import Played
from tests.rigs.hold.input import Input, hold_limit, memory_limit
from tests.rigs.hold.probe import Observation


class Verdict(StrEnum):
    """The results of an input."""

    OK = "ok"
    HELD = "HELD"
    MEMORY = "MEMORY"
    HELD_AND_MEMORY = "HELD, MEMORY"
    OTHER_ANSWER = "OTHER ANSWER"
    NOT_FINISHED = "NOT FINISHED"
    HUNG = "HUNG"
    NOISY = "noisy"
    FOREIGN = "Twisted's"

    @property
    def failed(self) -> bool:
        """Whether the input exceeds a limit. A noisy machine proves nothing.

        A hold by Twisted's own channel is shown, but the router can do nothing about it.
        """
        return self not in (Verdict.OK, Verdict.NOISY, Verdict.FOREIGN)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an input; without an observation the router hung.

    ``slowdown``: how much slower than at best the router's processor was right before or after it,
    whichever is more.
    """

    played: Played
    seen: Observation | None
    slowdown: float = 1.0

    @property
    def disturbed(self) -> bool:
        """Whether something else slowed the processor."""
        return self.slowdown > SLOWED


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: an input with a setup, and its result."""

    title: str
    setup: str
    size: int
    held: float
    hold_limit: float
    growth: int
    memory_limit: int
    statuses: str
    runs: int
    verdict: Verdict
    slowdown: float = 1.0

    @property
    def family(self) -> str:
        """The family of the input."""
        return self.title.partition(":")[0]

    @property
    def key(self) -> tuple[str, str]:
        """The input and its router."""
        return self.title, self.setup


def exceeds(given: Input, run: Run) -> bool:
    """Return whether a run is not within the limits, so that another one is needed."""
    return _verdict(given, run, run.seen.growth if run.seen else 0) is not Verdict.OK


def needs_another(given: Input, run: Run) -> bool:
    """Return whether a run is not the last one: it exceeds a limit, or its reading is in doubt.

    That of a disturbed run is, unless it is far below its limit all the same.
    """
    if exceeds(given, run):
        return True
    limit = hold_limit(run.played.request, given.work * given.connections)
    return run.disturbed and run.seen is not None and run.seen.held > limit / 2


def judge(given: Input, setup: str, runs: Sequence[Run]) -> Row:
    """Return the row of an input.

    The least disturbed run counts; of those without a disturbance the one with the shortest hold,
    because another process can lengthen a hold and none can shorten it. Of the growth the largest
    counts: a later run may use memory that an earlier one left.
    """
    seen = [run for run in runs if run.seen is not None]
    best = min(seen, key=_disturbance) if seen else runs[0]
    growth = max((run.seen.growth for run in seen if run.seen), default=0)
    played = best.played
    return Row(
        title=given.title,
        setup=setup,
        size=played.request,
        held=best.seen.held if best.seen else float("inf"),
        hold_limit=hold_limit(played.request, given.work * given.connections),
        growth=growth,
        memory_limit=_memory_limit(given, played),
        statuses=_statuses(played),
        runs=len(runs),
        verdict=_of_router(_verdict(given, best, growth), setup in given.foreign),
        slowdown=best.slowdown,
    )


def _disturbance(run: Run) -> tuple[float, float]:
    """Return the sort key of a run, the best one first."""
    return run.slowdown if run.disturbed else 0.0, run.seen.held if run.seen else 0.0


def _verdict(given: Input, run: Run, growth: int) -> Verdict:
    seen, played = run.seen, run.played
    if seen is None:
        return Verdict.HUNG
    limit = hold_limit(played.request, given.work * given.connections)
    held, full = seen.held > limit, growth > _memory_limit(given, played)
    if full:
        return Verdict.HELD_AND_MEMORY if held else Verdict.MEMORY
    if held:
        return Verdict.NOISY if seen.held - seen.stolen <= limit else Verdict.HELD
    if not played.finished:
        return Verdict.NOT_FINISHED
    if given.answers and set(played.statuses) - given.answers:
        return Verdict.OTHER_ANSWER
    return Verdict.OK


def _of_router(verdict: Verdict, foreign: bool) -> Verdict:
    """Return the verdict on the router, if another's code causes the hold."""
    if foreign and verdict is Verdict.HELD:
        return Verdict.FOREIGN
    return Verdict.MEMORY if foreign and verdict is Verdict.HELD_AND_MEMORY else verdict


def _memory_limit(given: Input, played: Played) -> int:
    if given.memory is not None:
        return given.memory
    return memory_limit(played.request, 1) * given.connections


def _statuses(played: Played) -> str:
    """Return the statuses, most frequent first; a connection without a response has none."""
    return ", ".join(
        f"{status or 'none'}" + (f" × {count}" if len(played.statuses) > 1 else "")
        for status, count in played.statuses.most_common()
    )
