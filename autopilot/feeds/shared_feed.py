"""One feed that replicas share through the store: one of them fetches it, the others read it.

A replica is the *holder* of the feed's lease, which fetches and publishes; a *reader* of what the
holder publishes; or *alone*, and fetches for itself, because the store is gone or refuses commands,
or because nothing is published although a lease is held. Nothing depends on the store: whatever
fails leads to *alone*, with the data that the replica has, and the next fetch when it is due.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import partial
from math import inf
from typing import Final

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from autopilot.feeds.control_plane import ControlPlane
from autopilot.feeds.feed_news import FeedNews
from autopilot.feeds.feed_store import FREE, FeedStore, PublicationRefused, SharingStore
from autopilot.feeds.job import Job
from autopilot.feeds.polling import JITTER, FeedStatus, Polling
from autopilot.feeds.received_feed import ReceivedFeed
from autopilot.http.fetch_error import OK
from autopilot.observability.log_rate_limit import LogRateLimit, failure_kind
from autopilot.process.hold_watch import Activity
from autopilot.state.sharing.store_fault import StoreRefused, StoreUnavailable

RETRY: Final = 1.0
"""Seconds between two attempts to share, while alone."""

GRACE: Final = 1.0
"""Seconds that a start waits for the store."""

FIRST_NEWS: Final = 5.0
"""Seconds after which a reader without any data fetches for itself, whoever holds the lease."""

RELEASE_TIME: Final = 1.0
"""Seconds that a stop may take to give up the lease."""

_FAILURES: Final = (StoreUnavailable, StoreRefused, PublicationRefused, ValueError)


class FeedRole(StrEnum):
    """What a replica does for a feed."""

    HOLDER = "holder"
    READER = "reader"
    ALONE = "alone"


class SharedFeed:
    """Keeps one feed current, in one of the three roles, from `start` to `stop`."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        plane: ControlPlane,
        store: SharingStore,
        link: FeedStore,
        fetch: Callable[[], Deferred[bytes]],
        interval: float,
        lease: float,
        jitter: Callable[[], float],
        observed: Callable[[str, str, int], None],
        activity: Activity,
    ) -> None:
        """Publish to `link` what `plane` keeps of the feed, or let the plane read what is there.

        Times are in seconds; the other arguments are those of `Polling`.
        """
        self.role: FeedRole | None = None
        """What this replica does for the feed; None until it knows."""
        self._clock = clock
        self._name = name
        self._plane = plane
        self._store = store
        self._link = link
        self._fetch_feed = fetch
        self._interval = interval
        self._lease = lease
        self._jitter = jitter
        self._observed = observed
        self._polling = Polling(
            clock,
            name,
            self._fetch,
            partial(plane.read, name),
            interval,
            jitter,
            self._polled,
            activity,
        )
        self._received = ReceivedFeed(clock, name, plane, activity, self._read)
        self._news = FeedNews(clock, store, link, self._received, lambda: self.status)
        self._turns = Job(self._turn, self._bug)
        self._publishing = Job(self._publish, self._bug)
        self._taking = Job(self._take_message, self._bug)
        self._timer: IDelayedCall | None = None
        self._held_until = -inf
        self._rests_until = -inf
        self._message_left = b""
        self._published = True
        self._stopped = False
        self._ending: Deferred[None] | None = None
        self._repeats = LogRateLimit()

    @property
    def status(self) -> FeedStatus:
        """The status of the feed, whoever fetches it."""
        return self._polling.status if self._polling.running else self._received.status

    @property
    def due(self) -> float | None:
        """When the next fetch starts, whoever does it."""
        return self._polling.due if self._polling.running else self._received.due

    def start(self) -> None:
        """Begin to share, or to fetch for itself if the store does not come up in time."""
        self._news.heard_at = self._clock.seconds()
        self._link.listen(self._message)
        self._store.when_up(self._turns.ask)
        if self._store.available:
            self._turns.ask()
        else:
            self._turn_in(GRACE)

    def stop(self) -> Deferred[None]:
        """End everything in flight, and give up the lease, so that another need not wait."""
        if self._ending is None:
            self._stopped = True
            self._ending = Deferred.fromCoroutine(self._stop())
        ended: Deferred[None] = Deferred()
        self._ending.addBoth(lambda _: ended.callback(None))
        return ended

    async def _stop(self) -> None:
        holds = self.role is FeedRole.HOLDER
        self._cancel_timer()
        work = [each.stop() for each in (self._turns, self._publishing, self._taking)]
        await gatherResults([*work, self._polling.stop(), self._received.stop()])
        if holds:
            releasing = Deferred.fromCoroutine(self._link.release())
            with suppress(*_FAILURES, TimeoutError):
                await releasing.addTimeout(RELEASE_TIME, self._clock)

    # What this replica is.

    async def _turn(self) -> None:
        """Renew the lease, or try to get it and read what its holder published."""
        self._cancel_timer()
        wait = RETRY
        try:
            wait = await (self._renew() if self.role is FeedRole.HOLDER else self._compete())
        except _FAILURES as error:
            if self.role is not FeedRole.HOLDER or self._lapsed():
                self._go_alone(str(error))
        finally:
            if not self._stopped:
                self._turn_in(wait)

    async def _renew(self) -> float:
        """Hold the lease for longer; return the seconds until the next turn."""
        sent = self._clock.seconds()
        if not await self._link.renew():
            self._follow()
            return 0.0
        # Counted from before the store knew of it, so that it never lasts longer here than there.
        self._held_until = sent + self._lease
        if not self._published:
            self._publishing.ask()
        return self._lease / 3

    async def _compete(self) -> float:
        """Become holder if no other is, else reader; return the seconds until the next turn."""
        sent = self._clock.seconds()
        left: float | None = self._rests_until - sent
        if left is not None and left <= 0:
            left = await self._link.acquire()
        if left is None:
            return await self._take_over(sent)
        await self._look()
        overdue_in = self._news.heard_at + self._patience() - self._clock.seconds()
        if overdue_in <= 0:
            self._go_alone("another router holds the lease, but publishes nothing")
            return self._lease / 3
        self._follow()
        expiry = left + 0.1 * abs(self._jitter()) * min(self._lease, self._interval)
        return max(0.01, min(self._lease / 3, expiry, overdue_in))

    async def _take_over(self, acquired_at: float) -> float:
        """Become holder, with what the one before published; return as `_compete` does."""
        found = True
        # What cannot be read is replaced soon.
        with suppress(ValueError):
            found = await self._look()
        self._held_until = acquired_at + self._lease
        self._hold(unknown=not found)
        return self._lease / 3

    async def _look(self) -> bool:
        """Take what is published; return whether there is anything."""
        newer = await self._news.look()
        if newer:
            self._published = True  # what this replica has is in the store
        return newer is not None

    def _patience(self) -> float:
        """Return the seconds that a reader waits for the next publication."""
        if not self._news.any and self.status.fetched_at is None:
            return FIRST_NEWS
        return self._lease + (1 + JITTER) * self._interval

    def _hold(self, *, unknown: bool) -> None:
        """Fetch for all. ``unknown``: the store has nothing published."""
        self._become(FeedRole.HOLDER, "this router fetches it for all")
        self._poll(self._wait())
        if not self._published or (unknown and self.status.fetched_at is not None):
            self._publishing.ask()

    def _follow(self) -> None:
        """Read what another fetches."""
        self._become(FeedRole.READER, "another router fetches it for all")
        if self._polling.running:
            due, self._received.status = self._polling.due, self._polling.status
            self._received.due = self._clock.seconds() + self._interval if due is None else due
            self._polling.stop()

    def _become(self, role: FeedRole, text: str) -> None:
        """Change the role, and log that, though not each time when it changes to and fro."""
        before, self.role = self.role, role
        if before is not role and self._repeats.admit(role, self._clock.seconds()) is not None:
            self._log.info("Feed {feed}: {text}", feed=self._name, text=text)

    def _go_alone(self, reason: str) -> None:
        """Fetch for this router."""
        self.role = FeedRole.ALONE
        count = self._repeats.admit(reason, self._clock.seconds())
        self._log.emit(
            LogLevel.debug if count is None else LogLevel.warn,
            "Feed {feed} is not shared now, and this router fetches it for itself: {reason}",
            feed=self._name,
            reason=reason,
        )
        # Replicas that lose the store at the same moment do not fetch in step.
        spread = JITTER * self._interval * abs(self._jitter())
        wait = self._wait()
        self._poll(wait + spread if self.status.fetched_at is not None else wait)

    def _poll(self, wait: float) -> None:
        if not self._polling.running:
            self._polling.status = self._received.status
            self._polling.start(wait)

    def _wait(self) -> float:
        """Return the seconds until the next fetch, if this replica takes over now."""
        now, due, fetched_at = self._clock.seconds(), self._received.due, self.status.fetched_at
        if due is None:
            due = now if fetched_at is None else fetched_at + self._interval
        # Not later than one interval after the last sign of the one who fetched before.
        return max(0.0, min(due, self._news.heard_at + self._interval) - now)

    def _lapsed(self) -> bool:
        """Return whether the lease has expired, as after a pause of the process."""
        return self._clock.seconds() >= self._held_until

    def _turn_soon(self, seconds: float) -> None:
        """Have a turn after so many seconds, or behind the present one."""
        if self._turns.running:
            self._turns.ask()
        else:
            self._turn_in(seconds)

    def _turn_in(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self._clock.callLater(seconds, self._turns.ask)

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # What this replica fetches.

    def _fetch(self) -> Deferred[bytes]:
        """Fetch the feed, unless this replica was its holder and has been stopped for too long."""
        if self.role is FeedRole.HOLDER and self._lapsed():
            self._follow()
            self._received.due = self._clock.seconds()
            self._turn_soon(0.0)
            return fail(CancelledError())
        return self._fetch_feed()

    def _polled(self, feed: str, outcome: str, rejected: int) -> None:
        self._published = False
        if outcome == OK:
            self._received.version = ""
        self._observed(feed, outcome, rejected)
        if self.role is FeedRole.HOLDER:
            self._publishing.ask()

    async def _publish(self) -> None:
        """Publish what was fetched last; after a failed fetch let another replica try."""
        if self.role is not FeedRole.HOLDER or self._lapsed():
            return
        failed = self.status.outcome != OK
        try:
            if not await self._link.publish(partial(self._plane.publication, self._name)):
                self._follow()
                self._turns.ask()
                return
            self._published, self._news.heard_at = True, self._clock.seconds()
            if failed:
                await self._hand_over()
        except StoreUnavailable:
            pass  # the next turn finds out for how long; then it is published
        except _FAILURES as error:
            self._rests_until = self._clock.seconds() + self._lease / 3
            self._go_alone(str(error))
            with suppress(*_FAILURES):
                await self._link.release()

    async def _hand_over(self) -> None:
        """Give up the lease: what keeps this replica from the feed may not keep the others."""
        now, due = self._clock.seconds(), self._polling.due
        rest = self._interval if due is None else due - now
        self._rests_until = now + min(max(rest - RETRY, RETRY), self._lease / 3)
        self._follow()
        await self._link.release()
        self._turns.ask()

    # What others publish.

    def _message(self, value: bytes) -> None:
        if self._stopped:
            return
        if value == FREE:
            if self.role is not FeedRole.HOLDER and self._clock.seconds() >= self._rests_until:
                self._turn_soon(abs(self._jitter()) * min(1.0, self._lease / 10))
            return
        self._message_left = value
        self._taking.ask()

    async def _take_message(self) -> None:
        try:
            newer = await self._news.take(self._message_left)
        except _FAILURES as error:
            # The next turn finds out whether the store is gone.
            self._log.debug(
                "Feed {feed}: a publication was not taken: {error}", feed=self._name, error=error
            )
            return
        if newer:
            self._published = True  # what this replica has is in the store
            if self.role is not FeedRole.READER:
                self._turns.ask()

    def _read(self, feed: str, outcome: str, rejected: int) -> None:
        """Pass on that a publication has been read."""
        if self._polling.running:
            self._polling.status = self._received.status
        self._observed(feed, outcome, rejected)

    def _bug(self, failure: Failure) -> None:
        """Log an internal error; the feed is then fetched as without a store."""
        if self._repeats.admit(failure_kind(failure), self._clock.seconds()) is not None:
            self._log.failure(
                "Internal error while feed {feed} was shared", failure, feed=self._name
            )
        if not self._stopped:
            self._go_alone("internal error")
