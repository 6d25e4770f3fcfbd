"""The exchange of events between the tables of this process and its links to other replicas.

The parent of several workers has a link to each of them, and one to the store if there is one; a
worker has one to its parent; a single process has one to the store. Links form a tree, so a batch
that comes by one link is passed on by all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from autopilot.state.events import KINDS, decode, encode
from autopilot.state.sharing.outbox import MOST_WAITING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from autopilot.state.events import Event
    from autopilot.state.sharing.tables import SharedTables

FLUSH_AFTER: Final = 0.01
"""Seconds that an event waits for others with which it makes a batch."""
MEASURED_AFTER: Final = 1.0
"""Seconds between two summaries of a model's measurements, at least."""
_MOST_DUMPED = 200


class Link(Protocol):
    """A way to one other replica, or to many."""

    def send(self, batch: bytes) -> None:
        """Send a batch, of at most 60,000 bytes, or count what is lost of it; never block or raise.

        A link by which its own batches come back drops them.
        """


def _no_numbers() -> dict[str, int]:
    return dict.fromkeys(KINDS, 0)


@dataclass(slots=True)
class HubCounts:
    """What a hub sent and received, by kind of event.

    ``lost``: events that a link could not send. ``refused``: batches that were malformed.
    """

    sent: dict[str, int] = field(default_factory=_no_numbers)
    received: dict[str, int] = field(default_factory=_no_numbers)
    lost: int = 0
    refused: int = 0


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
    ) -> None:
        self._clock = clock
        self._tables = tables
        self._outbox = tables.outbox
        self._malformed = malformed
        self._flush_call: IDelayedCall | None = None
        self._measure_call: IDelayedCall | None = None
        self.links: list[Link] = []
        """To be read, not written."""
        self.counts = HubCounts()

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
        """Send by ``link`` no more; a link that did not join is ignored."""
        if link in self.links:
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

    def received(self, batch: bytes, link: Link) -> None:
        """Apply a batch that came by ``link``, and pass it on by the others; never raise.

        A batch with one malformed event is not applied and not passed on.
        """
        try:
            events = decode(batch)
        except ValueError as error:
            self.counts.refused += 1
            if self._malformed is not None:
                self._malformed(error)
            return
        now, apply, received = self._clock.seconds(), self._tables.apply, self.counts.received
        for event in events:
            received[event.kind] += 1
            apply(event, now)
        for each in tuple(self.links):
            if each is not link:
                each.send(batch)

    def lost(self, events: int) -> None:
        """Count events that a link could not send (`events.size` counts those of a batch)."""
        self.counts.lost += events

    def dump(self) -> Iterator[bytes]:
        """Yield batches from which another replica knows all that is known here: a warm start.

        Each is made when it is asked for, so that a large table does not hold the reactor.
        """
        events: list[Event] = []
        for event in self._tables.events(self._clock.seconds()):
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
        events = self._outbox.take()
        sent, links = self.counts.sent, tuple(self.links)
        for event in events:
            sent[event.kind] += 1
        for batch in encode(events):
            for link in links:
                link.send(batch)

    def _wake(self) -> None:
        """Flush in a moment, or at once if too many events wait."""
        if len(self._outbox.events) >= MOST_WAITING:
            self.flush()
        elif self._flush_call is None:
            self._flush_call = self._clock.callLater(FLUSH_AFTER, self.flush)

    def _wake_later(self) -> None:
        if self._measure_call is None:
            self._measure_call = self._clock.callLater(MEASURED_AFTER, self._measure)

    def _measure(self) -> None:
        self._measure_call = None
        for event in self._tables.latency.summaries(self._clock.seconds()):
            self._outbox.add(event)
