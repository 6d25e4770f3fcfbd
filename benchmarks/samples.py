"""Latencies gathered during a window, and their percentiles.

The hot path appends nanoseconds to an array. They are folded into counts by microsecond as they
come, so that the end of a window costs milliseconds however many there were: the process that is
measured goes on working until the result is out.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from math import ceil

_FOLD_AT = 4096


class Samples:
    """Nanoseconds go in by `add`, microseconds come out."""

    __slots__ = ("_counts", "_recent", "add")

    def __init__(self) -> None:
        self._recent = array("q")
        self._counts: Counter[int] = Counter()
        self.add = self._recent.append

    def clear(self) -> None:
        """Forget all samples."""
        del self._recent[:]
        self._counts.clear()

    def fold(self) -> None:
        """Make room; call it regularly while samples arrive."""
        if len(self._recent) > _FOLD_AT:
            self._fold()

    def _fold(self) -> None:
        self._counts.update([value // 1000 for value in self._recent])
        del self._recent[:]

    def percentiles(self, **ranks: float) -> dict[str, int | None]:
        """The smallest value that `rank` percent are not above, each under its name."""
        self._fold()
        ordered = sorted(self._counts.items())
        total = self._counts.total()
        return {name: _at(ordered, ceil(total * rank / 100)) for name, rank in ranks.items()}


LATENCY: Mapping[str, float] = {"p50": 50, "p99": 99, "p999": 99.9, "max": 100}
FIRST_BYTE: Mapping[str, float] = {"p50": 50, "p99": 99}


def _at(ordered: list[tuple[int, int]], place: int) -> int | None:
    """The value at a place, counted from one."""
    passed = 0
    for value, count in ordered:
        passed += count
        if passed >= place:
            return value
    return None
