"""A hub's double: it remembers the latest event of each conversation and client."""

from __future__ import annotations

from collections.abc import Iterator

from autopilot.state.events import Event, decode, encode
from autopilot.state.sharing.store_link import StoreLink
from autopilot.state.sharing.store_queue import subject


class Replica:
    """What a replica knows, by subject."""

    def __init__(self) -> None:
        self.known: dict[bytes, Event] = {}
        self.batches: list[bytes] = []
        self.missed = 0

    def received(self, batch: bytes, link: StoreLink) -> None:
        """Apply a batch."""
        self.batches.append(batch)
        self.learn(decode(batch))

    def learn(self, events: list[Event]) -> None:
        """Keep the later version of each."""
        for event in events:
            known = self.known.get(subject(event))
            if known is None or known.version < event.version:
                self.known[subject(event)] = event

    def lost(self, events: int) -> None:
        """Count events."""
        self.missed += events

    def dump(self) -> Iterator[bytes]:
        """Yield batches of ten events."""
        events = list(self.known.values())
        for start in range(0, len(events), 10):
            yield from encode(events[start : start + 10])

    @property
    def versions(self) -> set[tuple[int, int]]:
        """The versions of what is known."""
        return {event.version for event in self.known.values()}
