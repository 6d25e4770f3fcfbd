"""Every metric that the router exports, with its type and its labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from autopilot.observability.account_limits import AccountLimits
from autopilot.observability.metrics import Gauges, Metrics
from autopilot.routing.account_limits import LIMIT_FIELDS
from autopilot.routing.usage import Usage
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
    return metrics.text().decode()


def samples() -> dict[str, Sample]:
    """Return the samples by name; a histogram has one for each of its parts."""
    up = Sample("gauge", _OF_THE_SCRAPE)
    return {"up": up} | dict(_of(text_string_to_metric_families(page())))


def _of(families: Iterable[Metric]) -> Iterator[tuple[str, Sample]]:
    for family in families:
        for sample in family.samples:
            kind = "counter" if family.type == "histogram" else family.type
            yield sample.name, Sample(kind, _OF_THE_SCRAPE | set(sample.labels))
