"""The last half hour in short intervals: what the charts of the status page are drawn from.

A fixed ring of intervals, counted up in place: a request costs a few additions and no memory.
Times to the first byte are kept as counts by size, so that quantiles cost nothing until asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from autopilot.observability.records import RequestRecord

INTERVAL: Final = 30.0
"""Seconds that are counted merged."""

INTERVALS: Final = 60

# Six sizes to a doubling or so, from 5 ms to 3 minutes: a quantile is off by a tenth at most.
_BOUNDS: Final = tuple(0.005 * 1.2**step for step in range(58))


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened in one interval; quantiles of the first byte in seconds, None without any."""

    requests: int = 0
    failovers: int = 0
    first_bytes: int = 0
    median: float | None = None
    p95: float | None = None


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """The last half hour: its intervals, the oldest first, and the same of all of it merged."""

    intervals: tuple[Interval, ...] = (Interval(),) * INTERVALS
    whole: Interval = Interval()
    outcomes: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class _Counts:
    number: int = -1
    requests: int = 0
    failovers: int = 0
    sizes: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))
    outcomes: Counter[str] = field(default_factory=Counter)

    def interval(self) -> Interval:
        return Interval(
            self.requests,
            self.failovers,
            sum(self.sizes),
            _quantile(self.sizes, 0.5),
            _quantile(self.sizes, 0.95),
        )


class History:
    """Counts the requests of the last half hour; ``seconds`` reads the clock."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._ring = [_Counts() for _ in range(INTERVALS)]

    def add(self, record: RequestRecord) -> None:
        """Count one finished request."""
        number = int(self._seconds() / INTERVAL)
        counts = self._ring[number % INTERVALS]
        if counts.number != number:
            counts = self._ring[number % INTERVALS] = _Counts(number)
        counts.requests += 1
        counts.failovers += len(record.failovers)
        counts.outcomes[str(record.outcome)] += 1
        if record.first_byte is not None:
            counts.sizes[bisect_left(_BOUNDS, record.first_byte)] += 1

    def window(self) -> HistoryWindow:
        """What was counted, to this moment."""
        now = int(self._seconds() / INTERVAL)
        nothing = _Counts()
        counted = [
            each if (each := self._ring[number % INTERVALS]).number == number else nothing
            for number in range(now - INTERVALS + 1, now + 1)
        ]
        whole = _sum(counted)
        return HistoryWindow(
            tuple(each.interval() for each in counted),
            whole.interval(),
            tuple(sorted(whole.outcomes.items(), key=lambda each: (-each[1], each[0]))),
        )


def merged(intervals: Iterable[Interval]) -> Interval:
    """Several intervals as one; its quantiles are the worst of theirs."""
    each = list(intervals)
    return Interval(
        sum(one.requests for one in each),
        sum(one.failovers for one in each),
        sum(one.first_bytes for one in each),
        max((one.median for one in each if one.median is not None), default=None),
        max((one.p95 for one in each if one.p95 is not None), default=None),
    )


def _sum(counted: Iterable[_Counts]) -> _Counts:
    whole = _Counts()
    for counts in counted:
        whole.requests += counts.requests
        whole.failovers += counts.failovers
        whole.outcomes.update(counts.outcomes)
        if counts.requests:
            whole.sizes = [
                one + other for one, other in zip(whole.sizes, counts.sizes, strict=True)
            ]
    return whole


def _quantile(sizes: list[int], share: float) -> float | None:
    """The value that this share does not exceed, taken as even within its size."""
    total = sum(sizes)
    if not total:
        return None
    wanted = share * total
    reached = list(accumulate(sizes))
    size = bisect_left(reached, wanted)
    upper = _BOUNDS[min(size, len(_BOUNDS) - 1)]
    lower = _BOUNDS[size - 1] if size else 0.0
    before = reached[size] - sizes[size]
    return lower + (upper - lower) * (wanted - before) / sizes[size]
