"""Points in time that cost next to nothing to set, put back and clear.

Every connection and every request waits for something with a limit, and nearly all of those limits
are cleared before they pass. A reactor call for each, made and cancelled, would cost more than what
it watches over, so all deadlines of a router share one schedule with one reactor call.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from math import inf, nextafter
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

_Entry: TypeAlias = list[Any]
"""When to look at a deadline, a number that keeps the order of setting, and the deadline.

Without a deadline it is dead. Clearing empties it, so that what lies in the heap until its time has
come keeps nothing alive that is over.
"""

_SPARE_DEAD = 64

_log = Logger()
_expiring = _log.failureHandler("a deadline passed, and what was to happen then failed")


@implementer(IReactorTime)
class TimerQueue:
    """Runs the deadlines of one router on one reactor call, and is the clock for everything else.

    While no deadline is set there is no call. Otherwise it comes when the nearest deadline is due
    or before: one that was put back or cleared meanwhile does not move it. What the clock's
    ``seconds`` is, is settled when the schedule is made.
    """

    __slots__ = ("_call", "_call_at", "_clock", "_heap", "_live", "_number", "callLater", "seconds")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.seconds: Callable[[], float] = clock.seconds
        self.callLater: Callable[..., IDelayedCall] = clock.callLater
        self._heap: list[_Entry] = []
        self._live = 0
        self._number = count(1).__next__
        self._call: IDelayedCall | None = None
        self._call_at = inf

    def getDelayedCalls(self) -> Any:
        """The clock's calls, that of the deadlines among them."""
        return self._clock.getDelayedCalls()

    def watch(self, deadline: Deadline, at: float) -> _Entry:
        """Look at ``deadline`` at the clock time ``at``; the entry is for :meth:`forget`."""
        entry: _Entry = [at, self._number(), deadline]
        heappush(self._heap, entry)
        self._live += 1
        if at < self._call_at:
            self._come(at)
        return entry

    def forget(self, entry: _Entry) -> None:
        """Never look at the deadline of ``entry``."""
        entry[2] = None
        self._live = live = self._live - 1
        if not live:
            self._heap.clear()
            call, self._call = self._call, None
            if call is not None:
                call.cancel()
                self._call_at = inf
        elif len(self._heap) > 2 * live + _SPARE_DEAD:
            self._sweep()

    def _sweep(self) -> None:
        """Remove the dead, in place: `_look` may be at it."""
        self._heap[:] = [entry for entry in self._heap if entry[2] is not None]
        heapify(self._heap)

    def _come(self, at: float) -> None:
        """Have the call come at ``at``, or too early by a rounding error but never too late."""
        now = self.seconds()
        delay = max(0.0, at - now)
        if now + delay > at:
            delay = max(0.0, nextafter(delay, 0.0))
        self._call_at = at
        if self._call is None:
            self._call = self.callLater(delay, self._look)
        else:
            self._call.reset(delay)

    def _look(self) -> None:
        """Look at every deadline whose time has come, and expire what is due.

        What is set meanwhile is not due before the next turn of the reactor, however near it is,
        and needs no call before all has been looked at.
        """
        self._call, self._call_at = None, -inf
        heap, now = self._heap, self.seconds()
        while heap and heap[0][0] <= now:
            entry = heap[0]
            deadline: Deadline | None = entry[2]
            if deadline is None:
                heappop(heap)
            elif now < deadline.due < inf:
                entry[0], entry[1] = deadline.due, self._number()
                heapreplace(heap, entry)
            else:
                heappop(heap)
                self._live -= 1
                with _expiring:
                    deadline.passed()
        if len(heap) > 2 * self._live + _SPARE_DEAD:
            self._sweep()
        while heap and heap[0][2] is None:
            heappop(heap)
        self._call_at = inf
        if heap:
            self._come(heap[0][0])


def _nobody() -> None:
    """Nothing waits any more."""


_UNWATCHED: _Entry = [inf, 0, None]


class Deadline:
    """Calls ``expired`` once when the time last given to :meth:`set` has passed.

    A stream moves its deadline later on every chunk: while the deadline is set, assigning a later
    ``due`` does that, and the queue finds out when it looks. ``clock`` is the queue that many
    deadlines share; with any other clock a deadline has a queue of its own. Whoever makes a
    deadline owns it and must :meth:`clear` it on every way out. The owner may lend it, by replacing
    ``expired``, for a time in which it waits for nothing itself.
    """

    __slots__ = ("_entry", "_schedule", "_seconds", "due", "expired")

    def __init__(self, clock: IReactorTime, expired: Callable[[], None]) -> None:
        self._schedule = schedule = clock if isinstance(clock, TimerQueue) else TimerQueue(clock)
        self._seconds = schedule.seconds
        self.expired = expired
        self._entry = _UNWATCHED
        self.due = inf

    def set(self, seconds: float) -> None:
        """Expire ``seconds`` from now, whatever was set before."""
        now = self._seconds()
        self.due = due = now + seconds if seconds > 0 else now
        entry = self._entry
        if due < entry[0]:
            self._entry = self._schedule.watch(self, due)
            if entry is not _UNWATCHED:
                self._schedule.forget(entry)

    def set_at(self, due: float) -> None:
        """Expire at the clock time ``due``, whatever was set before."""
        self.due = due
        entry = self._entry
        if due < entry[0]:
            self._entry = self._schedule.watch(self, due)
            if entry is not _UNWATCHED:
                self._schedule.forget(entry)

    def rest(self) -> None:
        """Never expire, but keep the place in the schedule for the next :meth:`set`.

        For owners that still have a way out, on which they clear it.
        """
        self.due = inf

    def clear(self) -> None:
        """Never expire; nothing is left behind."""
        self.due = inf
        entry = self._entry
        if entry is not _UNWATCHED:
            self._entry = _UNWATCHED
            self._schedule.forget(entry)

    def close(self) -> None:
        """Clear it for good: it forgets whom to call, who as a rule holds it in turn."""
        self.clear()
        self.expired = _nobody

    def passed(self) -> None:
        """The schedule looked, and nothing is left to wait for."""
        self._entry = _UNWATCHED
        if self.due < inf:
            self.due = inf
            self.expired()
