"""The recent past for the status page: half an hour in intervals, and the last requests.

The intervals are a fixed ring of counters, so a request costs a few additions and no memory. Times
to the first byte are counted in a histogram, from which quantiles are computed on demand.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from typing import Final, NamedTuple

from autopilot.observability.records import FAILURES, Outcome, RequestRecord
from autopilot.routing.usage import Usage

INTERVAL: Final = 30.0
"""Seconds in one interval."""

INTERVALS: Final = 60

_RECENT_KEPT: Final = 50

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


@dataclass(slots=True)
class _Counts:
    number: int = -1
    requests: int = 0
    failovers: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))
    outcomes: defaultdict[Outcome, int] = field(default_factory=lambda: defaultdict(int))
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    cost: int = 0
    _interval: Interval = Interval()

    def use(self, usage: Usage, cost: int | None) -> None:
        """Count the tokens of an answer, and what they cost."""
        self.prompt += usage.prompt or 0
        self.cached += usage.cached or 0
        self.completion += usage.completion or 0
        self.reasoning += usage.reasoning or 0
        self.cost += cost or 0

    def interval(self) -> Interval:
        """Return the figures; those of an interval that counted nothing since are kept."""
        if self._interval.requests != self.requests:
            self._interval = Interval(
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
        return self._interval


class FinishedRequest(NamedTuple):
    """A record, and the wall-clock time at which its request ended, in seconds since 1970."""

    ended_at: float
    record: RequestRecord


class History:
    """Counts the requests of the last half hour, and keeps the last records.

    The last failures are kept apart, so that successes do not displace them. ``seconds`` returns
    the monotonic time, ``now`` the wall-clock time, by which a person finds a request in the log.
    """

    def __init__(self, seconds: Callable[[], float], now: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._now = now
        self._ring = [_Counts() for _ in range(INTERVALS)]
        self._counts = self._ring[0]
        self._until = -inf
        self._began = int(seconds() / INTERVAL)
        # Plain tuples: a request does not pay for the call that makes a named one.
        self._latest: deque[tuple[float, RequestRecord]] = deque(maxlen=_RECENT_KEPT)
        self._failures: deque[tuple[float, RequestRecord]] = deque(maxlen=_RECENT_KEPT)

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
        if record.usage is not None:
            counts.use(record.usage, record.cost_picodollars)
        counts.outcomes[record.outcome] += 1
        if record.ttfb_ms is not None:
            counts.buckets[bisect_left(_BOUNDS, record.ttfb_ms / 1000.0)] += 1

    def latest(self) -> tuple[FinishedRequest, ...]:
        """Return the last requests, newest first."""
        return tuple(map(FinishedRequest._make, reversed(self._latest)))

    def latest_failures(self) -> tuple[FinishedRequest, ...]:
        """Return the last failures, newest first."""
        return tuple(map(FinishedRequest._make, reversed(self._failures)))

    def _begin(self, number: int) -> None:
        """Begin an interval, in the place of one that the half hour no longer includes."""
        self._counts = self._ring[number % INTERVALS] = _Counts(number)
        self._until = (number + 1) * INTERVAL

    def window(self) -> HistoryWindow:
        """Return the figures of the half hour that ends now."""
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
            min(INTERVALS, now - self._began + 1),
        )


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


def _sum(counted: Sequence[_Counts]) -> _Counts:
    whole = _Counts()
    for counts in counted:
        whole.requests += counts.requests
        whole.failovers += counts.failovers
        whole.prompt += counts.prompt
        whole.cached += counts.cached
        whole.completion += counts.completion
        whole.reasoning += counts.reasoning
        whole.cost += counts.cost
        for outcome, number in counts.outcomes.items():
            whole.outcomes[outcome] += number
    whole.buckets = list(map(sum, zip(*(each.buckets for each in counted), strict=True)))
    return whole


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
