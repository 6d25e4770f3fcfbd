"""The two feeds put together: what the rest of the router knows of the platform at any moment.

A `Snapshot` is made anew from the last good catalog and the last good loads whenever one of them
changes, and replaced whole, so a request can keep the one it began with.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from autopilot.feeds.parsers import parse_catalog, parse_utilization
from autopilot.feeds.polling import CATALOG, UTILIZATION, FeedStatus, Polling, Read
from autopilot.routing.catalog import Catalog
from autopilot.routing.ranking import Load, rank
from autopilot.routing.snapshot import Snapshot


class SnapshotService:
    """Keeps a snapshot of catalog and ranking current from two feeds, from `start` to `stop`."""

    def __init__(
        self,
        clock: IReactorTime,
        fetch_models: Callable[[], Deferred[bytes]],
        fetch_utilization: Callable[[], Deferred[bytes]],
        models_interval: float,
        utilization_interval: float,
        jitter: Callable[[], float],
        observed: Callable[[str, str, int], None],
    ) -> None:
        """Intervals are seconds; `jitter` returns a number in -1..1.

        `observed` is called after each refresh, when the snapshot is already replaced, with the
        feed's name, one of `feeds.OUTCOMES` and the number of records left out as unreadable.
        """
        self._clock = clock
        self._snapshot = Snapshot()
        self._loads: tuple[Load, ...] = ()
        self._catalog_feed = Polling(
            clock, CATALOG, fetch_models, self._read_catalog, models_interval, jitter, observed
        )
        self._utilization_feed = Polling(
            clock,
            UTILIZATION,
            fetch_utilization,
            self._read_utilization,
            utilization_interval,
            jitter,
            observed,
        )

    @property
    def snapshot(self) -> Snapshot:
        """The current snapshot; the one handed out before is never changed."""
        return self._snapshot

    @property
    def statuses(self) -> tuple[FeedStatus, FeedStatus]:
        """How the refreshes go: catalog first, then utilization."""
        return self._catalog_feed.status, self._utilization_feed.status

    def refreshed_in(self, feed: str | None = None) -> int:
        """After how many seconds this feed, or the sooner of both, may have been refreshed."""
        polled = {CATALOG: self._catalog_feed, UTILIZATION: self._utilization_feed}
        asked = polled.values() if feed is None else (polled[feed],)
        now = self._clock.seconds()
        waits = (0.0 if each.due is None else each.due - now for each in asked)
        return int(max(0.0, min(waits))) + 1  # a fetch takes a moment, too

    def start(self) -> None:
        """Fetch both feeds now and keep fetching."""
        self._catalog_feed.start()
        self._utilization_feed.start()

    def stop(self) -> Deferred[None]:
        """Cancel what is in flight and fetch no more. The snapshot stays as it is."""
        stopped = gatherResults([self._catalog_feed.stop(), self._utilization_feed.stop()])
        return stopped.addCallback(lambda _results: None)

    def _read_catalog(self, body: bytes) -> Read:
        parsed = parse_catalog(body)
        catalog = Catalog.of(parsed.models)
        self._snapshot = Snapshot(
            catalog=catalog,
            ranking=rank(self._loads, catalog),
            catalog_at=self._clock.seconds(),
            utilization_at=self._snapshot.utilization_at,
        )
        return Read(len(catalog), parsed.rejected)

    def _read_utilization(self, body: bytes) -> Read:
        parsed = parse_utilization(body)
        self._snapshot = Snapshot(
            catalog=self._snapshot.catalog,
            ranking=rank(parsed.loads, self._snapshot.catalog),
            catalog_at=self._snapshot.catalog_at,
            utilization_at=self._clock.seconds(),
        )
        self._loads = parsed.loads
        return Read(len(parsed.loads), parsed.rejected)
