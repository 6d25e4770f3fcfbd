"""What several processes have counted, merged into the sums of one router.

Counters and histograms are summed, and so are gauges of which a router has as much as its workers
together. Other gauges of workers keep their own samples, told apart by a label. What a worker that
has ended had reported last stays in the sums, because a counter must not decrease.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import add
from typing import Final, TypeAlias

from msgspec import Struct
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Label: TypeAlias = str | int
Values: TypeAlias = dict[tuple[Label, ...], int]
Sample: TypeAlias = tuple[dict[str, str], float]

WORKER: Final = "worker"
"""The label of gauges that are not summed."""

PARENT: Final = "parent"
"""Its value for the process that has started the workers."""

SUMMED: Final = frozenset(
    {
        "chutes_autopilot_requests_active",
        "chutes_autopilot_buffered_bytes",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
    }
)
"""The gauges, and the counters that are read like gauges, of which the sum is the router's."""

BY_WORKER: Final = frozenset(
    {
        "chutes_autopilot_cooling_models",
        "chutes_autopilot_sticky_entries",
        "chutes_autopilot_quota_limit",
        "chutes_autopilot_quota_used",
        "chutes_autopilot_quota_remaining",
        "chutes_autopilot_rate_limit",
        "chutes_autopilot_rate_limit_remaining",
        "chutes_autopilot_pool_key_resting",
        "process_open_fds",
        "process_max_fds",
    }
)
"""The gauges that each worker has. Of all others the router's value is that of the parent."""

_OF_PROCESS: Final = "process_"
_KEPT: Final = frozenset({"process_cpu_seconds_total"})
# A worker bounds its series; a catalog that keeps changing must not fill the memory with those of
# many workers that have ended.
_MOST_SERIES: Final = 4000
_OTHER: Final = "other"


class Counted(Struct, array_like=True):
    """What the instruments of one process have counted, and what its gauges read, by name.

    A histogram has the numbers of its buckets and the sum of its values.
    """

    counters: dict[str, list[tuple[tuple[Label, ...], int]]]
    histograms: dict[str, tuple[list[int], float]]
    gauges: dict[str, list[Sample]]


class Totals:
    """The sums of what workers have counted, and the readings of their gauges."""

    def __init__(self) -> None:
        self.counters: dict[str, Values] = {}
        self.histograms: dict[str, tuple[list[int], float]] = {}
        self.summed: dict[str, float] = {}
        """Gauges whose sum is the router's, by name."""
        self.by_worker: dict[str, list[Sample]] = {}
        """The samples of the others, with a label for the worker."""
        self._seen: set[int] = set()

    def copy(self) -> Totals:
        """Return a copy to which more can be added."""
        other = Totals()
        other.counters = {name: dict(values) for name, values in self.counters.items()}
        other.histograms = dict(self.histograms)
        other.summed = dict(self.summed)
        return other

    def add(self, counted: Counted, worker: int) -> None:
        """Add what a worker has counted, and what its gauges read.

        The gauges by worker are those of the first process that has this number: during a rolling
        restart the one that ends is added after the one that takes its place.
        """
        self._count(counted)
        for name, samples in counted.gauges.items():
            if name in SUMMED:
                read = sum(value for _, value in samples)
                self.summed[name] = self.summed.get(name, 0.0) + read
            elif name in BY_WORKER and worker not in self._seen:
                named = [({**labels, WORKER: str(worker)}, value) for labels, value in samples]
                self.by_worker.setdefault(name, []).extend(named)
        self._seen.add(worker)

    def keep(self, counted: Counted) -> None:
        """Add what a worker that has ended had counted; its gauges read nothing any more."""
        self._count(counted)
        for name in _KEPT & counted.gauges.keys():
            read = sum(value for _, value in counted.gauges[name])
            self.summed[name] = self.summed.get(name, 0.0) + read

    def _count(self, counted: Counted) -> None:
        for name, pairs in counted.counters.items():
            _add(self.counters.setdefault(name, {}), pairs)
        for name, (counts, total) in counted.histograms.items():
            known, before = self.histograms.get(name, (counts, 0.0))
            if known is not counts:
                # Another version of the router may have other buckets; they cannot be merged.
                if len(known) != len(counts):
                    continue
                counts = list(map(add, known, counts))
            self.histograms[name] = counts, before + total


def _add(values: Values, pairs: Iterable[tuple[tuple[Label, ...], int]]) -> None:
    for labels, value in pairs:
        if labels in values:
            values[labels] += value
        elif len(values) < _MOST_SERIES or not labels:
            values[labels] = value
        else:
            rest = (_OTHER, *labels[1:])
            values[rest] = values.get(rest, 0) + value


class MergedRegistry:
    """The gauges of the parent's registry, merged with those of its workers; see `Collector`."""

    def __init__(self, own: Collector, totals: Totals) -> None:
        self._own = own
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """Yield the families with the samples of all processes."""
        totals = self._totals
        for family in self._own.collect():
            merged = Metric(family.name, family.documentation, family.type)
            for name, labels, value, *_ in family.samples:
                if name in SUMMED:
                    merged.add_sample(name, labels, value + totals.summed.get(name, 0.0))
                elif name not in BY_WORKER:
                    merged.add_sample(name, labels, value)
                elif name.startswith(_OF_PROCESS):
                    merged.add_sample(name, {**labels, WORKER: PARENT}, value)
            for labels, value in totals.by_worker.get(family.name, ()):
                merged.add_sample(family.name, labels, value)
            yield merged


def readings(registry: Collector) -> dict[str, list[Sample]]:
    """Return what the gauges of a worker read, of those that its parent merges."""
    found: dict[str, list[Sample]] = {}
    for family in registry.collect():
        for name, labels, value, *_ in family.samples:
            if name in SUMMED or name in BY_WORKER:
                found.setdefault(name, []).append((dict(labels), value))
    return found
