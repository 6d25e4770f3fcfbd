"""The verdict on a run: failed requests, conversations that changed models, and recovery."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tests.rigs.replicas.conversations import Turn

SAME: Final = 0.99
"""The share of turns that must meet the model of the turn before, while the store is well."""
BACK: Final = 5.0
"""The seconds within which replicas must share again."""
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Phase:
    """The turns of a phase, and the seconds until replicas shared again after its disturbance."""

    name: str
    turns: Sequence[Turn]
    back: float | None = None

    @property
    def failed(self) -> list[Turn]:
        """The turns that failed."""
        return [turn for turn in self.turns if turn.failed]

    @property
    def same(self) -> float:
        """The share of turns, but for the first of each conversation, that met the same model."""
        pairs = list(_pairs(self.turns))
        return sum(before.model == after.model for before, after in pairs) / max(1, len(pairs))

    def __str__(self) -> str:
        back = "" if self.back is None else f", shared again after {self.back:.1f} s"
        return (
            f"{self.name}: {len(self.turns)} turns, {len(self.failed)} failed,"
            f" {self.same:.2%} with the same model{back}"
        )


def _pairs(turns: Iterable[Turn]) -> Iterator[tuple[Turn, Turn]]:
    """Yield each turn with the one before it."""
    before: dict[str, Turn] = {}
    for turn in turns:
        if turn.conversation in before:
            yield before[turn.conversation], turn
        before[turn.conversation] = turn


def complaints(phase: Phase, *, well: bool) -> Iterator[str]:
    """Yield what is wrong with a phase; only while the store is `well` must the model stay."""
    for turn in phase.failed[:_SHOWN]:
        yield f"{phase.name}: turn {turn.number} of {turn.conversation} failed: {turn.failed}"
    if len(phase.failed) > _SHOWN:
        yield f"{phase.name}: {len(phase.failed)} turns failed"
    if not phase.turns:
        yield f"{phase.name}: nothing was asked"
    if well and phase.same < SAME:
        yield f"{phase.name}: only {phase.same:.2%} of the turns met the same model"
    if phase.back is not None and phase.back > BACK:
        yield f"{phase.name}: shared again only after {phase.back:.1f} s"


def probes_too_many(asked: Sequence[float], cooldown: float, slack: float) -> list[float]:
    """Return the times at which a cooling model was asked too soon after the time before.

    `slack` is the share of the cooldown by which a probe may be early.
    """
    return [
        later for earlier, later in pairwise(asked) if later - earlier < cooldown * (1.0 - slack)
    ]
