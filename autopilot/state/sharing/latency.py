"""The measurements of models, if other replicas measure the same ones.

Each replica sends the whole of what it measured itself, and receivers keep the latest summary of
each replica beside their own measurements. So nothing is counted twice, whatever arrives how often.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain
from math import ceil, exp
from typing import TYPE_CHECKING, Final

from msgspec import structs

from autopilot.state.events import Measured
from autopilot.state.latency import (
    FORGET_AFTER,
    LONGEST_PAUSE,
    MAX_MODELS,
    MIN_PAUSES,
    MIN_SAMPLES,
    PAUSE_STEP,
    LatencyStats,
    Pauses,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from autopilot.state.events import Average, Replica
    from autopilot.state.latency import ModelStats, MovingAverage
    from autopilot.state.sharing.outbox import Outbox

MOST_REPLICAS: Final = 32
"""Summaries of a model, those of the latest versions, so that reading them takes a bounded time."""
LONGEST_BETWEEN: Final = 30.0
"""Seconds between two summaries of a model by one replica, at most."""
# All replicas together send about so many summaries of a model in a second.
_SUMMARIES_PER_SECOND = 8
_HEARD_LATELY = 4 * LONGEST_BETWEEN
_MOST_HEARD = 1024
_MICRO = 1e6
# The longest times of the buckets, from a millisecond: each is a tenth longer than the one before.
_BOUNDS: Final = tuple(0.001 * 1.1**bucket for bucket in range(251))


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """What all other replicas measured of a model, their histograms as one."""

    streams: Counter[int]
    plain: Counter[int]
    pauses: int
    long: Counter[int]


class SharedLatency(LatencyStats):
    """Moving averages and percentiles over what all replicas measured.

    An average is weighted by the age of its last sample. A percentile counts the times of other
    replicas in buckets, which makes it inexact by up to a tenth.
    """

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self._outbox = outbox
        self._news: dict[str, None] = {}
        """The models that were measured since the last summaries."""
        self._elsewhere: dict[str, dict[Replica, tuple[Measured, float]]] = {}
        self._joined: dict[str, _Elsewhere] = {}
        """The same, joined when a percentile was asked for. If a model stalls, all its attempts ask
        within moments, and must not each join the histograms of all replicas."""
        self._heard: dict[Replica, float] = {}
        """When each replica made its latest summary, the latest arrival last."""
        self._averages: tuple[float, Mapping[str, float], Mapping[str, float]] | None = None

    # -- what is measured here

    def started(self, model: str, seconds: float, now: float) -> None:
        """Record that the first content of ``model``'s answer took ``seconds``."""
        super().started(model, seconds, now)
        self._note(model)

    def answered(self, model: str, seconds: float) -> None:
        """Record that an answer of ``model`` that was not a stream took ``seconds``."""
        super().answered(model, seconds)
        if not self._news:
            self._outbox.measured()
        self._news[model] = None

    def paused(self, model: str, pauses: Pauses) -> None:
        """Record the pauses of one answer of ``model``."""
        super().paused(model, pauses)
        self._note(model)

    def ended(
        self,
        model: str,
        first_content: float | None,
        rate: float | None,
        pauses: Pauses | None,
        now: float,
    ) -> None:
        """Record a streamed answer of ``model``, as far as it was measured."""
        super().ended(model, first_content, rate, pauses, now)
        if not self._news:
            self._outbox.measured()
        self._news[model] = None

    def record_rate(self, model: str, per_second: float, now: float) -> None:
        """Record the rate at which ``model`` generated an answer."""
        super().record_rate(model, per_second, now)
        self._note(model)

    def summaries(self, now: float) -> list[Measured]:
        """Return the summaries of the models that were measured since the last call."""
        news, self._news = self._news, {}
        return [self._summary(model, now) for model in news if model in self._models]

    def _note(self, model: str) -> None:
        if not self._news:
            self._outbox.measured()
        self._news[model] = None

    def interval(self, now: float) -> float:
        """Return the seconds until the next summaries, by the number of replicas that send some."""
        self._heard = {
            replica: at for replica, at in self._heard.items() if now - at < _HEARD_LATELY
        }
        return between_summaries(len(self._heard) + 1)

    # -- what is known of all

    def apply(self, event: Measured, at: float) -> None:
        """Keep a summary of another replica, made at ``at``, unless it has a later one."""
        replica = event.version[1]
        if replica == self._outbox.replica:
            return
        self._heard[replica] = max(at, self._heard.pop(replica, at))
        if len(self._heard) > _MOST_HEARD:
            del self._heard[next(iter(self._heard))]
        model = event.model
        summaries = self._elsewhere.pop(model, {})
        self._elsewhere[model] = summaries  # now the latest
        known = summaries.get(replica)
        if known is not None and known[0].version >= event.version:
            return
        summaries[replica] = event, at
        self._joined.pop(model, None)
        while len(summaries) > MOST_REPLICAS:
            del summaries[min(summaries, key=lambda each: summaries[each][0].version)]
        while len(self._elsewhere) > MAX_MODELS:
            oldest = next(iter(self._elsewhere))
            del self._elsewhere[oldest]
            self._joined.pop(oldest, None)

    def p95(self, model: str) -> float | None:
        """Return the 95th percentile of the time to a stream's first content; None below 20."""
        elsewhere = self._of_others(model)
        if elsewhere is None:
            return super().p95(model)
        stats = self._models.get(model)
        return _p95(() if stats is None else stats.streams, elsewhere.streams)

    def plain_p95(self, model: str) -> float | None:
        """Return the 95th percentile of the time to the end of a plain answer; None below 20."""
        elsewhere = self._of_others(model)
        if elsewhere is None:
            return super().plain_p95(model)
        stats = self._models.get(model)
        return _p95(() if stats is None else stats.plain, elsewhere.plain)

    def p99_pause(self, model: str) -> float | None:
        """Return the 99th percentile of the pauses within answers; None below 100."""
        elsewhere = self._of_others(model)
        if elsewhere is None:
            return super().p99_pause(model)
        stats = self._models.get(model)
        count, long = elsewhere.pauses, elsewhere.long
        if stats is not None:
            count, long = count + stats.pauses.count, long + Counter(stats.pauses.long)
        if count < MIN_PAUSES:
            return None
        longer = count // 100
        for steps in sorted(long, reverse=True):
            longer -= long[steps]
            if longer < 0:
                return min(steps * PAUSE_STEP, LONGEST_PAUSE)
        return PAUSE_STEP

    def _of_others(self, model: str) -> _Elsewhere | None:
        """Return what the other replicas measured of a model, or None if they did not."""
        joined = self._joined.get(model)
        if joined is None and model in self._elsewhere:
            events = [event for event, _ in self._elsewhere[model].values()]
            joined = self._joined[model] = _Elsewhere(
                _join(event.streams for event in events),
                _join(event.plain for event in events),
                sum(event.pauses for event in events),
                _join(event.long for event in events),
            )
        return joined

    def first_content(self, now: float) -> Mapping[str, float]:
        """Return the average time to the first content of each recently measured model."""
        return self._merged(now)[1]

    def throughput(self, now: float) -> Mapping[str, float]:
        """Return the average throughput of each recently measured model."""
        return self._merged(now)[2]

    def events(self, now: float) -> Iterator[Measured]:
        """Yield events that tell another replica all of this; the table may change meanwhile."""
        for model in tuple(self._models):
            if model in self._models:
                yield self._summary(model, now)
        for summaries in tuple(self._elsewhere.values()):
            for event, at in tuple(summaries.values()):
                yield structs.replace(event, age=max(0, round((now - at) * 1000)))

    def _merged(self, now: float) -> tuple[float, Mapping[str, float], Mapping[str, float]]:
        """Return all averages, which are computed once a second."""
        merged = self._averages
        if merged is None or not merged[0] <= now < merged[0] + 1:
            merged = self._averages = (
                now,
                self._average(super().first_content(now), now, first=True),
                self._average(super().throughput(now), now, first=False),
            )
        return merged

    def _average(self, own: Mapping[str, float], now: float, *, first: bool) -> Mapping[str, float]:
        """Return the averages of all replicas, weighted by their ages."""
        sums: dict[str, tuple[float, float]] = {}
        for model, value in own.items():
            stats = self._models[model]
            at = stats.first_content.at if first else stats.throughput.at
            weight = _weight(now - at)
            sums[model] = weight, weight * value
        for model, summaries in self._elsewhere.items():
            for event, at in summaries.values():
                average = event.first_content if first else event.throughput
                if average is None:
                    continue
                age = now - at + average[1] / 1000
                if age < FORGET_AFTER:
                    weight, total = sums.get(model, (0.0, 0.0))
                    more = _weight(age)
                    sums[model] = weight + more, total + more * average[0] / _MICRO
        return {model: total / weight for model, (weight, total) in sums.items()}

    def _summary(self, model: str, now: float) -> Measured:
        stats: ModelStats = self._models[model]
        return Measured(
            self._outbox.version(),
            0,
            model,
            _sent(stats.first_content, now),
            _sent(stats.throughput, now),
            _histogram(stats.streams),
            _histogram(stats.plain),
            stats.pauses.count,
            tuple(chain.from_iterable(sorted(stats.pauses.long.items()))),
        )


def between_summaries(replicas: int) -> float:
    """Return the seconds between two summaries of one replica, if there are so many.

    Every summary reaches every replica. With one a second of each, a hundred replicas would spend
    more on measurements than on all other events.
    """
    return min(LONGEST_BETWEEN, max(1.0, replicas / _SUMMARIES_PER_SECOND))


def _weight(age: float) -> float:
    return exp(-max(0.0, age) / FORGET_AFTER)


def _sent(average: MovingAverage, now: float) -> Average | None:
    """Return an average as an event has it; None if there is no recent one."""
    age = now - average.at
    if not average.at or age >= FORGET_AFTER:
        return None
    return round(average.value * _MICRO), max(0, round(age * 1000))


def _histogram(samples: Iterable[float]) -> tuple[int, ...]:
    """Return the numbers of times by bucket: bucket and number, by turns.

    It is computed for each model once a second, so that the loop is left to C.
    """
    numbers = Counter(map(partial(bisect_left, _BOUNDS), samples))
    return tuple(chain.from_iterable(sorted(numbers.items())))


def _join(histograms: Iterable[tuple[int, ...]]) -> Counter[int]:
    """Return the sum of histograms, by bucket."""
    joined: Counter[int] = Counter()
    for each in histograms:
        for bucket, number in zip(each[::2], each[1::2], strict=True):
            joined[bucket] += number
    return joined


def _p95(own: Iterable[float], others: Mapping[int, int]) -> float | None:
    """Return the 95th percentile (nearest rank), or None before there are 20 samples.

    A time in a bucket counts as the longest of the bucket, as a limit that is too short does harm.
    """
    last = len(_BOUNDS) - 1
    samples = [(seconds, 1) for seconds in own]
    samples += [(_BOUNDS[min(bucket, last)], number) for bucket, number in others.items()]
    total = sum(number for _, number in samples)
    if total < MIN_SAMPLES:
        return None
    samples.sort()
    ranks = list(accumulate(number for _, number in samples))
    return samples[bisect_left(ranks, ceil(0.95 * total))][0]
