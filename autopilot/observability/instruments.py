"""Counters and histograms for one thread: plain numbers, made into metrics when they are scraped.

The instruments of prometheus_client take a lock and look a child up by its labels for every count,
which a busy router feels. Its collector interface is meant for counts that are kept elsewhere:
here. A time series tells nothing of when it was created: there are no ``_created`` samples.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Counter:
    """A counter. ``values`` is counted up in place: one number per tuple of label values."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self.values: defaultdict[tuple[object, ...], int] = defaultdict(int)
        if not labels:
            self.values[()] = 0

    def family(self) -> CounterMetricFamily:
        """The counter as it stands."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self.values.items():
            family.add_metric([str(label) for label in labels], value)
        return family


class Histogram:
    """A histogram with upper bounds of its buckets, in ascending order; infinity is added."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._bounds = tuple(map(float, bounds))
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value into the first bucket whose bound it does not exceed."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self) -> HistogramMetricFamily:
        """The histogram as it stands."""
        names = (*map(str, self._bounds), "+Inf")
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(self._name, self._text, buckets, self._sum)


class InstrumentCollector(Collector):
    """Shows a registry what was counted, in the order given."""

    def __init__(self, *counted: Counter | Histogram) -> None:
        self._counted = counted

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """See ``Collector``."""
        return (each.family() for each in self._counted)
