"""The tables of a replica: they tell others what happens here, and apply what happens there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autopilot.routing.failure_reason import UNCONNECTED, FailureReason
from autopilot.state.events import Failed, Measured, Probing, Stuck, Succeeded
from autopilot.state.sharing.affinity import SharedAffinity
from autopilot.state.sharing.breaker import SharedBreaker
from autopilot.state.sharing.latency import SharedLatency
from autopilot.state.sharing.outbox import Outbox
from autopilot.state.tables import StateTables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autopilot.state.affinity import AffinityKey
    from autopilot.state.circuit_breaker import Client
    from autopilot.state.events import Event


@dataclass(frozen=True, slots=True)
class SharedTables(StateTables):
    """State tables that add events to ``outbox`` and apply those of other replicas.

    A decision reads the same tables as in a single process, and waits for nothing.
    """

    affinity: SharedAffinity
    breaker: SharedBreaker
    latency: SharedLatency
    outbox: Outbox

    def failed(
        self,
        client: Client,
        key: AffinityKey | None,
        model: str,
        reason: FailureReason,
        now: float,
        took: float,
    ) -> None:
        """Record that an attempt failed, as `StateTables` does.

        That this replica got no connection is not told to others. It may have no descriptor left,
        or no network, and fails with every model, which the others would then put behind all.
        """
        if reason in UNCONNECTED:
            version = self.outbox.version()
            self.breaker.apply_failed(client, model, version, now, took)
            if key is not None:
                self.affinity.apply_failed(key, model, version, now, took, committed=False)
        elif reason is not FailureReason.CONTEXT:
            self._failed(client, key, model, now, took, committed=False)
        elif key is not None:
            self.affinity.failed(key, model, now, took)

    def broke(
        self, client: Client, key: AffinityKey | None, model: str, now: float, took: float
    ) -> None:
        """Record that a 2xx of ``model`` broke after commit, as `StateTables` does."""
        self._failed(client, key, model, now, took, committed=True)

    def _failed(
        self,
        client: Client,
        key: AffinityKey | None,
        model: str,
        now: float,
        took: float,
        *,
        committed: bool,
    ) -> None:
        """Record a failure in both tables, and tell the others of it in one event."""
        if key is None and not self.breaker.enabled:
            return
        outbox = self.outbox
        version = outbox.version()
        self.breaker.apply_failed(client, model, version, now, took)
        selector = conversation = b""
        if key is not None:
            self.affinity.apply_failed(key, model, version, now, took, committed=committed)
            _, selector, conversation = key
        took_ms = round(took * 1000)
        outbox.add(Failed(version, 0, client, model, took_ms, selector, conversation, committed))

    def apply(self, event: Event, now: float) -> None:
        """Apply an event of another replica."""
        version, at = event.version, now - event.age / 1000
        if version[0] > self.outbox.counter:
            self.outbox.counter = version[0]
        if isinstance(event, Stuck):
            key = event.client, event.selector, event.conversation
            self.affinity.apply_served(key, event.model, version, at)
        elif isinstance(event, Measured):
            self.latency.apply(event, at)
        elif isinstance(event, Succeeded):
            self.breaker.apply_succeeded(event.client, event.model, version)
        elif isinstance(event, Probing):
            self.breaker.apply_probing(event, at)
        else:
            took = event.took / 1000
            if isinstance(event, Failed):
                self.breaker.apply_failed(event.client, event.model, version, at, took)
            if event.selector:
                key = event.client, event.selector, event.conversation
                self.affinity.apply_failed(
                    key, event.model, version, at, took, committed=event.committed
                )

    def events(self, now: float) -> Iterator[Event]:
        """Yield events from which another replica knows all of this.

        The tables may change while they are read, piece by piece.
        """
        yield from self.breaker.events(now)
        yield from self.latency.events(now)
        yield from self.affinity.events(now)
