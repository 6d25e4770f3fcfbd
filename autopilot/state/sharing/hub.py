"""The exchange of events between the tables of this process and its links to other replicas.

The parent of several workers has a link to each of them, and one to the store if there is one; a
worker has one to its parent; a single process has one to the store. Links form a tree, so a batch
that comes by one link is passed on by all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from autopilot.observability.instruments import Counter
from autopilot.state.events import KINDS, decode, encode, kinds_of
from autopilot.state.sharing.outbox import MOST_WAITING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from autopilot.state.events import Event
    from autopilot.state.sharing.tables import SharedTables

BETWEEN_BATCHES: Final = 0.01
"""Seconds between two batches, at least, so that frequent events share one."""
_MOST_DUMPED = 200
# Counters begin at the wall clock's milliseconds, 2**41 of which are 69 years. One event that was
# corrupted must not exhaust the range of all counters.
_FARTHEST_AHEAD = 2**41


class Link(Protocol):
    """A way to one other replica, or to many."""

    def send(self, batch: bytes) -> None:
        """Send a batch, of at most 60,000 bytes, or count what is lost of it; never block or raise.

        A link by which its own batches come back drops them.
        """


@dataclass(frozen=True, slots=True)
class SharingFacts:
    """What a hub has done since the start, for the pages of operators.

    ``links``: of them, there are now. ``sent`` and ``received`` are events, ``lost`` those that a
    link could not send, ``refused`` batches that were malformed.
    """

    links: int
    sent: int
    received: int
    lost: int
    refused: int


class HubCounts:
    """The counters of a hub. A process that shares nothing has them, too: they stay at zero."""

    def __init__(self) -> None:
        self.events = Counter(
            "chutes_autopilot_state_events_total",
            "Events of shared state that the processes of the router sent and received, by kind.",
            "kind",
            "direction",
        )
        self.lost = Counter(
            "chutes_autopilot_state_events_lost_total",
            "Events of shared state that could not be sent.",
        )
        self.refused = Counter(
            "chutes_autopilot_state_batches_refused_total",
            "Batches of events of shared state that were malformed.",
        )

    def instruments(self) -> tuple[Counter, ...]:
        """Return the counters."""
        return self.events, self.lost, self.refused

    def count(self, events: list[Event], direction: str) -> None:
        """Count events that were ``sent`` or ``received``."""
        values = self.events.values
        for kind, number in kinds_of(events).items():
            values[kind, direction] += number

    def total(self, direction: str) -> int:
        """Return the number of events that were ``sent`` or ``received``."""
        return sum(self.events.values.get((kind, direction), 0) for kind in KINDS)


class Hub:
    """Sends the events of this process by every link, and applies and passes on those of others.

    ``tables`` emit nothing while there is no link. ``malformed`` is called with the error of each
    batch that was refused.
    """

    def __init__(
        self,
        clock: IReactorTime,
        tables: SharedTables,
        malformed: Callable[[ValueError], None] | None = None,
        counts: HubCounts | None = None,
    ) -> None:
        self._clock = clock
        self.tables = tables
        self._outbox = tables.outbox
        self._malformed = malformed
        self._flushed_at = -inf
        self._flush_call: IDelayedCall | None = None
        self._measure_call: IDelayedCall | None = None
        self.links: list[Link] = []
        """To be read, not written."""
        self.counts = HubCounts() if counts is None else counts

    @property
    def replica(self) -> int:
        """The number of this process in the versions of its events."""
        return self._outbox.replica

    def join(self, link: Link) -> None:
        """Send by ``link`` too, from the next event on; `dump` has what happened before."""
        self.links.append(link)
        self._outbox.wake = self._wake
        self._outbox.wake_later = self._wake_later
        self._wake_later()

    def leave(self, link: Link) -> None:
        """Send what waits, then no more by ``link``; one that did not join is ignored."""
        if link not in self.links:
            return
        self.flush()
        self.links.remove(link)
        if not self.links:
            self.close()

    def close(self) -> None:
        """Send what waits, leave all links, and hold no call of the clock."""
        self.flush()
        self.links.clear()
        self._outbox.wake = self._outbox.wake_later = None
        self._outbox.take()
        for call in (self._flush_call, self._measure_call):
            if call is not None:
                call.cancel()
        self._flush_call = self._measure_call = None

    def received(self, batch: bytes, link: Link | None) -> None:
        """Apply a batch, and pass it on by all links but that by which it came; never raise.

        A batch with one malformed event is not applied and not passed on.
        """
        try:
            events = decode(batch)
            if any(each.version[0] > self._outbox.counter + _FARTHEST_AHEAD for each in events):
                raise ValueError("not a batch of events: a version is too far ahead")
        except ValueError as error:
            self.counts.refused.values[()] += 1
            if self._malformed is not None:
                self._malformed(error)
            return
        now, apply = self._clock.seconds(), self.tables.apply
        for event in events:
            apply(event, now)
        self.counts.count(events, "received")
        for each in tuple(self.links):
            if each is not link:
                each.send(batch)

    def lost(self, events: int) -> None:
        """Count events that a link could not send (`events.size` counts those of a batch)."""
        self.counts.lost.values[()] += events

    def facts(self) -> SharingFacts:
        """Return what the hub has done."""
        counts = self.counts
        return SharingFacts(
            len(self.links),
            counts.total("sent"),
            counts.total("received"),
            counts.lost.values[()],
            counts.refused.values[()],
        )

    def dump(self) -> Iterator[bytes]:
        """Yield batches from which another replica knows all that is known here: a warm start.

        Each is made when it is asked for, so that a large table does not hold the reactor.
        """
        events: list[Event] = []
        for event in self.tables.events(self._clock.seconds()):
            if self._outbox.may_tell(event):
                events.append(event)
            if len(events) == _MOST_DUMPED:
                yield from encode(events)
                events = []
        yield from encode(events)

    def flush(self) -> None:
        """Send the events that wait."""
        call, self._flush_call = self._flush_call, None
        if call is not None and call.active():
            call.cancel()
        self._flushed_at = self._clock.seconds()
        events = self._outbox.take()
        self.counts.count(events, "sent")
        links = tuple(self.links)
        for batch in encode(events):
            for link in links:
                link.send(batch)

    def _wake(self) -> None:
        """Flush in a moment, or at once if too many events wait."""
        if len(self._outbox.events) >= MOST_WAITING:
            self.flush()
        elif self._flush_call is None:
            # A client's next turn may reach another replica within milliseconds.
            delay = max(0.0, self._flushed_at + BETWEEN_BATCHES - self._clock.seconds())
            self._flush_call = self._clock.callLater(delay, self.flush)

    def _wake_later(self) -> None:
        if self._measure_call is None:
            delay = self.tables.latency.interval(self._clock.seconds())
            self._measure_call = self._clock.callLater(delay, self._measure)

    def _measure(self) -> None:
        self._measure_call = None
        for event in self.tables.latency.summaries(self._clock.seconds()):
            self._outbox.add(event)
