"""Replicas in memory: tables with a hub each, joined by links that can be held up."""

from __future__ import annotations

from twisted.internet.task import Clock

from autopilot.state.events import Event, decode
from autopilot.state.sharing.affinity import SharedAffinity
from autopilot.state.sharing.breaker import SharedBreaker
from autopilot.state.sharing.hub import Hub
from autopilot.state.sharing.latency import SharedLatency
from autopilot.state.sharing.outbox import Outbox
from autopilot.state.sharing.tables import SharedTables

CLIENTS = tuple(bytes([each]) * 16 for each in b"xyzw")
SELECTOR = b"s" * 16
KEY = (CLIENTS[0], SELECTOR, b"")
TTL = 80.0


def shared_tables(outbox: Outbox, *, ttl: float = TTL, threshold: int = 3) -> SharedTables:
    """Return empty tables with a period of 20 seconds."""
    return SharedTables(
        SharedAffinity(outbox, ttl=ttl, max_entries=100, list_retry=10.0),
        SharedBreaker(outbox, threshold=threshold, period=20.0, max_entries=100),
        SharedLatency(outbox),
        outbox,
    )


class RecordingLink:
    """A link that keeps what it is given."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []

    def send(self, batch: bytes) -> None:
        """Keep a batch."""
        self.batches.append(batch)

    def events(self) -> list[Event]:
        """Return the events of all batches, which are forgotten."""
        batches, self.batches = self.batches, []
        return [event for batch in batches for event in decode(batch)]


class Wire:
    """One end of a link between two hubs: what it sends arrives at the other at once."""

    def __init__(self) -> None:
        self.hub: Hub | None = None
        self.other: Wire | None = None

    def send(self, batch: bytes) -> None:
        """Deliver a batch."""
        assert self.other is not None and self.other.hub is not None
        self.other.hub.received(batch, self.other)


def connect(one: Hub, other: Hub) -> tuple[Wire, Wire]:
    """Join two hubs by a link."""
    ends = Wire(), Wire()
    for end, hub, opposite in zip(ends, (one, other), reversed(ends), strict=True):
        end.hub, end.other = hub, opposite
        hub.join(end)
    return ends


class Replicas:
    """A parent, whose hub has a link to each of several workers, on one clock."""

    def __init__(self, number: int, *, threshold: int = 3) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.parent = Hub(self.clock, shared_tables(Outbox(99), threshold=threshold))
        self.workers = [
            Hub(self.clock, shared_tables(Outbox(each + 1), threshold=threshold))
            for each in range(number)
        ]
        self.tables = [each.tables for each in self.workers]
        self.links = [connect(self.parent, each) for each in self.workers]

    def advance(self, seconds: float = 0.01) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    @property
    def now(self) -> float:
        """The time."""
        return self.clock.seconds()
