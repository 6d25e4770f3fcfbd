"""The latencies of a window, and their percentiles.

The hot path appends nanoseconds to an array, which is folded into counts by microsecond at
intervals. So the end of a window costs milliseconds for any number of samples; the measured
process keeps working until the result is written.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from math import ceil

_FOLD_AT = 4096


class Samples:
    """Samples in nanoseconds, and their percentiles in microseconds."""

    __slots__ = ("_counts", "_recent", "add")

    def __init__(self) -> None:
        self._recent = array("q")
        self._counts: Counter[int] = Counter()
        self.add = self._recent.append

    def clear(self) -> None:
        """Discard all samples."""
        del self._recent[:]
        self._counts.clear()

    def fold(self) -> None:
        """Fold the samples into counts; call this regularly while samples arrive."""
        if len(self._recent) > _FOLD_AT:
            self._fold()

    def _fold(self) -> None:
        self._counts.update([value // 1000 for value in self._recent])
        del self._recent[:]

    def percentiles(self, **ranks: float) -> dict[str, int | None]:
        """Return the percentiles, by name."""
        self._fold()
        ordered = sorted(self._counts.items())
        total = self._counts.total()
        return {name: _at(ordered, ceil(total * rank / 100)) for name, rank in ranks.items()}

    def mean(self) -> float | None:
        """Return the mean in microseconds, or None without samples."""
        self._fold()
        total = self._counts.total()
        return (
            sum(value * count for value, count in self._counts.items()) / total if total else None
        )


LATENCY: Mapping[str, float] = {"p50": 50, "p99": 99, "p999": 99.9, "max": 100}
FIRST_BYTE: Mapping[str, float] = {"p50": 50, "p99": 99}


def _at(ordered: list[tuple[int, int]], place: int) -> int | None:
    """Return the value at a rank, counted from one."""
    passed = 0
    for value, count in ordered:
        passed += count
        if passed >= place:
            return value
    return None
