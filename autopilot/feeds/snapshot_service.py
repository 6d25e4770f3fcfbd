"""The control plane of a process that fetches both feeds itself, for itself and its workers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from autopilot.feeds.control_plane import ControlPlane
from autopilot.feeds.polling import CATALOG, UTILIZATION, FeedStatus, Polling
from autopilot.process.hold_watch import Activity


class SnapshotService(ControlPlane):
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
        *,
        keeps_bodies: bool = False,
    ) -> None:
        """Take intervals in seconds, and a `jitter` that returns a number in -1..1.

        `wall_clock` returns the seconds since 1970, to which the feed's own times are compared.

        `observed` is called after each refresh, when the snapshot is already replaced, with the
        feed's name, one of `fetch_error.OUTCOMES` and the number of unreadable records.
        """
        super().__init__(clock, wall_clock, keeps_bodies=keeps_bodies)

        def polling(name: str, fetch: Callable[[], Deferred[bytes]], interval: float) -> Polling:
            read = partial(self.read, name)
            return Polling(clock, name, fetch, read, interval, jitter, observed, activity)

        self._polls = {
            CATALOG: polling(CATALOG, fetch_models, models_interval),
            UTILIZATION: polling(UTILIZATION, fetch_utilization, utilization_interval),
        }

    def status(self, feed: str) -> FeedStatus:
        """See `ControlPlane`."""
        return self._polls[feed].status

    def due(self, feed: str) -> float | None:
        """See `ControlPlane`."""
        return self._polls[feed].due

    def start(self) -> None:
        """Start polling both feeds."""
        for each in self._polls.values():
            each.start()

    def stop(self) -> Deferred[None]:
        """Stop polling and cancel fetches in flight. The snapshot stays as it is."""
        stopped = gatherResults([each.stop() for each in self._polls.values()])
        return stopped.addCallback(lambda _results: None)
