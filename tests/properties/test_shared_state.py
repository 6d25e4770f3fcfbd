"""Replicas that share their tables: whatever arrives in which order, they come to know the same.

The reference are the tables of one process in which everything happened, in the order of the
versions. Events arrive late, in any order, twice, or never; what was lost, a warm start brings.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.failure_reason import FailureReason
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.events import Event, Failed, Stuck, Succeeded, Unstuck, decode, encode
from autopilot.state.latency import LatencyStats
from autopilot.state.sharing.affinity import SharedAffinity
from autopilot.state.sharing.breaker import SharedBreaker
from autopilot.state.sharing.latency import SharedLatency
from autopilot.state.sharing.outbox import Outbox
from autopilot.state.sharing.tables import SharedTables
from autopilot.state.tables import StateTables

CLIENTS = tuple(bytes([each]) * 16 for each in b"xyz")
MODELS = ("a", "b", "c")
SELECTOR = b"s" * 16
NOW = 1000.0
TTL, LIST_RETRY, PERIOD, THRESHOLD = 100.0, 10.0, 15.0, 2

# What happens: a replica, a client, a model, and how the model answered.
_HOW = (
    "serves",
    "serves",
    "fails",
    "fails",
    "too long",
    "breaks",
    "answers direct",
    "fails direct",
)
_STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(CLIENTS),
            st.sampled_from(MODELS),
            st.sampled_from(_HOW),
        ),
        # Or one of the messages on their way arrives, perhaps not for the last time, or is lost.
        st.tuples(st.just("arrives"), st.integers(0, 50), st.booleans()),
        st.tuples(st.just("is lost"), st.integers(0, 50)),
    ),
    max_size=60,
)


def shared(replica: int) -> SharedTables:
    """Return the tables of a replica, which add their events to a list."""
    outbox = Outbox(replica)
    outbox.wake = lambda: None
    return SharedTables(
        SharedAffinity(outbox, ttl=TTL, max_entries=100, list_retry=LIST_RETRY),
        SharedBreaker(outbox, threshold=THRESHOLD, period=PERIOD, max_entries=100),
        SharedLatency(outbox),
        outbox,
    )


def single() -> StateTables:
    """Return the tables of a process that shares nothing."""
    return StateTables(
        SessionAffinity(ttl=TTL, max_entries=100, list_retry=LIST_RETRY),
        CircuitBreaker(threshold=THRESHOLD, period=PERIOD, max_entries=100),
        LatencyStats(),
    )


def known(tables: StateTables) -> dict[object, object]:
    """Return what decisions read: of each conversation, and which models cool for whom."""
    facts: dict[object, object] = {"open": tables.breaker.open}
    for client in CLIENTS:
        facts[client] = tables.affinity.look_up((client, SELECTOR, b""), NOW)
        facts[client, "cooling"] = tables.breaker.cooling(client, NOW)
    return facts


def reference(events: list[Event]) -> StateTables:
    """Return the tables of one process in which this happened in the order of the versions."""
    tables = single()
    for event in sorted(events, key=lambda each: each.version):
        key = (getattr(event, "client", b""), SELECTOR, b"")
        if isinstance(event, Stuck):
            tables.affinity.served(key, event.model, NOW)
        elif isinstance(event, Succeeded):
            tables.breaker.succeeded(event.client, event.model)
        elif isinstance(event, (Failed, Unstuck)):
            took = event.took / 1000
            if isinstance(event, Failed):
                tables.breaker.failed(event.client, event.model, NOW, took)
            if event.selector:
                tables.affinity.failed(key, event.model, NOW, took, committed=event.committed)
    return tables


@dataclass
class Network:
    """Three replicas, and the batches that are on their way to each of them."""

    replicas: list[SharedTables] = field(default_factory=lambda: [shared(n + 1) for n in range(3)])
    messages: list[tuple[int, bytes]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def happens(self, replica: int, client: bytes, model: str, how: str) -> None:
        """Let a model answer a client at a replica, which tells the others in one batch."""
        tables = self.replicas[replica]
        key = None if "direct" in how else (client, SELECTOR, b"")
        if how == "serves":
            tables.committed(key, model, NOW)
            tables.breaker.succeeded(client, model)
        elif how == "breaks":
            tables.committed(key, model, NOW)
            tables.broke(client, key, model, NOW, 1.0)
        elif how == "answers direct":
            tables.breaker.succeeded(client, model)
        else:
            reason = FailureReason.CONTEXT if how == "too long" else FailureReason.CUT
            tables.failed(client, key, model, reason, NOW, 1.0)
        events = tables.outbox.take()
        self.events += events
        for batch in encode(events):
            self.messages += [(to, batch) for to in range(3) if to != replica]

    def arrives(self, which: int, *, again: bool) -> None:
        """Deliver a message; ``again``: it will arrive once more."""
        if self.messages:
            to, batch = self.messages[which % len(self.messages)]
            if not again:
                self.is_lost(which)
            for event in decode(batch):
                self.replicas[to].apply(event, NOW)

    def is_lost(self, which: int) -> None:
        """Lose a message."""
        if self.messages:
            del self.messages[which % len(self.messages)]

    def play(self, steps: list[tuple[object, ...]]) -> None:
        """Let everything happen."""
        for step in steps:
            if step[0] == "arrives":
                self.arrives(step[1], again=step[2])  # type: ignore[arg-type]
            elif step[0] == "is lost":
                self.is_lost(step[1])  # type: ignore[arg-type]
            else:
                self.happens(*step)  # type: ignore[arg-type]

    def warm_start(self) -> None:
        """Tell every replica what every other one knows."""
        for source in self.replicas:
            for batch in encode(list(source.events(NOW))):
                for event in decode(batch):
                    for other in self.replicas:
                        if other is not source:
                            other.apply(event, NOW)


class SharedStateTests(SynchronousTestCase):
    """Convergence."""

    @settings(max_examples=150)
    @given(_STEPS, st.randoms(use_true_random=False))
    def test_any_order(self, steps, random) -> None:  # type: ignore[no-untyped-def]
        """If every message arrives at last, all replicas know what one process would know."""
        network = Network()
        network.play([step for step in steps if step[0] != "is lost"])
        while network.messages:
            network.arrives(random.randrange(len(network.messages)), again=random.random() < 0.2)
        expected = known(reference(network.events))
        for replica in network.replicas:
            self.assertEqual(known(replica), expected)

    @settings(max_examples=150)
    @given(_STEPS)
    def test_losses(self, steps) -> None:  # type: ignore[no-untyped-def]
        """After a warm start, all replicas know the same, although messages were lost."""
        network = Network()
        network.play(steps)
        network.messages.clear()
        network.warm_start()
        expected = known(reference(network.events))
        for replica in network.replicas:
            self.assertEqual(known(replica), expected)

    @given(_STEPS)
    def test_one_replica(self, steps) -> None:  # type: ignore[no-untyped-def]
        """A replica without others behaves like a process that shares nothing."""
        network, alone = Network(), single()
        for step in steps:
            if isinstance(step[0], int):
                _, client, model, how = step
                network.happens(0, client, model, how)
                key = None if "direct" in how else (client, SELECTOR, b"")
                if how == "serves":
                    alone.committed(key, model, NOW)
                    alone.breaker.succeeded(client, model)
                elif how == "breaks":
                    alone.committed(key, model, NOW)
                    alone.broke(client, key, model, NOW, 1.0)
                elif how == "answers direct":
                    alone.breaker.succeeded(client, model)
                else:
                    reason = FailureReason.CONTEXT if how == "too long" else FailureReason.CUT
                    alone.failed(client, key, model, reason, NOW, 1.0)
                self.assertEqual(known(network.replicas[0]), known(alone))
