"""The timer wheel that sends each stream's events when they are due.

It has slots instead of a timer for each stream: with thousands of streams the timers would cost
more than the events. Streams of one rate are spread evenly over the interval; otherwise every proxy
would be measured with bursts. The events of one slot still are a burst, of five with 20,000 events
a second. With slots of a millisecond there were twenty, and a median depended on the order in which
a proxy serves what is ready: Go's netpoller takes the latest first, so that half of the events wait
less and the others longer, while the mean stays the same (profiles/latency.txt).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from benchmarks.poller import WOULD_BLOCK, Channel
from benchmarks.wire import Templates

if TYPE_CHECKING:
    from benchmarks.sealed import SealedEvents

_SLOT_NS: Final = 250_000
# A stream is due at most 1.5 s ahead; the other slots are for the lag of an overloaded wheel.
_SLOTS: Final = 16_384
_AT_ONCE: Final = 16
_MASK: Final = _SLOTS - 1
_LOOK_AHEAD: Final = 64
_GOLDEN: Final = 0.6180339887498949
_GONE: Final = -1
_MOST_LAGS: Final = 1_000_000


class Stream:
    """One stream: the number of events left, and the time of the next one."""

    __slots__ = (
        "after",
        "before",
        "channel",
        "due",
        "interval",
        "left",
        "plain_ending",
        "sealed",
        "seat",
    )

    def __init__(
        self,
        channel: Channel,
        answer: Templates,
        rate: int,
        events: int,
        sealed: SealedEvents | None = None,
    ) -> None:
        self.channel = channel
        self.before = answer.event_before
        self.after = answer.event_after
        self.plain_ending = answer.ending
        self.sealed = sealed
        self.interval = max(_SLOT_NS, 1_000_000_000 // rate) if rate else 0
        self.left = events
        self.due = 0
        self.seat: int | None = None

    def event(self) -> bytes:
        """Return an event with the current time."""
        self.left -= 1
        if self.sealed is not None:
            return self.sealed.event(b"%020d" % monotonic_ns())
        return self.before + b"%020d" % monotonic_ns() + self.after

    @property
    def ending(self) -> bytes:
        """The end of the stream."""
        return self.plain_ending if self.sealed is None else self.sealed.ending()


class Wheel:
    """All streams, by the slot of their next event.

    It calls `stuck(channel)` for a channel that must be flushed, `lost(channel)` for a failed one,
    and `over(stream)` after a stream's last event.
    """

    def __init__(
        self,
        stuck: Callable[[Channel], None],
        lost: Callable[[Channel], None],
        over: Callable[[Stream], None],
    ) -> None:
        self._stuck = stuck
        self._lost = lost
        self._over = over
        self._slots: list[list[Stream]] = [[] for _ in range(_SLOTS)]
        self._next = 0
        self._free: dict[int, list[int]] = {}
        self._seats: dict[int, int] = {}
        self.running = 0
        self.events = 0
        self.lags = array("q")

    def add(self, stream: Stream) -> None:
        """Schedule a stream's events; the next is due in half to one and a half intervals."""
        now = monotonic_ns()
        interval = stream.interval
        if not self.running:
            self._next = now // _SLOT_NS
        self.running += 1
        seat = stream.seat = self._seat(interval)
        phase = int(seat * _GOLDEN % 1 * interval)
        earliest = now + max(interval // 2, _SLOT_NS)
        stream.due = earliest + (phase - earliest) % interval
        self._slots[stream.due // _SLOT_NS & _MASK].append(stream)

    def _seat(self, interval: int) -> int:
        """Return an unused position in the interval, preferably one given up by another stream."""
        free = self._free.setdefault(interval, [])
        if free:
            return free.pop()
        seat = self._seats.get(interval, 0)
        self._seats[interval] = seat + 1
        return seat

    def remove(self, stream: Stream) -> None:
        """Send no more events; the wheel drops the stream when its slot is due."""
        stream.left = _GONE
        self.running -= 1
        assert stream.seat is not None
        self._free[stream.interval].append(stream.seat)

    def time_left(self) -> int:
        """Return the nanoseconds until the next slot with an event, or slightly fewer."""
        slots, number = self._slots, self._next
        while not slots[number & _MASK] and number - self._next < _LOOK_AHEAD:
            number += 1
        return number * _SLOT_NS - monotonic_ns()

    def turn(self) -> None:
        """Send the events that are due; split a backlog, so that connections are served between."""
        last = min(monotonic_ns() // _SLOT_NS, self._next + _AT_ONCE)
        while self._next <= last:
            place = self._next & _MASK
            due = self._slots[place]
            if due:
                self._slots[place] = []
                self._send(due, self._next * _SLOT_NS)
            self._next += 1
        if len(self.lags) > _MOST_LAGS:
            del self.lags[: _MOST_LAGS // 2]

    def _send(self, streams: list[Stream], since: int) -> None:
        clock, slots, late = monotonic_ns, self._slots, self.lags.append
        for stream in streams:
            left = stream.left
            if left <= 0:
                if left == 0:
                    self._over(stream)
                continue
            stream.left = left - 1
            channel = stream.channel
            now = clock()
            sealed = stream.sealed
            if sealed is None:
                event = stream.before + b"%020d" % now + stream.after
            else:
                event = sealed.event(b"%020d" % now)
            try:
                sent = 0 if channel.out else channel.send(event)
            except WOULD_BLOCK:
                sent = 0
            except OSError:
                self._lost(channel)
                continue
            if sent != len(event):
                channel.out += event[sent:]
                self._stuck(channel)
            late(now - since)
            self.events += 1
            due = stream.due = stream.due + stream.interval
            slots[due // _SLOT_NS & _MASK].append(stream)
