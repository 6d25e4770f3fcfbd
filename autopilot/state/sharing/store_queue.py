"""The events that wait for the store, one of each subject: a later one replaces an earlier one.

While the store is down the queue keeps what other replicas miss, so it has bounds in number and in
bytes. Pure: time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from msgspec.structs import replace

from autopilot.state.events import Event, Failed, Measured, Probing, Stuck, Succeeded, Unstuck

MAX_EVENTS: Final = 20_000
MAX_BYTES: Final = 8 * 2**20

# A client's failures of a model in a row open a breaker: so many of one replica's are kept at most,
# by counters, which are not in a row. Of three failures, two have the same place once in 21 times.
_FAILURES: Final = 64
_DIGEST_BYTES: Final = 12
_EVENT_BYTES: Final = 160


def subject(event: Event) -> bytes:
    """Return a digest that is equal for two events of a replica of which the later one counts."""
    counter, replica = event.version
    parts: tuple[bytes, ...]
    if isinstance(event, Stuck):
        parts = b"stuck", event.client, event.selector, event.conversation
    elif isinstance(event, Unstuck):
        parts = b"unstuck", event.client, event.selector, event.conversation
    elif isinstance(event, Failed):
        parts = b"failed", event.client, b"%d" % (counter % _FAILURES)
    elif isinstance(event, Succeeded):
        parts = b"succeeded", event.client
    elif isinstance(event, Probing):
        parts = b"probing", event.client
    else:
        parts = (b"measured",)
    digest = blake2b(replica.to_bytes(8, "big"), digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(b"%d:%b" % (len(part), part))
    if not isinstance(event, Stuck):  # a conversation sticks to one model
        digest.update(event.model.encode())
    return digest.digest()


def _size(event: Event) -> int:
    """Return roughly how many bytes of memory an event takes."""
    size = _EVENT_BYTES + len(event.model)
    if isinstance(event, Measured):
        size += 8 * (len(event.streams) + len(event.plain) + len(event.long))
    return size


class StoreQueue:
    """Events by subject, the oldest first; what exceeds the bounds is dropped and counted."""

    def __init__(self) -> None:
        self._events: dict[bytes, tuple[Event, float]] = {}
        self.bytes = 0
        """To be read, not written."""
        self.dropped = 0
        """Events dropped so far; to be read, not written."""

    def __len__(self) -> int:
        return len(self._events)

    def add(self, events: Iterable[Event], now: float) -> None:
        """Add events; one that is no later than what waits for its subject is dropped silently."""
        waiting = self._events
        for event in events:
            key = subject(event)
            known = waiting.get(key)
            if known is not None:
                if known[0].version >= event.version:
                    continue
                self.bytes -= _size(known[0])
            waiting[key] = event, now - event.age / 1000
            self.bytes += _size(event)
            while len(waiting) > MAX_EVENTS or self.bytes > MAX_BYTES:
                oldest, _ = waiting.pop(next(iter(waiting)))
                self.bytes -= _size(oldest)
                self.dropped += 1

    def take(self, most: int, now: float) -> list[Event]:
        """Remove and return up to ``most`` events, the oldest first, with their present ages."""
        taken: list[Event] = []
        waiting = self._events
        while waiting and len(taken) < most:
            event, at = waiting.pop(next(iter(waiting)))
            self.bytes -= _size(event)
            taken.append(aged(event, now - at))
        return taken


def aged(event: Event, age: float) -> Event:
    """Return the event with another age, in seconds."""
    return replace(event, age=max(0, round(age * 1000)))
