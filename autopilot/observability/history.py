"""The recent past for the status page: half an hour in intervals, and the last requests.

The intervals are a fixed ring of counters, so a request costs a few additions and no memory. Times
to the first byte are counted in a histogram, from which quantiles are computed on demand.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, starmap
from math import inf
from operator import add
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from autopilot.observability.records import FAILURES, Outcome, RequestRecord
from autopilot.routing.usage import Usage

INTERVAL: Final = 30.0
"""Seconds in one interval."""

INTERVALS: Final = 60

RECENT_KEPT: Final = 50
"""The number of records that are kept, and of those of failures."""

# Upper bounds of the histogram's buckets in seconds, from 5 ms to 3 minutes. Each is 1.2 times the
# one before, and a quantile is interpolated within its bucket: it is off by a tenth at most.
_BOUNDS: Final = tuple(0.005 * 1.2**step for step in range(58))


@dataclass(frozen=True, slots=True)
class Interval:
    """The figures of one interval.

    ``median`` and ``p95`` of the time to the first byte are in seconds, None without a response.
    Tokens and cost are those that upstreams reported, of failed attempts too.
    """

    requests: int = 0
    failovers: int = 0
    first_bytes: int = 0
    median: float | None = None
    p95: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cost_picodollars: int = 0

    @property
    def cached_share(self) -> float | None:
        """The share of the prompts' tokens that were cached; None without a prompt."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """The last half hour: its intervals, oldest first, and the figures of all of them together.

    In the last ``covered`` intervals the router was running.
    """

    intervals: tuple[Interval, ...] = (Interval(),) * INTERVALS
    whole: Interval = Interval()
    outcomes: tuple[tuple[Outcome, int], ...] = ()
    covered: int = INTERVALS


class Counts(Struct, array_like=True):
    """What one interval, or several together, have counted.

    ``number`` is that of the interval on the system's monotonic clock, which all processes share.
    """

    number: int = -1
    requests: int = 0
    failovers: int = 0
    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))
    outcomes: dict[Outcome, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    cost: int = 0

    def use(self, usage: Usage, cost: int | None) -> None:
        """Count the tokens of an answer, and what they cost."""
        self.prompt += usage.prompt or 0
        self.completion += usage.completion or 0
        if usage.cached:
            self.cached += usage.cached
        if usage.reasoning:
            self.reasoning += usage.reasoning
        self.cost += cost or 0

    def add(self, other: Counts) -> None:
        """Add what another has counted."""
        self.requests += other.requests
        self.failovers += other.failovers
        self.prompt += other.prompt
        self.cached += other.cached
        self.completion += other.completion
        self.reasoning += other.reasoning
        self.cost += other.cost
        for outcome, number in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + number
        self.buckets = list(map(add, self.buckets, other.buckets))

    def interval(self) -> Interval:
        """Return the figures."""
        return Interval(
            self.requests,
            self.failovers,
            sum(self.buckets),
            _quantile(self.buckets, 0.5),
            _quantile(self.buckets, 0.95),
            self.prompt,
            self.cached,
            self.completion,
            self.reasoning,
            self.cost,
        )


class FinishedRequest(NamedTuple):
    """A record, and the wall-clock time at which its request ended, in seconds since 1970.

    ``worker`` is the number of the worker that served it; None if there is only one process.
    """

    ended_at: float
    record: RequestRecord
    worker: int | None = None


class History:
    """Counts the requests of the last half hour, and keeps the last records.

    The last failures are kept apart, so that successes do not displace them. ``seconds`` returns
    the monotonic time, ``now`` the wall-clock time, by which a person finds a request in the log.
    """

    def __init__(self, seconds: Callable[[], float], now: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._now = now
        self._ring = [Counts() for _ in range(INTERVALS)]
        # The figures of each, and the number of requests for which they were computed.
        self._computed = [(-1, -1, Interval())] * INTERVALS
        self._counts = self._ring[0]
        self._until = -inf
        self._began = int(seconds() / INTERVAL)
        # Plain tuples: a request does not pay for the call that makes a named one.
        self._latest: deque[tuple[float, RequestRecord]] = deque(maxlen=RECENT_KEPT)
        self._failures: deque[tuple[float, RequestRecord]] = deque(maxlen=RECENT_KEPT)

    def add(self, record: RequestRecord) -> None:
        """Count and keep the record of a request that has just ended."""
        finished = (self._now(), record)
        self._latest.append(finished)
        if record.outcome in FAILURES:
            self._failures.append(finished)
        now = self._seconds()
        if now >= self._until:
            self._begin(int(now / INTERVAL))
        counts = self._counts
        counts.requests += 1
        if record.failovers:
            counts.failovers += len(record.failovers)
            for failover in record.failovers:
                if failover.usage is not None:
                    counts.use(failover.usage, failover.cost_picodollars)
        if record.dropped is not None and record.dropped.usage is not None:
            counts.use(record.dropped.usage, record.dropped.cost_picodollars)
        if record.usage is not None:
            counts.use(record.usage, record.cost_picodollars)
        counts.outcomes[record.outcome] += 1
        if record.ttfb_ms is not None:
            counts.buckets[bisect_left(_BOUNDS, record.ttfb_ms / 1000.0)] += 1

    def latest(self) -> tuple[FinishedRequest, ...]:
        """Return the last requests, newest first."""
        return tuple(starmap(FinishedRequest, reversed(self._latest)))

    def latest_failures(self) -> tuple[FinishedRequest, ...]:
        """Return the last failures, newest first."""
        return tuple(starmap(FinishedRequest, reversed(self._failures)))

    def _begin(self, number: int) -> None:
        """Begin an interval, in the place of one that the half hour no longer includes."""
        self._counts = self._ring[number % INTERVALS] = Counts(number)
        self._until = (number + 1) * INTERVAL

    def counted(self) -> list[Counts]:
        """Return what the intervals of the last half hour have counted, if anything, in order."""
        return [
            each
            for number in self._numbers()
            if (each := self._ring[number % INTERVALS]).number == number
        ]

    def window(self, others: Mapping[int, Counts] | None = None) -> HistoryWindow:
        """Return the figures of the half hour that ends now.

        ``others`` are what other processes have counted, by the intervals' numbers.
        """
        numbers = self._numbers()
        if others is None:
            counted = self.counted()
            figures = {each.number: self._figures(each) for each in counted}
        else:
            counted = [each for number in numbers if (each := others.get(number)) is not None]
            figures = {each.number: each.interval() for each in counted}
        whole = Counts()
        for counts in counted:
            whole.add(counts)
        nothing = Interval()
        return HistoryWindow(
            tuple(figures.get(number, nothing) for number in numbers),
            whole.interval(),
            tuple(sorted(whole.outcomes.items(), key=lambda each: (-each[1], each[0]))),
            min(INTERVALS, numbers[-1] - self._began + 1),
        )

    def _numbers(self) -> range:
        """Return the numbers of the intervals of the half hour that ends now."""
        now = int(self._seconds() / INTERVAL)
        return range(now - INTERVALS + 1, now + 1)

    def _figures(self, counts: Counts) -> Interval:
        """Return the figures of an interval; they are kept until it has counted something."""
        place = counts.number % INTERVALS
        number, requests, figures = self._computed[place]
        if (number, requests) != (counts.number, counts.requests):
            figures = counts.interval()
            self._computed[place] = counts.number, counts.requests, figures
        return figures


def merged(intervals: Iterable[Interval]) -> Interval:
    """Merge intervals into one, whose quantiles are the worst of theirs."""
    each = list(intervals)
    return Interval(
        sum(one.requests for one in each),
        sum(one.failovers for one in each),
        sum(one.first_bytes for one in each),
        max((one.median for one in each if one.median is not None), default=None),
        max((one.p95 for one in each if one.p95 is not None), default=None),
        sum(one.prompt_tokens for one in each),
        sum(one.cached_tokens for one in each),
        sum(one.completion_tokens for one in each),
        sum(one.reasoning_tokens for one in each),
        sum(one.cost_picodollars for one in each),
    )


def _quantile(buckets: list[int], share: float) -> float | None:
    """Return the value that ``share`` of all values do not exceed, interpolated in its bucket."""
    total = sum(buckets)
    if not total:
        return None
    rank = share * total
    cumulative = list(accumulate(buckets))
    bucket = bisect_left(cumulative, rank)
    upper = _BOUNDS[min(bucket, len(_BOUNDS) - 1)]
    lower = _BOUNDS[bucket - 1] if bucket else 0.0
    before = cumulative[bucket] - buckets[bucket]
    return lower + (upper - lower) * (rank - before) / buckets[bucket]
