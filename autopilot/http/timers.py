"""Deadlines that are cheap to set, postpone and clear, in a queue with one reactor call.

Every connection and every request has deadlines, nearly all of which are cleared before they pass.
A delayed call of the reactor for each would cost more than the work that it bounds, so all
deadlines of a router share one heap and one delayed call.
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
"""The time to check a deadline, a serial number for equal times, and the deadline or None.

Clearing a deadline sets its entry's reference to None instead of removing the entry, which would
cost a search of the heap; the dead entry no longer keeps the deadline's owner alive.
"""

_SPARE_DEAD = 64
"""Dead entries tolerated on top of one per live entry before the heap is swept."""

_log = Logger()
_expiring = _log.failureHandler("The callback of a deadline failed")


@implementer(IReactorTime)
class TimerQueue:
    """Runs the deadlines of one router on one delayed call of the reactor; also serves as a clock.

    While no deadline is set there is no call. Otherwise it is due at the nearest deadline or
    earlier: postponing or clearing a deadline does not move it. ``seconds`` is bound once, so a
    clock that replaces its method later has no effect.
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
        """Return the delayed calls of the clock, including the queue's own."""
        return self._clock.getDelayedCalls()

    def watch(self, deadline: Deadline, at: float) -> _Entry:
        """Check ``deadline`` at the clock time ``at``; return its entry, for :meth:`forget`."""
        entry: _Entry = [at, self._number(), deadline]
        heappush(self._heap, entry)
        self._live += 1
        if at < self._call_at:
            self._schedule(at)
        return entry

    def forget(self, entry: _Entry) -> None:
        """Cancel the check of an entry."""
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
        """Remove dead entries, in place, because `_run_due` may be iterating over the heap."""
        self._heap[:] = [entry for entry in self._heap if entry[2] is not None]
        heapify(self._heap)

    def _schedule(self, at: float) -> None:
        """Schedule the call for ``at``.

        The delay is rounded down, because `now + delay` may round up past ``at``: an early call
        only checks again, a late one would miss the deadline.
        """
        now = self.seconds()
        delay = max(0.0, at - now)
        if now + delay > at:
            delay = max(0.0, nextafter(delay, 0.0))
        self._call_at = at
        if self._call is None:
            self._call = self.callLater(delay, self._run_due)
        else:
            self._call.reset(delay)

    def _run_due(self) -> None:
        """Expire the deadlines that are due, and reinsert those that were postponed.

        Deadlines that callbacks set meanwhile are handled in the next turn of the reactor, even if
        due at once: `_call_at` is minus infinity until the end, so they schedule no call.
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
                    deadline.expire()
        if len(heap) > 2 * self._live + _SPARE_DEAD:
            self._sweep()
        while heap and heap[0][2] is None:
            heappop(heap)
        self._call_at = inf
        if heap:
            self._schedule(heap[0][0])


def _ignore() -> None:
    """Do nothing: the callback of a closed deadline."""


_UNWATCHED: _Entry = [inf, 0, None]


class Deadline:
    """Calls ``expired`` once when the time of the latest :meth:`set` has passed.

    A stream postpones its deadline on every chunk. While the deadline is set, assigning a later
    ``due`` suffices: the queue compares it when the earlier time has passed. ``clock`` is the queue
    that many deadlines share; with any other clock a deadline has a queue of its own. The code that
    creates a deadline owns it and must :meth:`clear` it on every exit path. The owner may lend it,
    by replacing ``expired``, while it has no use for it itself.
    """

    __slots__ = ("_entry", "_queue", "_seconds", "due", "expired")

    def __init__(self, clock: IReactorTime, expired: Callable[[], None]) -> None:
        self._queue = queue = clock if isinstance(clock, TimerQueue) else TimerQueue(clock)
        self._seconds = queue.seconds
        self.expired = expired
        self._entry = _UNWATCHED
        self.due = inf

    def set(self, seconds: float) -> None:
        """Expire ``seconds`` from now, instead of at any earlier setting."""
        now = self._seconds()
        self.due = due = now + seconds if seconds > 0 else now
        entry = self._entry
        if due < entry[0]:
            self._entry = self._queue.watch(self, due)
            if entry is not _UNWATCHED:
                self._queue.forget(entry)

    def set_at(self, due: float) -> None:
        """Expire at the clock time ``due``, instead of at any earlier setting."""
        self.due = due
        entry = self._entry
        if due < entry[0]:
            self._entry = self._queue.watch(self, due)
            if entry is not _UNWATCHED:
                self._queue.forget(entry)

    def rest(self) -> None:
        """Do not expire, but keep the entry in the queue for the next :meth:`set`.

        For owners that clear the deadline later anyway.
        """
        self.due = inf

    def clear(self) -> None:
        """Do not expire, and release the entry in the queue."""
        self.due = inf
        entry = self._entry
        if entry is not _UNWATCHED:
            self._entry = _UNWATCHED
            self._queue.forget(entry)

    def close(self) -> None:
        """Clear the deadline for good; release its callback, which usually refers back to it."""
        self.clear()
        self.expired = _ignore

    def expire(self) -> None:
        """Call ``expired``, unless the deadline rests; the queue has removed the entry."""
        self._entry = _UNWATCHED
        if self.due < inf:
            self.due = inf
            self.expired()
