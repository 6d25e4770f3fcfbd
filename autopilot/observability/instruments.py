"""Counters and histograms for one thread, converted to Prometheus metrics at scrape time.

The instruments of prometheus_client take a lock and look up a child by its labels for each count;
at thousands of requests per second that shows in a profile. These are plain numbers instead, which
a custom collector exports. They have no ``_created`` samples.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Counter:
    """A counter; callers increment ``values``, which has a number for each tuple of labels."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self.values: defaultdict[tuple[object, ...], int] = defaultdict(int)
        if not labels:
            self.values[()] = 0

    def family(self) -> CounterMetricFamily:
        """Return the counter's current values."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self.values.items():
            family.add_metric([str(label) for label in labels], value)
        return family


class Sums:
    """A counter whose values are sums of another's, computed at each scrape.

    Its ``labels`` are some of the other's, by their positions there. Only values whose last label
    is in ``last`` are summed; all are, if it is None.
    """

    def __init__(
        self,
        name: str,
        text: str,
        of: Counter,
        labels: Mapping[str, int],
        last: Container[object] | None = None,
    ) -> None:
        self._counter = Counter(name, text, *labels)
        self._of = of
        self._places = tuple(labels.values())
        self._last = last

    def family(self) -> CounterMetricFamily:
        """Return the current sums."""
        sums = self._counter.values
        sums.update(dict.fromkeys(sums, 0))
        for labels, value in self._of.values.items():
            if self._last is None or labels[-1] in self._last:
                sums[tuple(labels[place] for place in self._places)] += value
        return self._counter.family()


class Histogram:
    """A histogram with these upper bounds of its buckets, in ascending order, and infinity."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self.bounds = tuple(map(float, bounds))
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value into the first bucket whose bound it does not exceed."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def family(self) -> HistogramMetricFamily:
        """Return the histogram's current values."""
        names = (*map(str, self.bounds), "+Inf")
        buckets = list(zip(names, accumulate(self.counts), strict=True))
        return HistogramMetricFamily(self._name, self._text, buckets, self.sum)


class InstrumentCollector(Collector):
    """Exports instruments to a registry, in the order given."""

    def __init__(self, *instruments: Counter | Sums | Histogram) -> None:
        self._instruments = instruments

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """See ``Collector``."""
        return (each.family() for each in self._instruments)
