"""Every metric that the router exports, with its type and its labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.testing import MemoryReactorClock

from autopilot.observability.account_limits import AccountLimits
from autopilot.observability.instruments import Histogram, Instrument
from autopilot.observability.key_counts import KeyCounts
from autopilot.observability.metrics import Gauges, Metrics
from autopilot.observability.private_counts import PrivateCounts, private_gauges
from autopilot.observability.workers import WorkerNow, WorkersNow, worker_instruments
from autopilot.routing.account_limits import LIMIT_FIELDS
from autopilot.routing.usage import Usage
from autopilot.settings import Settings
from autopilot.state.edge_counts import EdgeCounts
from tests.unit.observability.records import record

# The labels that Prometheus adds to each sample, and the sample that it adds for each scrape.
_OF_THE_SCRAPE = frozenset({"job", "instance"})


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample that expressions may use: ``kind`` is its type, ``labels`` its possible labels."""

    kind: str
    labels: frozenset[str]


def page() -> str:
    """Return a metrics page that has each metric with all of its labels."""
    metrics = Metrics("1.2.3")
    metrics.watch(Gauges(*(lambda: 1.0,) * len(fields(Gauges))))
    broken = record(outcome="upstream_broken", reason="cut", failovers=("status_503",))
    reported = record(usage=Usage(9, 4, 2, 1), cost_picodollars=7)
    for each in (reported, record(terminated=False), record(outcome="client_gone"), broken):
        metrics.request(each, ("m",))
    metrics.refresh("catalog", "ok", 1)
    limits = AccountLimits(lambda: 0.0, by_key=True)
    limits.note(b"client", dict.fromkeys(LIMIT_FIELDS, b"1"), 0.0)
    metrics.instruments += limits.instruments()
    metrics.instruments += tuple(_of_workers())
    metrics.instruments += (*PrivateCounts().instruments(), *private_gauges(dict, lambda: 1.0))
    metrics.instruments += _of_keys()
    metrics.instruments += EdgeCounts().instruments()
    return metrics.text().decode()


def _of_keys() -> tuple[Instrument, ...]:
    """Return the metrics of a router with keys, each with a sample."""
    counts = KeyCounts()
    counts.record(record(key="k", usage=Usage(9, 4, 2, 1), cost_picodollars=7))
    counts.refused("k", "key_rate_limited")
    counts.lent("p")
    counts.rested("p", "edge")
    return counts.instruments(lambda: ("p",))


def _of_workers() -> Iterable[Instrument]:
    """Return the metrics of a parent of workers."""
    now = WorkersNow(1, 1, processes=(WorkerNow(0, 1, "ready", 1.0, 2, 3, 4),))
    return worker_instruments(lambda: now)


def _of_shared_state() -> dict[str, Sample]:
    """Return the metrics of a router with a store, whose counters have counted nothing yet."""
    from autopilot.service.lifecycle import AutopilotService

    reactor: Any = MemoryReactorClock()
    settings = Settings(state_url="redis://192.0.2.1", sticky_hash_key=b"k" * 32, feeds="shared")
    parts = AutopilotService(settings, reactor=reactor, listen=False)._parts
    return {
        each.name: Sample(each.kind, _OF_THE_SCRAPE | set(each.labels))
        for each in parts.metrics.instruments
        if not isinstance(each, Histogram)
    }


def samples() -> dict[str, Sample]:
    """Return the samples by name; a histogram has one for each of its parts."""
    up = Sample("gauge", _OF_THE_SCRAPE)
    return {"up": up} | _of_shared_state() | dict(_of(text_string_to_metric_families(page())))


def _of(families: Iterable[Metric]) -> Iterator[tuple[str, Sample]]:
    for family in families:
        for sample in family.samples:
            kind = "counter" if family.type == "histogram" else family.type
            yield sample.name, Sample(kind, _OF_THE_SCRAPE | set(sample.labels))
