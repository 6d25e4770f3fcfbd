"""This router's own measurements of each model: how soon its answer starts, how fast it goes on.

They order candidates where the client asks for latency or throughput, and keep the failover
deadline from cutting a model that is merely slow by nature.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, exp

_MAX_MODELS = 1024
_SAMPLES = 128
_KNOWN_FROM = 20
_HALF_WEIGHT = 0.25
# An average nobody confirmed for this long says nothing any more: a model that went bad gets its
# chance back.
_FORGET_AFTER = 1800.0


@dataclass(slots=True)
class _Average:
    """An exponential moving average that also fades with time between samples."""

    value: float = 0.0
    at: float = 0.0

    def add(self, sample: float, now: float) -> None:
        if not self.at:
            self.value = sample
        else:
            age = max(0.0, now - self.at)
            weight = 1 - (1 - _HALF_WEIGHT) * exp(-age / _FORGET_AFTER)
            self.value += weight * (sample - self.value)
        self.at = now or 1e-9


@dataclass(slots=True)
class _Model:
    first_content: _Average = field(default_factory=_Average)
    throughput: _Average = field(default_factory=_Average)
    samples: deque[float] = field(default_factory=deque)
    by_size: list[float] = field(default_factory=list)


class LatencyStats:
    """Moving averages by model; times in seconds, throughput in tokens (or events) per second."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, _Model] = OrderedDict()

    def started(self, model: str, seconds: float, now: float) -> None:
        """``model`` took ``seconds`` until the first part of its answer."""
        known = self._known(model)
        known.first_content.add(seconds, now)
        known.samples.append(seconds)
        insort(known.by_size, seconds)
        if len(known.samples) > _SAMPLES:
            del known.by_size[bisect_left(known.by_size, known.samples.popleft())]

    def record_rate(self, model: str, per_second: float, now: float) -> None:
        """``model`` generated at this rate."""
        self._known(model).throughput.add(per_second, now)

    def p95(self, model: str) -> float | None:
        """The 95th percentile (nearest rank) of the time to the first content, in seconds.

        ``None`` until 20 answers were measured; the last 128 count.
        """
        known = self._models.get(model)
        if known is None or len(known.by_size) < _KNOWN_FROM:
            return None
        return known.by_size[ceil(0.95 * len(known.by_size)) - 1]

    def first_content(self, now: float) -> Mapping[str, float]:
        """Average time to the first content by model, of those measured lately."""
        return {
            name: model.first_content.value
            for name, model in self._models.items()
            if model.first_content.at and now - model.first_content.at < _FORGET_AFTER
        }

    def throughput(self, now: float) -> Mapping[str, float]:
        """Average throughput by model, of those measured lately."""
        return {
            name: model.throughput.value
            for name, model in self._models.items()
            if model.throughput.at and now - model.throughput.at < _FORGET_AFTER
        }

    def _known(self, model: str) -> _Model:
        known = self._models.get(model)
        if known is None:
            known = self._models[model] = _Model()
            if len(self._models) > _MAX_MODELS:
                self._models.popitem(last=False)
        else:
            self._models.move_to_end(model)
        return known
