"""The control plane of a worker, which receives the feeds that its parent fetches."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from autopilot.feeds.control_plane import ControlPlane
from autopilot.feeds.polling import FEEDS, FeedStatus
from autopilot.feeds.received_feed import ReceivedFeed
from autopilot.feeds.shared_snapshot import Assembly
from autopilot.process.hold_watch import Activity


class ReceivedSnapshots(ControlPlane):
    """Keeps the snapshot current from the frames that the parent sends, whose ages it continues."""

    def __init__(
        self,
        clock: IReactorTime,
        wall_clock: Callable[[], float],
        activity: Activity | None = None,
    ) -> None:
        """`wall_clock` returns the seconds since 1970, to which the feed's times are compared."""
        super().__init__(clock, wall_clock)
        self._assembly = Assembly()
        self._feeds = {each: ReceivedFeed(clock, each, self, activity) for each in FEEDS}

    def frame(self, payload: bytes) -> None:
        """Take a frame of the kind FEED.

        :raises ValueError: it is not one, or does not belong to what came before it.
        """
        received = self._assembly.add(payload, self._clock.seconds())
        if received is not None:
            self._feeds[received.head.name].take(received)

    def status(self, feed: str) -> FeedStatus:
        """See `ControlPlane`."""
        return self._feeds[feed].status

    def due(self, feed: str) -> float | None:
        """See `ControlPlane`."""
        return self._feeds[feed].due

    def start(self) -> None:
        """Do nothing: the parent sends by itself."""

    def stop(self) -> Deferred[None]:
        """See `ControlPlane`. What arrives later is ignored."""
        stopped = gatherResults([each.stop() for each in self._feeds.values()])
        return stopped.addCallback(lambda _results: None)
