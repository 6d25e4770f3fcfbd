"""What is measured once a second, and what the measurements of a whole run say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

MB: Final = 1024 * 1024
SETTLING: Final = 240.0
"""Runs shorter than this many seconds say nothing about growth: memory is still being filled."""

TOLERANCE: Final = 0.02
"""The median of the last quarter may be above that of the third by this share, and 1 MB."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment. `requests`, `attempts` and `failures` are totals since the start."""

    at: float
    rss: int
    descriptors: int
    active: int
    requests: int
    attempts: int
    failures: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Medians of the resident memory over the quarters of a run, in bytes."""

    quarters: tuple[float, float, float, float]
    judged: bool

    @property
    def allowed(self) -> float:
        """What the last quarter may hold at most."""
        return self.quarters[2] * (1 + TOLERANCE) + MB

    @property
    def grows(self) -> bool:
        """Whether it still grew in the second half."""
        return self.judged and self.quarters[3] > self.allowed


def memory_of(samples: Sequence[Sample], seconds: float) -> Memory:
    """Judge the memory of a run, of which there must be a sample."""
    quarter = len(samples) // 4
    parts = [samples[n * quarter : (n + 1) * quarter] or samples for n in range(3)]
    parts.append(samples[3 * quarter :])
    first, second, third, last = (median(each.rss for each in part) for part in parts)
    return Memory((first, second, third, last), seconds >= SETTLING)
