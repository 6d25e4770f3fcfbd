"""The polling of one feed: its schedule, its status, and what the log reports about it.

It does not know the feed's contents: a callback given at construction reads the body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from autopilot.feeds.reading import run_in_steps
from autopilot.http.fetch import cancel
from autopilot.http.fetch_error import INTERNAL, OK, FetchError
from autopilot.observability.log_rate_limit import LogRateLimit, failure_kind
from autopilot.process.hold_watch import Activity
from autopilot.routing.steps import Steps

CATALOG: Final = "catalog"
UTILIZATION: Final = "utilization"
FEEDS: Final = (CATALOG, UTILIZATION)

JITTER: Final = 0.1
"""Largest deviation of a pause from the interval, as a fraction of it."""

RETRY_BEFORE_FIRST: Final = 15.0
"""Longest pause in seconds until the first success, whatever the interval. Without a catalog the
router cannot serve the alias, and a network that comes up late should not cost minutes."""


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """The state of one feed's refreshes. Times are seconds of the injected clock."""

    name: str
    fetched_at: float | None = None
    """When the current data arrived; None before the first success."""
    failing_since: float | None = None
    """When the current run of failures began; None if the last refresh succeeded."""
    last_error: str | None = None
    """Why the last refresh failed, safe to show; None if it succeeded."""
    size: int = 0
    """Number of records in the current data."""
    rejected: int = 0
    """Number of unreadable records left out of it."""
    outcome: str = OK
    """How the last refresh ended, one of `fetch_error.OUTCOMES`."""


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """How many records of a body were used, and how many were unreadable."""

    size: int
    rejected: int


class Polling:
    """Fetches a feed at start and then every interval ±10 %, one fetch at a time, until stopped.

    A failed refresh changes nothing but the status: the callback either is not called, or raises
    before it replaces anything. The next refresh comes as scheduled.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        fetch: Callable[[], Deferred[bytes]],
        read: Callable[[bytes], Steps[RecordCounts]],
        interval: float,
        jitter: Callable[[], float],
        observed: Callable[[str, str, int], None],
        activity: Activity | None = None,
    ) -> None:
        """Take a `jitter` that returns a number in -1..1.

        `read` parses and publishes a body, in steps between which the reactor serves others.
        `observed` is called after each refresh with the feed's name, the outcome and the number of
        unreadable records. Each step of the reading is noted in the `activity` of the reactor.
        """
        self.status = FeedStatus(name)
        self._clock = clock
        self._fetch = fetch
        self._read = read
        self._interval = interval
        self._jitter = jitter
        self._observed = observed
        self._loop: LoopingCall | None = None
        self._in_flight: Deferred[None] | None = None
        self._repeats = LogRateLimit()
        self._activity = Activity() if activity is None else activity

    @property
    def due(self) -> float | None:
        """When the next fetch starts; None while one is in flight, and after `stop`."""
        call = None if self._loop is None else self._loop.call
        return None if call is None else call.getTime()

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._loop is not None

    def start(self, after: float = 0.0) -> None:
        """Fetch after so many seconds, then at intervals. Does nothing if already started."""
        if self._loop is not None:
            return
        self._loop = LoopingCall(self._refresh)
        self._loop.clock = self._clock
        # Each fetch sets the pause to the next one, see `_reschedule`.
        started = self._loop.start(after or self._interval, now=not after)
        started.addErrback(self._log_bug)

    def stop(self) -> Deferred[None]:
        """Stop fetching. Fires when a fetch in flight, which is cancelled, has ended."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()
        return cancel(self._in_flight)

    def _refresh(self) -> Deferred[None]:
        """Refresh once. The Deferred never fails, because a failure would end the LoopingCall."""
        self._in_flight = (
            maybeDeferred(self._begin)
            .addCallback(self._read_body)
            .addCallbacks(self._succeeded, self._failed)
            .addErrback(self._log_bug)
        )
        return self._in_flight

    def _begin(self) -> Deferred[bytes]:
        self._reschedule()
        return self._fetch()

    def _reschedule(self) -> None:
        """Start a new interval of a new length; by itself LoopingCall keeps the initial cadence.

        Otherwise routers that started together, or were delayed together, would fetch in step.
        """
        loop = self._loop
        assert loop is not None
        loop.starttime = self._clock.seconds()
        loop.interval = self._interval * (1 + JITTER * self._jitter())

    def _read_body(self, body: bytes) -> Deferred[RecordCounts | None]:
        """Read a body, unless the polling was stopped meanwhile.

        Cancelling the result ends the reading before its next step; nothing has been published
        then, as that is the last step.
        """
        if self._loop is None:
            return succeed(None)
        return run_in_steps(
            self._clock, self._activity, f"reading the {self.status.name} feed", self._read(body)
        )

    def _succeeded(self, counts: RecordCounts | None) -> None:
        """Update the status after a success."""
        if counts is None:
            return
        before = self.status
        self.status = FeedStatus(
            before.name,
            fetched_at=self._clock.seconds(),
            size=counts.size,
            rejected=counts.rejected,
        )
        if before.failing_since is not None:
            self._log.info(
                "Feed {feed} recovered after {seconds:.0f} s",
                feed=before.name,
                seconds=self._clock.seconds() - before.failing_since,
            )
        self._repeats.reset()
        self._observed(before.name, OK, counts.rejected)

    def _failed(self, failure: Failure) -> None:
        """Update the status after a failure."""
        # Whether `stop` cancelled the request shows in the loop only, not in the failure: a
        # cancelled request can fail in many ways.
        if self._loop is None:
            return
        error = failure.value
        if isinstance(error, FetchError):
            outcome, message = error.outcome, str(error)
        else:
            outcome, message = INTERNAL, "internal error"
            self._log_bug(failure)
        now = self._clock.seconds()
        since = self.status.failing_since
        self.status = replace(
            self.status,
            failing_since=now if since is None else since,
            last_error=message,
            outcome=outcome,
        )
        # Without any data the router cannot serve the alias: do not wait a whole interval.
        if self.status.fetched_at is None:
            self._loop.interval = min(self._loop.interval or RETRY_BEFORE_FIRST, RETRY_BEFORE_FIRST)
        self._report_failure(now, message)
        self._observed(self.status.name, outcome, 0)

    def _report_failure(self, now: float, message: str) -> None:
        """Warn of the first failure, of a new reason at once, then at growing intervals."""
        count = self._repeats.admit(message, now)
        self._log.emit(
            LogLevel.debug if count is None else LogLevel.warn,
            "Feed {feed} not refreshed{again}: {error}; {rest}",
            feed=self.status.name,
            again=f" ({count} times since it was last logged)" if count and count > 1 else "",
            error=message,
            rest="the last good data stays in use"
            if self.status.fetched_at is not None
            else "there was no data yet",
        )

    def _log_bug(self, failure: Failure) -> None:
        """Log an internal error with its traceback, at a limited rate."""
        if self._repeats.admit(failure_kind(failure), self._clock.seconds()) is not None:
            self._log.failure(
                "Internal error while feed {feed} was refreshed", failure, feed=self.status.name
            )
