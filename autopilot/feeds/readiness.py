"""Readiness: whether the router can serve the alias, and if not, why (contract §9).

The rules are one table, evaluated from top to bottom. This module is pure: the time, the limits and
the feeds' status are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from autopilot.feeds.polling import CATALOG, UTILIZATION, FeedStatus
from autopilot.routing.snapshot import Snapshot

PRIVATE_UNREADY: Final = "private_unready"
"""The code where every request has to be private, and no instance can be attested."""


class FeedState(StrEnum):
    """How usable a feed's data is. A feed that is both empty and stale counts as empty."""

    ABSENT = "absent"
    EMPTY = "empty"
    FRESH = "fresh"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class FeedReport:
    """One feed as `/readyz` reports it. Times are in milliseconds.

    `age_ms` is the time since the feed was fetched, by which the router is ready or not.
    `data_age_ms` is the time since its newest data was measured, as the feed says itself; None if
    it does not.
    """

    name: str
    state: FeedState
    age_ms: int | None
    limit_ms: int
    size: int
    last_error: str | None
    data_age_ms: int | None = None


@dataclass(frozen=True, slots=True)
class _Facts:
    """The inputs of the table."""

    draining: bool
    served: bool
    catalog: FeedState
    utilization: FeedState
    private: bool


@dataclass(frozen=True, slots=True)
class _Row:
    """One reason not to be ready; `awaits` is the feed whose refresh may end it."""

    code: str
    applies: Callable[[_Facts], bool]
    message: str
    awaits: str | None


# The first row that applies decides; if none does, the router is ready. A draining router is never
# ready, nor is one whose workers do not serve, and without a catalog the state of the other feed
# does not matter yet. The last row needs a catalog too, which names the models with a TEE.
_ROWS: Final = (
    _Row("draining", lambda f: f.draining, "The router is shutting down.", None),
    _Row("no_workers", lambda f: not f.served, "No worker accepts connections.", None),
    _Row(
        "missing_allowlist",
        lambda f: f.catalog is FeedState.ABSENT,
        "The model catalog has not been fetched yet.",
        CATALOG,
    ),
    _Row(
        "allowlist_empty",
        lambda f: f.catalog is FeedState.EMPTY,
        "The model catalog is empty.",
        CATALOG,
    ),
    _Row(
        "stale_allowlist",
        lambda f: f.catalog is FeedState.STALE,
        "The model catalog is older than its limit.",
        CATALOG,
    ),
    _Row(
        "missing_snapshot",
        lambda f: f.utilization is FeedState.ABSENT,
        "The utilization feed has not been fetched yet.",
        UTILIZATION,
    ),
    _Row(
        "snapshot_empty",
        lambda f: f.utilization is FeedState.EMPTY,
        "The utilization feed leaves no model to choose.",
        UTILIZATION,
    ),
    _Row(
        "stale_snapshot",
        lambda f: f.utilization is FeedState.STALE,
        "The utilization feed is older than its limit.",
        UTILIZATION,
    ),
    _Row(
        PRIVATE_UNREADY,
        lambda f: not f.private,
        "Every request has to be private, and nothing is attestable.",
        None,
    ),
)


@dataclass(frozen=True, slots=True)
class Readiness:
    """The verdict: 200 without a code, or 503 with the code and message of the row that applies.

    `feeds` are the catalog and the utilization feed, in this order. `candidates` is the number of
    models that the alias can choose from. `awaits` is the feed whose next refresh may change the
    verdict.
    """

    status: int
    code: str | None
    message: str
    candidates: int
    feeds: tuple[FeedReport, ...]
    awaits: str | None = None

    def report(self) -> dict[str, object]:
        """Return the body as data for JSON: an error if not ready, and always both feeds."""
        facts: dict[str, object] = {
            "candidates": self.candidates,
            "feeds": {feed.name: _without_name(feed) for feed in self.feeds},
        }
        if self.code is None:
            return {"status": "ready", **facts}
        error = {
            "type": "not_ready",
            "message": self.message,
            "param": None,
            "code": self.code,
        }
        return {"error": error, **facts}


def readiness(
    snapshot: Snapshot,
    statuses: tuple[FeedStatus, FeedStatus],
    now: float,
    max_snapshot_age: float,
    max_allowlist_age: float,
    draining: bool,
    served: bool = True,
    unattestable: str | None = None,
) -> Readiness:
    """Evaluate the snapshot at `now`, in seconds of the clock that stamped it.

    The age limits are in seconds too; data exactly as old as its limit is still fresh. `statuses`
    are those of the catalog and the utilization feed, in this order. `served`: a process accepts
    the connections of clients. `unattestable` says in words why nothing is attestable, where every
    request has to be private; None otherwise.
    """
    catalog, utilization = statuses
    feeds = (
        _feed(catalog, snapshot.catalog_at, bool(snapshot.catalog), now, max_allowlist_age),
        _feed(
            utilization,
            snapshot.utilization_at,
            bool(snapshot.ranking),
            now,
            max_snapshot_age,
            snapshot.measured_at,
        ),
    )
    facts = _Facts(draining, served, feeds[0].state, feeds[1].state, unattestable is None)
    for row in _ROWS:
        if row.applies(facts):
            message = row.message
            if row.code == PRIVATE_UNREADY:
                message = f"{message[:-1]}: {unattestable}."
            return Readiness(503, row.code, message, len(snapshot.ranking), feeds, row.awaits)
    return Readiness(200, None, "ready", len(snapshot.ranking), feeds)


def _feed(
    status: FeedStatus,
    fetched_at: float | None,
    has_content: bool,
    now: float,
    limit: float,
    measured_at: float | None = None,
) -> FeedReport:
    """Return the report of one feed."""
    age, data_age = _age(fetched_at, now), _age(measured_at, now)
    if age is None:
        state = FeedState.ABSENT
    elif not has_content:
        state = FeedState.EMPTY
    else:
        state = FeedState.STALE if age > limit else FeedState.FRESH
    return FeedReport(
        name=status.name,
        state=state,
        age_ms=None if age is None else int(age * 1000),
        limit_ms=int(limit * 1000),
        size=status.size,
        last_error=status.last_error,
        data_age_ms=None if data_age is None else int(data_age * 1000),
    )


def _age(at: float | None, now: float) -> float | None:
    return None if at is None else max(0.0, now - at)


def _without_name(feed: FeedReport) -> dict[str, object]:
    """Return the report's fields, except the name, which is the key in the body."""
    values = asdict(feed)
    del values["name"]
    return values
