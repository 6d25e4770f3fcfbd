"""Measurements taken every second, and the assessment of memory over a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

MB: Final = 1024 * 1024
SETTLING: Final = 240.0
"""In a run shorter than this many seconds, caches still fill, so growth is not assessed."""

TOLERANCE: Final = 0.02
"""The median of the last quarter may exceed that of the third by this share, and 1 MB."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. `requests`, `attempts` and `failures` are totals since the start."""

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
        """The maximum allowed for the last quarter."""
        return self.quarters[2] * (1 + TOLERANCE) + MB

    @property
    def grows(self) -> bool:
        """Whether memory grew in the second half."""
        return self.judged and self.quarters[3] > self.allowed


def memory_of(samples: Sequence[Sample], seconds: float) -> Memory:
    """Assess the memory of a run with at least one sample."""
    quarter = len(samples) // 4
    parts = [samples[n * quarter : (n + 1) * quarter] or samples for n in range(3)]
    parts.append(samples[3 * quarter :])
    first, second, third, last = (median(each.rss for each in part) for part in parts)
    return Memory((first, second, third, last), seconds >= SETTLING)
