"""What every control plane is: the snapshot, made from the bodies of both feeds.

The planes differ in where the bodies come from: the platform, the parent process or the store.
Whenever the catalog or the loads change, a new `Snapshot` is made from the last good data of both
and replaces the previous one, so that a request can keep the one that it started with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from autopilot.feeds.parsers import catalog_steps, utilization_steps
from autopilot.feeds.polling import CATALOG, FEEDS, UTILIZATION, FeedStatus, RecordCounts
from autopilot.feeds.shared_snapshot import FeedHead, head_of
from autopilot.routing.catalog import Catalog
from autopilot.routing.ranking import Load, ranking_steps
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.steps import Steps


class ControlPlane(ABC):
    """Holds the current snapshot, and makes the next one from a feed's body.

    With ``keeps_bodies`` it holds the last good body of each feed, for those who pass it on, and
    does not read the same body twice.
    """

    def __init__(
        self,
        clock: IReactorTime,
        wall_clock: Callable[[], float],
        *,
        keeps_bodies: bool = False,
    ) -> None:
        """Compare the feed's own times with those of `wall_clock`, in seconds since 1970."""
        self.snapshot = Snapshot()
        """The current snapshot, immutable and replaced whole; only this object assigns it."""
        self._clock = clock
        self._wall_clock = wall_clock
        self._keeps = keeps_bodies
        self._bodies: dict[str, bytes] = {}
        self._versions: dict[str, int] = {}
        self._counts: dict[str, RecordCounts] = {}
        self._loads: tuple[Load, ...] = ()

    @abstractmethod
    def status(self, feed: str) -> FeedStatus:
        """Return the status of a feed."""

    @abstractmethod
    def due(self, feed: str) -> float | None:
        """Return when the next refresh starts; None while one is in flight, and if none is due."""

    @abstractmethod
    def start(self) -> None:
        """Begin to keep the snapshot current."""

    @abstractmethod
    def stop(self) -> Deferred[None]:
        """End everything that is in flight. The snapshot stays as it is."""

    @property
    def statuses(self) -> tuple[FeedStatus, FeedStatus]:
        """The status of the catalog and of the utilization feed, in this order."""
        return self.status(CATALOG), self.status(UTILIZATION)

    def roles(self) -> Mapping[str, str]:
        """Return what this router does for each feed that it shares with others, if it knows."""
        return {}

    def refreshed_in(self, feed: str | None = None) -> int:
        """Return the seconds until `feed`, or the sooner of both feeds, may have been refreshed."""
        now = self._clock.seconds()
        dues = [self.due(each) for each in (FEEDS if feed is None else (feed,))]
        waits = (0.0 if due is None else due - now for due in dues)
        return int(max(0.0, min(waits))) + 1  # rounded up, as the fetch itself takes a moment

    def publication(self, feed: str) -> tuple[FeedHead, bytes | None]:
        """Return a feed as it goes to those who do not fetch it, from a plane that keeps bodies."""
        status = self.status(feed)
        body = None if status.fetched_at is None else self._bodies.get(feed)
        version = "" if body is None else str(self._versions[feed])
        size = 0 if body is None else len(body)
        return head_of(status, version, size, self.due(feed), self._clock.seconds()), body

    def read(self, feed: str, body: bytes, at: float | None = None) -> Steps[RecordCounts]:
        """Read a body in steps, the last of which replaces the snapshot.

        The data was fetched ``at`` this time of the clock, by default when the reading ends.
        """
        if self._keeps and body == self._bodies.get(feed):
            self.stamp(feed, self._clock.seconds() if at is None else at)
            return self._counts[feed]
        read = self._read_catalog if feed == CATALOG else self._read_utilization
        counts = yield from read(body, at)
        if self._keeps:
            self._bodies[feed], self._counts[feed] = body, counts
            self._versions[feed] = self._versions.get(feed, 0) + 1
        return counts

    def stamp(self, feed: str, at: float) -> None:
        """Note that a fetch ``at`` this time brought the same data again."""
        if feed == CATALOG:
            self.snapshot = replace(self.snapshot, catalog_at=at)
        else:
            self.snapshot = replace(self.snapshot, utilization_at=at)

    def _read_catalog(self, body: bytes, at: float | None) -> Steps[RecordCounts]:
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
            catalog_at=self._clock.seconds() if at is None else at,
            utilization_at=self.snapshot.utilization_at,
            measured_at=self.snapshot.measured_at,
        )
        return RecordCounts(len(catalog), parsed.rejected)

    def _read_utilization(self, body: bytes, at: float | None) -> Steps[RecordCounts]:
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
            utilization_at=now if at is None else at,
            measured_at=measured_at,
        )
        # After the ranking, so that an exception in it leaves the previous loads in use.
        self._loads = parsed.loads
        return RecordCounts(len(parsed.loads), parsed.rejected)
