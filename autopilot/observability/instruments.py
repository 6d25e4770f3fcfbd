"""Counters and histograms for one thread, written in the text format of Prometheus.

The instruments of prometheus_client take a lock and look up a child by its labels for each count;
at thousands of requests per second that shows in a profile. These are plain numbers instead. They
also write their samples themselves: the library takes ten microseconds for each of the thousands
that a router with many models has. They have no ``_created`` samples. The instruments of a process
with workers write the totals of all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from itertools import accumulate
from operator import add
from typing import Final, Literal, TypeAlias

from prometheus_client.utils import floatToGoString

from autopilot.observability.merge import BY_WORKER, Sample, Totals


class Counter:
    """A counter; callers increment ``values``, which has a number for each tuple of labels.

    Its samples are the values divided by ``unit``, so that fractions are counted exactly.
    """

    kind: Final = "counter"

    def __init__(self, name: str, text: str, *labels: str, unit: int = 1) -> None:
        self.name = name
        self._unit = unit
        self.text = text
        self.labels = labels
        self.values: defaultdict[tuple[object, ...], int] = defaultdict(int)
        if not labels:
            self.values[()] = 0
        # The samples' lines up to their numbers; a sample is never removed.
        self._series: dict[tuple[object, ...], str] = {}

    def total(self, totals: Totals | None) -> Mapping[tuple[object, ...], int]:
        """Return the values, those of workers included."""
        counted = None if totals is None else totals.counters.get(self.name)
        if not counted:
            return self.values
        values = dict(self.values)
        for labels, value in counted.items():
            if len(labels) == len(self.labels):  # of another version of the router if not
                values[labels] = values.get(labels, 0) + value
        return values

    def exposition(self, totals: Totals | None = None) -> str:
        """Return the metric's lines in the text format."""
        series = self._series
        lines = [_head(self)]
        for labels, value in self.total(totals).items():
            start = series.get(labels)
            if start is None:
                start = series[labels] = _series(self.name, zip(self.labels, labels, strict=True))
            lines.append(f"{start}{_number(value if self._unit == 1 else value / self._unit)}")
        return "".join(lines)


class Sums:
    """A counter whose values are sums of another's, computed at each scrape.

    Its ``labels`` are some of the other's, by their positions there. Only values whose last label
    is in ``last`` are summed; all are, if it is None.
    """

    kind: Final = "counter"

    def __init__(
        self,
        name: str,
        text: str,
        of: Counter,
        labels: Mapping[str, int],
        last: Container[object] | None = None,
    ) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self._counter = Counter(name, text, *labels)
        self._of = of
        self._places = tuple(labels.values())
        self._last = last

    def exposition(self, totals: Totals | None = None) -> str:
        """Return the metric's lines in the text format."""
        sums = self._counter.values
        sums.update(dict.fromkeys(sums, 0))
        for labels, value in self._of.total(totals).items():
            if self._last is None or labels[-1] in self._last:
                sums[tuple([labels[place] for place in self._places])] += value
        return self._counter.exposition()


class Histogram:
    """A histogram with these upper bounds of its buckets, in ascending order, and infinity."""

    kind: Final = "histogram"
    labels: Final[tuple[str, ...]] = ()

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self.name = name
        self.text = text
        self.bounds = tuple(map(float, bounds))
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value into the first bucket whose bound it does not exceed."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def exposition(self, totals: Totals | None = None) -> str:
        """Return the metric's lines in the text format."""
        name, bounds = self.name, (*map(str, self.bounds), "+Inf")
        counts, total = list(accumulate(self.counts)), self.sum
        counted = None if totals is None else totals.histograms.get(name)
        if counted is not None and len(counted[0]) == len(counts):
            counts = list(accumulate(map(add, self.counts, counted[0])))
            total += counted[1]
        buckets = [
            f'{name}_bucket{{le="{bound}"}} {_number(count)}'
            for bound, count in zip(bounds, counts, strict=True)
        ]
        return "".join(
            (
                _head(self),
                *buckets,
                f"{name}_count {_number(counts[-1])}",
                f"{name}_sum {_number(total)}",
            )
        )


class Readings:
    """A gauge whose samples are read from their source at each scrape; or a counter kept there.

    ``read`` returns the values with their labels; a label without text is left out of its sample.
    """

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        read: Callable[[], Iterable[tuple[Sequence[str], float]]],
        kind: Literal["gauge", "counter"] = "gauge",
    ) -> None:
        self.kind = kind
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self._read = read

    def samples(self) -> list[Sample]:
        """Return the values with those of their labels that have a text."""
        return [
            ({name: text for name, text in zip(self.labels, labels, strict=True) if text}, value)
            for labels, value in self._read()
        ]

    def exposition(self, totals: Totals | None = None) -> str:
        """Return the metric's lines in the text format."""
        if totals is None or self.name not in BY_WORKER:
            samples = self.samples()
        else:
            samples = totals.by_worker.get(self.name, [])
        lines = [_head(self)]
        for labels, value in samples:
            lines.append(f"{_series(self.name, labels.items())}{_number(value)}")
        return "".join(lines)


Instrument: TypeAlias = Counter | Sums | Histogram | Readings


def _head(instrument: Counter | Histogram | Readings) -> str:
    name = instrument.name
    text = instrument.text.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {text}\n# TYPE {name} {instrument.kind}\n"


def _series(name: str, labels: Iterable[tuple[str, object]]) -> str:
    """Return the line of a sample up to its number; the labels are in alphabetical order."""
    pairs = ",".join(f'{label}="{_escaped(str(value))}"' for label, value in sorted(labels))
    return f"{name}{{{pairs}}} " if pairs else f"{name} "


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    """Return a number as Prometheus writes it, and the end of the line."""
    # The usual case; the library's function changes to exponents at a million.
    if type(value) is int and 0 <= value < 1_000_000:
        return f"{value}.0\n"
    return f"{floatToGoString(value)}\n"
