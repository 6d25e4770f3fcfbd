"""The events of this replica that are not sent yet, and the versions that it gives to events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from autopilot.state.events import MAX_NAME_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from autopilot.state.events import Event, Version

MOST_WAITING: Final = 1000
"""Events that wait for others; more are sent at once."""


def _any(model: str) -> bool:
    """Share what is known of any model."""
    return bool(model)


class Outbox:
    """A Lamport clock, and the events since the last time that they were taken.

    ``counter`` begins at the milliseconds of the wall clock: a replica that restarts while no other
    can be reached then has no versions that lose against those of its former life. Nothing depends
    on it, for an event that is received raises the counter above its own.

    ``shares`` tells whether a model may be named to others. Its name may be a client's invention,
    which is to stay in this process.
    """

    __slots__ = ("_shares", "counter", "events", "replica", "wake", "wake_later")

    def __init__(
        self, replica: int, counter: int = 0, shares: Callable[[str], bool] = _any
    ) -> None:
        self.replica = replica
        self.counter = counter
        self.events: list[Event] = []
        self._shares = shares
        self.wake: Callable[[], None] | None = None
        """Called after the first event, and if too many wait.

        While it is None, there is no other replica, and events are dropped.
        """
        self.wake_later: Callable[[], None] | None = None
        """Called after the first measurement since the last summaries, or None."""

    def version(self) -> Version:
        """Return a version that is later than all that were made or seen."""
        self.counter = counter = self.counter + 1
        return counter, self.replica

    def add(self, event: Event) -> None:
        """Send an event soon, if others are connected and may know of its model."""
        wake, model = self.wake, event.model
        # As in `may_tell`: the first turn of each conversation pays for this.
        if wake is None or len(model) > MAX_NAME_LENGTH or not self._shares(model):
            return
        events = self.events
        events.append(event)
        if len(events) == 1 or len(events) >= MOST_WAITING:
            wake()

    def may_tell(self, event: Event) -> bool:
        """Return whether others may know of an event's model."""
        return len(event.model) <= MAX_NAME_LENGTH and self._shares(event.model)

    def measured(self) -> None:
        """Send summaries of what was measured within a second."""
        if self.wake_later is not None:
            self.wake_later()

    def take(self) -> list[Event]:
        """Return the events that were added, which are forgotten here."""
        events, self.events = self.events, []
        return events
