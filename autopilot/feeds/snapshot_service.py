"""The current snapshot of the platform, kept up to date from both feeds.

Whenever the catalog or the loads change, a new `Snapshot` is made from the last good data of both
and replaces the previous one, so that a request can keep the one that it started with.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from autopilot.feeds.parsers import catalog_steps, utilization_steps
from autopilot.feeds.polling import CATALOG, UTILIZATION, FeedStatus, Polling, RecordCounts
from autopilot.process.hold_watch import Activity
from autopilot.routing.catalog import Catalog
from autopilot.routing.ranking import Load, ranking_steps
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.steps import Steps


class SnapshotService:
    """Keeps the snapshot of catalog and ranking current, from `start` to `stop`."""

    def __init__(
        self,
        clock: IReactorTime,
        fetch_models: Callable[[], Deferred[bytes]],
        fetch_utilization: Callable[[], Deferred[bytes]],
        models_interval: float,
        utilization_interval: float,
        jitter: Callable[[], float],
        observed: Callable[[str, str, int], None],
        wall_clock: Callable[[], float],
        activity: Activity | None = None,
    ) -> None:
        """Take intervals in seconds, and a `jitter` that returns a number in -1..1.

        `wall_clock` returns the seconds since 1970, to which the feed's own times are compared.

        `observed` is called after each refresh, when the snapshot is already replaced, with the
        feed's name, one of `fetch_error.OUTCOMES` and the number of unreadable records.
        """
        self._clock = clock
        self._wall_clock = wall_clock
        self.snapshot = Snapshot()
        """The current snapshot, immutable and replaced whole; only this service assigns it."""
        self._loads: tuple[Load, ...] = ()
        self._catalog_feed = Polling(
            clock,
            CATALOG,
            fetch_models,
            self._read_catalog,
            models_interval,
            jitter,
            observed,
            activity,
        )
        self._utilization_feed = Polling(
            clock,
            UTILIZATION,
            fetch_utilization,
            self._read_utilization,
            utilization_interval,
            jitter,
            observed,
            activity,
        )

    @property
    def statuses(self) -> tuple[FeedStatus, FeedStatus]:
        """The status of the catalog and of the utilization feed, in this order."""
        return self._catalog_feed.status, self._utilization_feed.status

    def refreshed_in(self, feed: str | None = None) -> int:
        """Return the seconds until `feed`, or the sooner of both feeds, may have been refreshed."""
        by_name = {CATALOG: self._catalog_feed, UTILIZATION: self._utilization_feed}
        feeds = by_name.values() if feed is None else (by_name[feed],)
        now = self._clock.seconds()
        waits = (0.0 if each.due is None else each.due - now for each in feeds)
        return int(max(0.0, min(waits))) + 1  # rounded up, as the fetch itself takes a moment

    def start(self) -> None:
        """Start polling both feeds."""
        self._catalog_feed.start()
        self._utilization_feed.start()

    def stop(self) -> Deferred[None]:
        """Stop polling and cancel fetches in flight. The snapshot stays as it is."""
        stopped = gatherResults([self._catalog_feed.stop(), self._utilization_feed.stop()])
        return stopped.addCallback(lambda _results: None)

    def _read_catalog(self, body: bytes) -> Steps[RecordCounts]:
        """Parse the catalog and re-rank the last loads by it."""
        parsed = yield from catalog_steps(body)
        catalog = yield from Catalog.steps_of(parsed.models)
        while True:
            loads = self._loads
            ranking = yield from ranking_steps(loads, catalog)
            if loads is self._loads:  # else the other feed came between two steps
                break
        self.snapshot = Snapshot(
            catalog=catalog,
            ranking=ranking,
            catalog_at=self._clock.seconds(),
            utilization_at=self.snapshot.utilization_at,
            measured_at=self.snapshot.measured_at,
        )
        return RecordCounts(len(catalog), parsed.rejected)

    def _read_utilization(self, body: bytes) -> Steps[RecordCounts]:
        """Parse the loads and rank them by the last catalog."""
        parsed = yield from utilization_steps(body)
        while True:
            catalog = self.snapshot.catalog
            ranking = yield from ranking_steps(parsed.loads, catalog)
            if catalog is self.snapshot.catalog:  # see `_read_catalog`
                break
        now, measured_at = self._clock.seconds(), parsed.measured_at
        if measured_at is not None:
            # From now on by the monotonic clock; a time to come is one of clocks that differ.
            measured_at = now - max(0.0, self._wall_clock() - measured_at)
        self.snapshot = Snapshot(
            catalog=catalog,
            ranking=ranking,
            catalog_at=self.snapshot.catalog_at,
            utilization_at=now,
            measured_at=measured_at,
        )
        # After the ranking, so that an exception in it leaves the previous loads in use.
        self._loads = parsed.loads
        return RecordCounts(len(parsed.loads), parsed.rejected)
