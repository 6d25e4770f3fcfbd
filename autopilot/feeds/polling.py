"""Keeps one feed current: when to fetch, what the last attempts came to, what to log about it.

It does not know what a feed contains: a reader given at construction takes the body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from autopilot.http.cancelling import cancelled
from autopilot.http.fetch_error import INTERNAL, OK, FetchError
from autopilot.observability.log_rate_limit import LogRateLimit, alike

CATALOG: Final = "catalog"
UTILIZATION: Final = "utilization"

JITTER: Final = 0.1
"""How far a pause may differ from the interval, as a share of it."""

UNTIL_FIRST: Final = 15.0
"""Seconds after which a feed that was never fetched is asked again, however long its interval:
without it the router serves nobody, and a network that comes up late should not cost minutes."""


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """What is known about one feed's refreshes. Times are seconds of the injected clock."""

    name: str
    fetched_at: float | None = None
    """When the data in use arrived; None before the first success."""
    failing_since: float | None = None
    """When the current run of failures began; None while the last refresh was a success."""
    last_error: str | None = None
    """Why the last refresh failed, safe to show; None after a success."""
    size: int = 0
    """Records in the data in use."""
    rejected: int = 0
    """Records left out of it because they could not be read."""


class Read(NamedTuple):
    """What a reader made of a body: records taken, records it could not read."""

    size: int
    rejected: int


class Polling:
    """Fetches one feed at start and then every interval ±10 %, one fetch at a time, until stopped.

    A failed refresh changes the status and nothing else: the reader is not called, or has raised
    before it replaced anything, and the next round comes as planned.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        fetch: Callable[[], Deferred[bytes]],
        read: Callable[[bytes], Read],
        interval: float,
        jitter: Callable[[], float],
        observed: Callable[[str, str, int], None],
    ) -> None:
        """`jitter` returns a number in -1..1; `observed` is told feed, outcome and rejected."""
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

    @property
    def due(self) -> float | None:
        """When the next fetch begins; None while one is in flight, and after the end."""
        call = None if self._loop is None else self._loop.call
        return None if call is None else call.getTime()

    def start(self) -> None:
        """Fetch now and keep fetching. Does nothing when already started."""
        if self._loop is not None:
            return
        self._loop = LoopingCall(self._round)
        self._loop.clock = self._clock
        self._loop.start(self._interval)

    def stop(self) -> Deferred[None]:
        """Fetch no more. Fires when a fetch in flight, which is cancelled, has ended."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()
        return cancelled(self._in_flight)

    def _round(self) -> Deferred[None]:
        """One refresh. Its Deferred never fails, since a LoopingCall stops at the first failure."""
        self._pace()
        self._in_flight = (
            maybeDeferred(self._fetch)
            .addCallback(self._take)
            .addCallbacks(self._succeeded, self._failed)
            .addErrback(self._unexpected)
        )
        return self._in_flight

    def _pace(self) -> None:
        """Begin a new interval now, of a new length; LoopingCall would keep the first one's beat.

        Many routers started together, or delayed together, so do not stay in step.
        """
        loop = self._loop
        assert loop is not None
        loop.starttime = self._clock.seconds()
        loop.interval = self._interval * (1 + JITTER * self._jitter())

    def _take(self, body: bytes) -> Read | None:
        return None if self._loop is None else self._read(body)

    def _succeeded(self, read: Read | None) -> None:
        if read is None:
            return
        before = self.status
        self.status = FeedStatus(
            before.name,
            fetched_at=self._clock.seconds(),
            size=read.size,
            rejected=read.rejected,
        )
        if before.failing_since is not None:
            self._log.info(
                "Feed {feed} is back after {seconds:.0f} s",
                feed=before.name,
                seconds=self._clock.seconds() - before.failing_since,
            )
        self._repeats.forget()
        self._observed(before.name, OK, read.rejected)

    def _failed(self, failure: Failure) -> None:
        # Whether this is the end of it is known from the loop and not from the failure: a
        # cancelled request fails in many ways.
        if self._loop is None:
            return
        error = failure.value
        if isinstance(error, FetchError):
            outcome, message = error.outcome, str(error)
        else:
            outcome, message = INTERNAL, "internal error"
            self._unexpected(failure)
        now = self._clock.seconds()
        since = self.status.failing_since
        self.status = replace(
            self.status,
            failing_since=now if since is None else since,
            last_error=message,
        )
        if self.status.fetched_at is None:
            self._loop.interval = min(self._loop.interval or UNTIL_FIRST, UNTIL_FIRST)
        self._report_failure(now, message)
        self._observed(self.status.name, outcome, 0)

    def _report_failure(self, now: float, message: str) -> None:
        """Warn of the first failure, of another reason at once, and then now and again."""
        count = self._repeats.met(message, now)
        self._log.emit(
            LogLevel.debug if count is None else LogLevel.warn,
            "Feed {feed} not refreshed{again}: {error}; the last good data stays in use",
            feed=self.status.name,
            again=f" ({count} times since this was last said)" if count and count > 1 else "",
            error=message,
        )

    def _unexpected(self, failure: Failure) -> None:
        """A bug, with its traceback: not with each round in which it is met again."""
        if self._repeats.met(alike(failure), self._clock.seconds()) is not None:
            self._log.failure("Feed {feed}: a bug", failure, feed=self.status.name)
