"""Measurements of each model: the times of its answers, its pauses and its throughput.

They order the candidates if the client asks for latency or throughput. They also extend the time
limits of a model that is always slow, so that it is not taken for a stalled one (contract §6).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, exp

MAX_MODELS = 1024
_MAX_SAMPLES = 128
MIN_SAMPLES = 20
_SAMPLE_WEIGHT = 0.25
# An average without a new sample for this long no longer counts, so that a model that was slow once
# is tried again.
FORGET_AFTER = 1800.0

PAUSE_STEP = 0.1
"""Seconds; shorter pauses are counted, but not told apart."""
LONGEST_PAUSE = 24.0
"""Seconds; longer pauses are not told apart, as the limit that follows from them is the same."""
MIN_PAUSES = 100
# Beyond this number the counts are halved, so that new pauses come to outweigh old ones.
_MAX_PAUSES = 100_000


@dataclass(slots=True)
class Pauses:
    """The pauses between the parts of one answer.

    ``count`` is the number of all; ``long`` holds the numbers of those above `PAUSE_STEP` by length
    in steps, so that their memory is bounded.
    """

    count: int = 0
    long: dict[int, int] = field(default_factory=dict)

    def add(self, seconds: float) -> None:
        """Record a pause."""
        self.count += 1
        if seconds > PAUSE_STEP:
            self.add_long(seconds)

    def add_long(self, seconds: float) -> None:
        """Record the length of a pause above `PAUSE_STEP` that has been counted."""
        # Rounded up, but not for an error of the clock's arithmetic.
        steps = ceil(min(seconds, LONGEST_PAUSE) / PAUSE_STEP - 1e-6)
        self.long[steps] = self.long.get(steps, 0) + 1


@dataclass(slots=True)
class PauseStats:
    """The pauses of a model's answers, and their 99th percentile (nearest rank), once known."""

    count: int = 0
    long: dict[int, int] = field(default_factory=dict)
    p99: float | None = None

    def add(self, pauses: Pauses) -> None:
        """Record the pauses of one answer."""
        self.count += pauses.count
        for steps, number in pauses.long.items():
            self.long[steps] = self.long.get(steps, 0) + number
        if self.count > _MAX_PAUSES:
            self.count //= 2
            self.long = {steps: number // 2 for steps, number in self.long.items() if number > 1}
        if self.count >= MIN_PAUSES:
            self.p99 = self._percentile() if self.long else PAUSE_STEP

    def _percentile(self) -> float:
        longer = self.count // 100
        for steps in sorted(self.long, reverse=True):
            longer -= self.long[steps]
            if longer < 0:
                return steps * PAUSE_STEP
        return PAUSE_STEP


def _samples() -> deque[float]:
    """Return a series of times that keeps the latest."""
    return deque(maxlen=_MAX_SAMPLES)


def _p95(samples: deque[float]) -> float | None:
    """Return the 95th percentile (nearest rank), or None before there are 20 samples.

    It is seldom asked for: when an attempt has used up what every model has. Each answer adds a
    sample, so they are not kept sorted.
    """
    if len(samples) < MIN_SAMPLES:
        return None
    return sorted(samples)[ceil(0.95 * len(samples)) - 1]


@dataclass(slots=True)
class MovingAverage:
    """An exponential moving average whose old value also loses weight with time."""

    value: float = 0.0
    at: float = 0.0

    def add(self, sample: float, now: float) -> None:
        """Record a sample."""
        if not self.at:
            self.value = sample
        else:
            age = max(0.0, now - self.at)
            # The longer the pause, the less the old value counts: after half an hour mostly the new
            # sample does.
            weight = 1 - (1 - _SAMPLE_WEIGHT) * exp(-age / FORGET_AFTER)
            self.value += weight * (sample - self.value)
        self.at = now or 1e-9  # 0 means "no sample yet", and a test's clock may start at 0


@dataclass(slots=True)
class ModelStats:
    """The measurements of one model."""

    first_content: MovingAverage = field(default_factory=MovingAverage)
    throughput: MovingAverage = field(default_factory=MovingAverage)
    streams: deque[float] = field(default_factory=_samples)
    plain: deque[float] = field(default_factory=_samples)
    pauses: PauseStats = field(default_factory=PauseStats)


class LatencyStats:
    """Moving averages and percentiles by model, in seconds and in tokens per second.

    A percentile is computed over the last 128 answers, that of pauses over the last 50,000 or more.
    """

    def __init__(self) -> None:
        self._models: OrderedDict[str, ModelStats] = OrderedDict()

    def started(self, model: str, seconds: float, now: float) -> None:
        """Record that the first content of ``model``'s answer took ``seconds``."""
        stats = self._stats(model)
        stats.first_content.add(seconds, now)
        stats.streams.append(seconds)

    def answered(self, model: str, seconds: float) -> None:
        """Record that an answer of ``model`` that was not a stream took ``seconds``."""
        stats = self._models.get(model)
        if stats is None:
            stats = self._stats(model)
        else:  # as in `_stats`: every plain answer pays for this
            self._models.move_to_end(model)
        stats.plain.append(seconds)

    def paused(self, model: str, pauses: Pauses) -> None:
        """Record the pauses of one answer of ``model``."""
        self._stats(model).pauses.add(pauses)

    def ended(
        self,
        model: str,
        first_content: float | None,
        rate: float | None,
        pauses: Pauses | None,
        now: float,
    ) -> None:
        """Record a streamed answer of ``model``, as far as it was measured: all of the above."""
        stats = self._stats(model)
        if first_content is not None:
            stats.first_content.add(first_content, now)
            stats.streams.append(first_content)
        if rate is not None:
            stats.throughput.add(rate, now)
        if pauses is not None and pauses.count:
            stats.pauses.add(pauses)

    def record_rate(self, model: str, per_second: float, now: float) -> None:
        """Record the rate at which ``model`` generated an answer."""
        self._stats(model).throughput.add(per_second, now)

    def p95(self, model: str) -> float | None:
        """Return the 95th percentile of the time to a stream's first content; None below 20."""
        stats = self._models.get(model)
        return None if stats is None else _p95(stats.streams)

    def plain_p95(self, model: str) -> float | None:
        """Return the 95th percentile of the time to the end of a plain answer; None below 20."""
        stats = self._models.get(model)
        return None if stats is None else _p95(stats.plain)

    def p99_pause(self, model: str) -> float | None:
        """Return the 99th percentile of the pauses within answers; None below 100."""
        stats = self._models.get(model)
        return None if stats is None else stats.pauses.p99

    def first_content(self, now: float) -> Mapping[str, float]:
        """Return the average time to the first content of each recently measured model."""
        return {
            name: model.first_content.value
            for name, model in self._models.items()
            if model.first_content.at and now - model.first_content.at < FORGET_AFTER
        }

    def throughput(self, now: float) -> Mapping[str, float]:
        """Return the average throughput of each recently measured model."""
        return {
            name: model.throughput.value
            for name, model in self._models.items()
            if model.throughput.at and now - model.throughput.at < FORGET_AFTER
        }

    def _stats(self, model: str) -> ModelStats:
        """Return the measurements of ``model``, and mark them as most recently used."""
        stats = self._models.get(model)
        if stats is None:
            stats = self._models[model] = ModelStats()
            if len(self._models) > MAX_MODELS:
                self._models.popitem(last=False)
        else:
            self._models.move_to_end(model)
        return stats
