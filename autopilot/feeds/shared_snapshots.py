"""The control plane of a router that shares its feeds with replicas (`FEEDS=shared`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from autopilot.feeds.control_plane import ControlPlane
from autopilot.feeds.feed_store import FeedStore, SharingStore
from autopilot.feeds.polling import FeedStatus
from autopilot.feeds.shared_feed import FeedRole, SharedFeed
from autopilot.process.hold_watch import Activity

# After so many the data is too old, by the defaults of READYZ_MAX_*.
_KEPT_INTERVALS: Final = 10


@dataclass(frozen=True, slots=True)
class FeedSource:
    """Where a feed is fetched from, and how often in seconds."""

    url: str
    fetch: Callable[[], Deferred[bytes]]
    interval: float


class SharedSnapshots(ControlPlane):
    """Keeps the snapshot current from what this router or another one fetches, each feed apart."""

    def __init__(
        self,
        clock: IReactorTime,
        store: SharingStore,
        sources: Mapping[str, FeedSource],
        lease: float,
        token: str,
        key: bytes,
        jitter: Callable[[], float],
        observed: Callable[[str, str, int], None],
        wall_clock: Callable[[], float],
        activity: Activity,
    ) -> None:
        """Share each of `sources`, by the names of the feeds, under a lease of so many seconds.

        `token` is this replica's own; `key` is one that all replicas have. The other arguments are
        those of `SnapshotService`.
        """
        super().__init__(clock, wall_clock, keeps_bodies=True)

        def shared(name: str, source: FeedSource) -> SharedFeed:
            keep = _KEPT_INTERVALS * source.interval + 2 * lease
            scope = blake2b(source.url.encode(), digest_size=8, key=key[:64]).hexdigest().encode()
            link = FeedStore(store, clock, activity, name, scope, token, lease, keep)
            return SharedFeed(
                clock,
                name,
                self,
                store,
                link,
                source.fetch,
                source.interval,
                lease,
                jitter,
                observed,
                activity,
            )

        self._feeds = {name: shared(name, source) for name, source in sources.items()}

    def roles(self) -> Mapping[str, FeedRole]:
        """See `ControlPlane`."""
        return {name: each.role for name, each in self._feeds.items() if each.role is not None}

    def status(self, feed: str) -> FeedStatus:
        """See `ControlPlane`."""
        return self._feeds[feed].status

    def due(self, feed: str) -> float | None:
        """See `ControlPlane`."""
        return self._feeds[feed].due

    def start(self) -> None:
        """See `ControlPlane`."""
        for each in self._feeds.values():
            each.start()

    def stop(self) -> Deferred[None]:
        """See `ControlPlane`. Leases are given up, which needs the store."""
        stopped = gatherResults([each.stop() for each in self._feeds.values()])
        return stopped.addCallback(lambda _results: None)
