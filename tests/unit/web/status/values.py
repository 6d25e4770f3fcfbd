"""Status reports for pages under test."""

from __future__ import annotations

from typing import Any

from autopilot.feeds.polling import FeedStatus
from autopilot.feeds.readiness import Readiness, readiness
from autopilot.observability.history import FinishedRequest
from autopilot.observability.records import RequestRecord
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.ranking import Load, rank
from autopilot.routing.snapshot import Snapshot
from autopilot.web.status.report import StatusReport


def ready(
    *,
    catalog_at: float | None = 0.0,
    loads_at: float | None = 0.0,
    measured_at: float | None = None,
    draining: bool = False,
) -> Readiness:
    """Return the readiness of a router with one model, at 100 s, with limits of 60 and 900 s."""
    catalog = Catalog.of([Model("a", chute_id="1", raw=b"{}")])
    ranking = rank([Load("a", "1", 3)], catalog)
    snapshot = Snapshot(
        None if catalog_at is None else catalog,
        () if loads_at is None else ranking,
        catalog_at,
        loads_at,
        measured_at,
    )
    statuses = FeedStatus("catalog"), FeedStatus("utilization")
    return readiness(snapshot, statuses, 100.0, 60.0, 900.0, draining)


def finished(*records: RequestRecord) -> tuple[FinishedRequest, ...]:
    """Return these records as ended one second after another, the last at 1970-01-02 00:00 UTC."""
    return tuple(FinishedRequest(86_400.0 - ago, each) for ago, each in enumerate(records))


def facts(*names: str, **given: Any) -> StatusReport:
    """Return a report in which these models are ranked, the first with the most instances."""
    catalog = Catalog.of([Model(name, chute_id=name, raw=b"{}") for name in names])
    loads = [
        Load(name, name, 1 + len(names) - place, 0.25, rate_limit_ratio_5m=0.1, scalable=True)
        for place, name in enumerate(names)
    ]
    ranking = rank(loads, catalog)
    return StatusReport(
        **{"version": "1", "readiness": ready(loads_at=90.0), "ranking": ranking, **given}
    )
