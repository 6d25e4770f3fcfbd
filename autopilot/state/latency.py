"""Measurements of each model: the time to its first content and its throughput.

They order the candidates if the client asks for latency or throughput. They also extend the
failover allowance of a model that is always slow, so that it is not taken for a stalled one
(contract §6).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, exp

_MAX_MODELS = 1024
_MAX_SAMPLES = 128
_MIN_SAMPLES = 20
_SAMPLE_WEIGHT = 0.25
# An average without a new sample for this long no longer counts, so that a model that was slow once
# is tried again.
_FORGET_AFTER = 1800.0


@dataclass(slots=True)
class _Average:
    """An exponential moving average whose old value also loses weight with time."""

    value: float = 0.0
    at: float = 0.0

    def add(self, sample: float, now: float) -> None:
        if not self.at:
            self.value = sample
        else:
            age = max(0.0, now - self.at)
            # The longer the pause, the less the old value counts: after half an hour mostly the new
            # sample does.
            weight = 1 - (1 - _SAMPLE_WEIGHT) * exp(-age / _FORGET_AFTER)
            self.value += weight * (sample - self.value)
        self.at = now or 1e-9  # 0 means "no sample yet", and a test's clock may start at 0


@dataclass(slots=True)
class _ModelStats:
    """The measurements of one model.

    ``samples`` is in order of time, for dropping the oldest; ``sorted_samples`` holds the same
    values in order of size, for the percentile.
    """

    first_content: _Average = field(default_factory=_Average)
    throughput: _Average = field(default_factory=_Average)
    samples: deque[float] = field(default_factory=deque)
    sorted_samples: list[float] = field(default_factory=list)


class LatencyStats:
    """Moving averages by model, in seconds and in tokens per second."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, _ModelStats] = OrderedDict()

    def started(self, model: str, seconds: float, now: float) -> None:
        """Record that the first content of ``model``'s answer took ``seconds``."""
        stats = self._stats(model)
        stats.first_content.add(seconds, now)
        stats.samples.append(seconds)
        insort(stats.sorted_samples, seconds)
        if len(stats.samples) > _MAX_SAMPLES:
            del stats.sorted_samples[bisect_left(stats.sorted_samples, stats.samples.popleft())]

    def record_rate(self, model: str, per_second: float, now: float) -> None:
        """Record the rate at which ``model`` generated an answer."""
        self._stats(model).throughput.add(per_second, now)

    def p95(self, model: str) -> float | None:
        """Return the 95th percentile (nearest rank) of the time to the first content, in seconds.

        It is computed over the last 128 answers, and None before there are 20.
        """
        stats = self._models.get(model)
        if stats is None or len(stats.sorted_samples) < _MIN_SAMPLES:
            return None
        return stats.sorted_samples[ceil(0.95 * len(stats.sorted_samples)) - 1]

    def first_content(self, now: float) -> Mapping[str, float]:
        """Return the average time to the first content of each recently measured model."""
        return {
            name: model.first_content.value
            for name, model in self._models.items()
            if model.first_content.at and now - model.first_content.at < _FORGET_AFTER
        }

    def throughput(self, now: float) -> Mapping[str, float]:
        """Return the average throughput of each recently measured model."""
        return {
            name: model.throughput.value
            for name, model in self._models.items()
            if model.throughput.at and now - model.throughput.at < _FORGET_AFTER
        }

    def _stats(self, model: str) -> _ModelStats:
        """Return the measurements of ``model``, and mark them as most recently used."""
        stats = self._models.get(model)
        if stats is None:
            stats = self._models[model] = _ModelStats()
            if len(self._models) > _MAX_MODELS:
                self._models.popitem(last=False)
        else:
            self._models.move_to_end(model)
        return stats
