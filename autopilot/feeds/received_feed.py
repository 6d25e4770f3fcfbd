"""One feed that another process fetched: its status, and the reading of its body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.feeds.polling import FeedStatus, RecordCounts
from autopilot.feeds.reading import run_in_steps
from autopilot.feeds.shared_snapshot import FeedHead, Received
from autopilot.http.fetch import cancel
from autopilot.http.fetch_error import INTERNAL, FetchError
from autopilot.observability.log_rate_limit import LogRateLimit, failure_kind
from autopilot.process.hold_watch import Activity
from autopilot.routing.steps import Steps


class Target(Protocol):
    """What makes a snapshot of a body, see `ControlPlane`."""

    def read(self, feed: str, body: bytes, at: float | None = None) -> Steps[RecordCounts]:
        """Read a body in steps."""

    def stamp(self, feed: str, at: float) -> None:
        """Note a fetch that brought the same data again."""


class ReceivedFeed:
    """Takes what arrives, one after the other; of what waits for its turn, the latest counts.

    A body that cannot be read changes nothing but the status.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        target: Target,
        activity: Activity | None = None,
        observed: Callable[[str, str, int], None] = lambda *_: None,
    ) -> None:
        """`observed` is called after each arrival with the feed's name, outcome and rejects."""
        self.status = FeedStatus(name)
        self.due: float | None = None
        """When the one who fetches will refresh it; None before the first arrival."""
        self.version = ""
        """The version of the body that the current data was read from."""
        self._clock = clock
        self._target = target
        self._activity = Activity() if activity is None else activity
        self._observed = observed
        self._reading: Deferred[None] | None = None
        self._waiting: Received | None = None
        self._repeats = LogRateLimit()
        self._stopped = False

    def take(self, received: Received) -> None:
        """Take what arrived, now or when what came before has been read."""
        if self._stopped:
            return
        if self._reading is None:
            self._begin(received)
            return
        before = self._waiting
        if (
            received.body is None
            and before is not None
            and before.head.version == received.head.version
        ):
            # The later head belongs to the body that is waiting.
            received = Received(received.head, received.at, before.body)
        self._waiting = received

    def stop(self) -> Deferred[None]:
        """Take nothing any more, and cancel a reading in progress. Fires when that has ended."""
        self._stopped, self._waiting = True, None
        return cancel(self._reading)

    def _begin(self, received: Received) -> None:
        head, at = received.head, received.at
        self.due = at + head.due_in
        if head.age is None:
            heard = _status(head, at)
            self.status = replace(
                heard,
                fetched_at=self.status.fetched_at,
                size=self.status.size,
                rejected=self.status.rejected,
            )
        elif head.version == self.version:
            self._target.stamp(head.name, at - head.age)
            self.status = _status(head, at, self.status.size, self.status.rejected)
        elif received.body is not None:
            self._read(received, received.body, at - head.age)
            return
        else:
            return  # that body could not be read, as the status says
        self._observed(head.name, head.outcome, 0)

    def _read(self, received: Received, body: bytes, fetched_at: float) -> None:
        steps = self._target.read(self.status.name, body, fetched_at)
        doing = f"reading the {self.status.name} feed"
        reading: Deferred[None] = run_in_steps(
            self._clock, self._activity, doing, steps
        ).addCallbacks(partial(self._succeeded, received), self._failed)
        self._reading = reading
        reading.addBoth(self._ended)

    def _succeeded(self, received: Received, counts: RecordCounts) -> None:
        head = received.head
        self.version = head.version
        self.status = _status(head, received.at, counts.size, counts.rejected)
        self._repeats.reset()
        self._observed(head.name, head.outcome, counts.rejected)

    def _failed(self, failure: Failure) -> None:
        """Note why the body could not be read. Its sender could, but may be of another version."""
        if self._stopped:
            return
        error, now = failure.value, self._clock.seconds()
        known = isinstance(error, FetchError)
        outcome = error.outcome if isinstance(error, FetchError) else INTERNAL
        since = self.status.failing_since
        self.status = replace(
            self.status,
            failing_since=now if since is None else since,
            last_error=str(error) if known else "internal error",
            outcome=outcome,
        )
        if self._repeats.admit(failure_kind(failure), now) is not None:
            self._log.failure(
                "Feed {feed}, which another process fetched, could not be read",
                failure,
                feed=self.status.name,
            )
        self._observed(self.status.name, outcome, 0)

    def _ended(self, result: object) -> None:
        """Go on with what arrived in the meantime."""
        self._reading = None
        if isinstance(result, Failure):
            self._log.failure("Internal error while a feed was received", result)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._begin(waiting)


def _status(head: FeedHead, at: float, size: int = 0, rejected: int = 0) -> FeedStatus:
    """Return the status of a feed whose head arrived ``at`` this time."""
    return FeedStatus(
        head.name,
        fetched_at=None if head.age is None else at - head.age,
        failing_since=None if head.failing_for is None else at - head.failing_for,
        last_error=head.last_error,
        size=size,
        rejected=rejected,
        outcome=head.outcome,
    )
