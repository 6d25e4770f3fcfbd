"""The judge: an input's verdict from what the probe saw and the clients received."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

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

    @property
    def failed(self) -> bool:
        """Whether the input exceeds a limit. A noisy machine proves nothing."""
        return self not in (Verdict.OK, Verdict.NOISY)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an input; without an observation the router hung."""

    played: Played
    seen: Observation | None


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


def exceeds(given: Input, run: Run) -> bool:
    """Return whether a run is not within the limits, so that another one is needed."""
    return _verdict(given, run, run.seen.growth if run.seen else 0) is not Verdict.OK


def judge(given: Input, setup: str, runs: Sequence[Run]) -> Row:
    """Return the row of an input.

    The run with the shortest hold counts, because another process can lengthen a hold and none can
    shorten it. Of the growth the largest counts: a later run may use memory that an earlier one
    left.
    """
    seen = [run for run in runs if run.seen is not None]
    best = min(seen, key=lambda run: run.seen.held if run.seen else 0.0) if seen else runs[0]
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
        verdict=_verdict(given, best, growth),
    )


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
