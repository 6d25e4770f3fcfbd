"""What a hub sends, applies, passes on and counts."""

from __future__ import annotations

import sys
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.failure_reason import UNCONNECTED, FailureReason
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.events import (
    Failed,
    Measured,
    Probing,
    Stuck,
    Succeeded,
    Unstuck,
    decode,
    encode,
)
from autopilot.state.latency import LatencyStats
from autopilot.state.sharing.hub import Hub, SharingFacts
from autopilot.state.sharing.outbox import MOST_WAITING, Outbox
from autopilot.state.tables import StateTables
from tests.unit.state.sharing.replicas import (
    CLIENTS,
    KEY,
    SELECTOR,
    TTL,
    RecordingLink,
    Replicas,
    shared_tables,
)


class HubTests(SynchronousTestCase):
    """One hub and its links."""

    def setUp(self) -> None:
        """Make a hub without links."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.outbox = Outbox(1, shares=lambda model: model != "secret")
        self.tables = shared_tables(self.outbox)
        self.malformed: list[ValueError] = []
        self.hub = Hub(self.clock, self.tables, self.malformed.append)
        self.link = RecordingLink()

    def test_without_links(self) -> None:
        """Nothing is kept, and no call is pending."""
        self.tables.committed(KEY, "m", 1000)
        self.tables.ended("m", 0.5, 100, 1.0, 1000)
        self.assertEqual(self.outbox.events, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.hub.join(self.link)
        self.clock.advance(0.02)
        self.assertEqual(self.link.batches, [])

    def test_at_once(self) -> None:
        """An event leaves in the next turn; those of the ten milliseconds after it in one batch."""
        self.hub.join(self.link)
        for each, seconds in enumerate((0, 0.004, 0.003, 0.0029)):
            self.tables.committed((CLIENTS[0], SELECTOR, bytes([each]) * 16), "m", 1000)
            self.clock.advance(seconds)
            self.assertEqual(len(self.link.events()), each == 0)
        self.clock.advance(0.0002)
        self.assertEqual(len(self.link.batches), 1)
        self.assertEqual(len(self.link.events()), 3)

    def test_one_batch(self) -> None:
        """The events of one turn leave in one batch."""
        self.hub.join(self.link)
        self.tables.committed(KEY, "m", 1000)
        self.tables.failed(CLIENTS[0], KEY, "m", FailureReason.CUT, 1000, 0.25)
        self.assertEqual(self.link.batches, [])
        self.clock.advance(0.01)
        self.assertEqual(len(self.link.batches), 1)
        self.assertEqual(
            self.link.events(),
            [
                Stuck((1, 1), 0, *KEY, "m"),
                Failed((2, 1), 0, CLIENTS[0], "m", 250, SELECTOR, b"", False),
            ],
        )
        self.assertEqual(
            self.hub.counts.events.values, {("stuck", "sent"): 1, ("failed", "sent"): 1}
        )

    def test_one_link_leaves(self) -> None:
        """It receives what waited, and the others go on."""
        other = RecordingLink()
        self.hub.join(self.link)
        self.hub.join(other)
        self.tables.committed(KEY, "m", 1000)
        self.hub.leave(self.link)
        self.tables.committed(KEY, "n", 1000)
        self.clock.advance(0.02)
        for link, models in ((self.link, ["m"]), (other, ["m", "n"])):
            self.assertEqual([each.model for each in link.events()], models)

    def test_malformed_without_a_callback(self) -> None:
        """A malformed batch is counted, although there is no callback for it."""
        hub = Hub(self.clock, self.tables)
        hub.received(b"nonsense", None)
        self.assertEqual(hub.facts(), SharingFacts(0, 0, 0, 0, 1))

    def test_a_dump_of_many_events(self) -> None:
        """A dump reads the tables in steps of 200 events, and leaves none out."""
        for each in range(450):
            self.tables.latency.answered(f"m{each}", 1.0)
        steps = [[event.model for event in decode(batch)] for batch in self.hub.dump()]
        self.assertLessEqual(max(map(len, steps)), 200)
        self.assertEqual([name for step in steps for name in step], [f"m{n}" for n in range(450)])

    def test_failures_of_no_conversation(self) -> None:
        """Others do not hear of a failure that counts for conversations alone, if there is none."""
        self.hub.join(self.link)
        for reason in (FailureReason.CONTEXT, *UNCONNECTED):
            self.tables.failed(CLIENTS[0], None, "m", reason, 1000, 0.0)
        self.hub.flush()
        self.assertEqual(self.link.events(), [])
        self.assertEqual(len(self.tables.affinity), 0)
        (own,) = self.tables.breaker.of_clients.values()
        self.assertEqual(own.failures, min(3, len(UNCONNECTED)))  # the context does not count

    def test_failures_without_a_breaker(self) -> None:
        """With the breaker off, others hear of a failure only if it is one of a conversation."""
        self.hub.join(self.link)
        self.tables.breaker.configure(threshold=0, period=20.0, max_entries=100)
        self.tables.failed(CLIENTS[0], None, "m", FailureReason.CUT, 1000, 0.0)
        self.tables.failed(CLIENTS[0], KEY, "n", FailureReason.CUT, 1000, 0.0)
        self.hub.flush()
        self.assertEqual([each.model for each in self.link.events()], ["n"])

    def test_many_events(self) -> None:
        """More than may wait are sent at once."""
        self.hub.join(self.link)
        for each in range(MOST_WAITING):
            self.tables.committed((CLIENTS[0], SELECTOR, each.to_bytes(16, "big")), "m", 1000)
        self.assertEqual(len(self.link.events()), MOST_WAITING)
        self.assertEqual(self.outbox.events, [])

    def test_at_most_two_events(self) -> None:
        """A request is one event if its model is new, none if it stays, two after a failover."""
        self.hub.join(self.link)
        for expected in (1, 0, 0):
            self.tables.committed(KEY, "m", self.clock.seconds())
            self.tables.breaker.succeeded(CLIENTS[0], "m")
            self.hub.flush()
            self.assertEqual(len(self.link.events()), expected)
        self.tables.failed(CLIENTS[0], KEY, "m", FailureReason.CUT, 1000, 0.25)
        self.tables.committed(KEY, "n", 1000)
        self.tables.breaker.succeeded(CLIENTS[0], "n")
        self.hub.flush()
        self.assertEqual([each.kind for each in self.link.events()], ["failed", "stuck"])

    def test_refreshes(self) -> None:
        """A conversation that stays with its model is eight events in a time to live."""
        self.hub.join(self.link)
        for _ in range(800):
            self.tables.committed(KEY, "m", self.clock.seconds())
            self.clock.advance(TTL / 800)
        self.assertLessEqual(len(self.link.events()), 8)

    def test_kinds(self) -> None:
        """Every other kind is sent, too."""
        self.hub.join(self.link)
        self.tables.failed(CLIENTS[0], KEY, "m", FailureReason.CONTEXT, 1000, 0.25)
        for client in CLIENTS[:3]:
            self.tables.broke(client, None, "m", 1000, 0.0)
        self.clock.advance(20)
        self.link.events()
        self.assertTrue(self.tables.breaker.attempting(CLIENTS[0], "m", 1020))
        self.tables.breaker.succeeded(CLIENTS[3], "m")
        self.tables.failed(CLIENTS[0], KEY, "m", FailureReason.CONTEXT, 1020, 0.25)
        self.hub.flush()
        self.assertEqual(
            self.link.events(),
            [
                Probing((5, 1), 0, "m", 20_000, b"", True),
                Succeeded((6, 1), 0, CLIENTS[3], "m"),
                Unstuck((7, 1), 0, *KEY, "m", 250, False),
            ],
        )

    def test_measurements(self) -> None:
        """A model's summary is sent once a second, and only if it was measured."""
        self.hub.join(self.link)
        self.clock.advance(1)
        for _ in range(50):
            self.tables.ended("m", 0.5, 100, 1.0, self.clock.seconds())
            self.tables.latency.answered("n", 3.0)
            self.clock.advance(0.1)
        self.clock.advance(2)
        events = [each for each in self.link.events() if isinstance(each, Measured)]
        for model in "mn":
            self.assertIn(len([each for each in events if each.model == model]), (5, 6))
        self.clock.advance(10)
        self.assertEqual(self.link.batches, [])

    def test_names_that_are_not_shared(self) -> None:
        """A name that others need not know, or that is very long, stays here."""
        self.hub.join(self.link)
        for model in ("secret", "m" * 257):
            self.tables.committed(KEY, model, 1000)
            self.tables.ended(model, 0.5, 100, 1.0, 1000)
            self.tables.failed(CLIENTS[0], KEY, model, FailureReason.CUT, 1000, 0.25)
            self.assertEqual(self.tables.affinity.failed_recently(KEY, 1000) & {model}, {model})
        self.clock.advance(1)
        self.clock.advance(1)
        self.assertEqual(self.link.batches, [])
        self.assertEqual([each for batch in self.hub.dump() for each in decode(batch)], [])

    def test_malformed(self) -> None:
        """A batch that is none is counted and reported, and changes and reaches nothing."""
        other = RecordingLink()
        self.hub.join(self.link)
        self.hub.join(other)
        self.hub.received(b"\x91", self.link)
        (batch,) = encode([Stuck((9, 9), 0, *KEY, "m")])
        self.hub.received(batch[:-1], self.link)
        self.assertEqual(self.hub.facts().refused, 2)
        self.assertEqual(len(self.malformed), 2)
        self.assertEqual(other.batches, [])
        self.assertIsNone(self.tables.affinity.remembered(KEY, 1000))

    def test_a_version_too_far_ahead(self) -> None:
        """An event that would exhaust the counters of all replicas is refused."""
        self.hub.join(self.link)
        for counter in (2**41 + 1, 2**53):
            self.hub.received(encode([Stuck((counter, 9), 0, *KEY, "m")])[0], self.link)
        self.assertEqual((self.hub.facts().refused, self.outbox.counter), (2, 0))
        self.hub.received(encode([Stuck((2**41, 9), 0, *KEY, "m")])[0], self.link)
        self.assertEqual(self.tables.affinity.remembered(KEY, 1000), "m")

    def test_passed_on(self) -> None:
        """What comes by one link leaves by the others as it is."""
        others = [RecordingLink(), RecordingLink()]
        for link in (self.link, *others):
            self.hub.join(link)
        batches = encode([Stuck((9, 9), 0, *KEY, "m")])
        self.hub.received(batches[0], self.link)
        self.assertEqual([each.batches for each in (self.link, *others)], [[], batches, batches])
        self.assertEqual(self.hub.counts.events.values, {("stuck", "received"): 1})
        self.assertEqual(self.hub.facts(), SharingFacts(3, 0, 1, 0, 0))
        self.assertEqual(self.outbox.version(), (10, 1))

    def test_leaving(self) -> None:
        """With its last link a hub becomes silent; what waits is sent before."""
        self.hub.join(self.link)
        self.tables.committed(KEY, "m", 1000)
        self.hub.leave(RecordingLink())
        self.assertEqual(self.hub.links, [self.link])
        self.hub.leave(self.link)
        self.assertEqual([each.kind for each in self.link.events()], ["stuck"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.outbox.events, [])
        self.tables.committed(KEY, "n", 1000)
        self.assertEqual(self.outbox.events, [])

    def test_closing(self) -> None:
        """Nothing is left behind, and closing twice does no harm."""
        self.hub.join(self.link)
        self.tables.ended("m", 0.5, 100, 1.0, 1000)
        self.tables.committed(KEY, "m", 1000)
        self.hub.close()
        self.hub.close()
        self.assertEqual([each.kind for each in self.link.events()], ["stuck"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_losses(self) -> None:
        """Links count what they lose here."""
        self.hub.lost(3)
        self.hub.lost(2)
        self.assertEqual(self.hub.facts().lost, 5)


class CostTests(SynchronousTestCase):
    """The calls that a request makes more if its tables are shared."""

    def setUp(self) -> None:
        """Make both kinds of tables; those that are shared have a link."""
        self.alone = StateTables(
            SessionAffinity(ttl=TTL, max_entries=100, list_retry=10.0),
            CircuitBreaker(threshold=3, period=20.0, max_entries=100),
            LatencyStats(),
        )
        clock = Clock()
        self.shared = shared_tables(Outbox(1))
        Hub(clock, self.shared).join(RecordingLink())

    def more(self, act: Callable[[StateTables], object]) -> int:
        """Return how many more calls of Python functions the shared tables make."""
        return calls(lambda: act(self.shared)) - calls(lambda: act(self.alone))

    def test_calls(self) -> None:
        """At most four, and those of the clock for a batch; one if its conversation goes on."""

        def committed(tables: StateTables) -> None:
            tables.committed(KEY, "m", 1000)

        def another(tables: StateTables) -> None:
            tables.committed((CLIENTS[1], SELECTOR, b""), "m", 1000)

        def answered(tables: StateTables) -> None:
            tables.latency.answered("m", 1.0)

        self.more(committed)
        self.more(answered)  # the first ones of a batch, which wake the hub
        self.assertLessEqual(self.more(another), 3)
        self.assertEqual(self.more(committed), 0)
        self.assertEqual(self.more(answered), 1)


def calls(act: Callable[[], object]) -> int:
    """Return the number of calls of Python functions that an action makes."""
    number = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal number
        number += event == "call"

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return number


class ReplicasTests(SynchronousTestCase):
    """A parent with three workers."""

    def setUp(self) -> None:
        """Connect three workers, each with one link, by their parent."""
        self.replicas = Replicas(3)
        self.a, self.b, self.c = self.replicas.tables

    def test_everybody_knows(self) -> None:
        """What one worker learns, all know, the parent too."""
        self.a.committed(KEY, "m", self.replicas.now)
        self.replicas.advance()
        for tables in (self.b, self.c, self.replicas.parent.tables):
            self.assertEqual(tables.affinity.remembered(KEY, self.replicas.now), "m")

    def test_three_clients(self) -> None:
        """A model that fails three clients, each on another worker, cools for every client."""
        for tables, client in zip(self.replicas.tables, CLIENTS, strict=False):
            for _ in range(2):
                tables.failed(client, None, "m", FailureReason.CUT, self.replicas.now, 0.0)
        self.replicas.advance()
        for tables in self.replicas.tables:
            self.assertEqual(tables.breaker.cooling(None, self.replicas.now), {"m"})
            self.assertEqual(tables.breaker.cooling(CLIENTS[3], self.replicas.now), {"m"})

    def test_no_connection(self) -> None:
        """A worker that gets no connection to any model puts none behind for the others."""
        for reason, client in zip(sorted(UNCONNECTED), CLIENTS * 2, strict=False):
            self.a.failed(client, (client, SELECTOR, b""), "m", reason, self.replicas.now, 0.0)
        self.replicas.advance()
        self.assertEqual(self.a.breaker.open, {"m"})
        self.assertEqual(self.a.affinity.failed_recently(KEY, self.replicas.now), {"m"})
        for tables in (self.b, self.c, self.replicas.parent.tables):
            self.assertEqual(tables.breaker.open, frozenset())
            self.assertEqual(list(tables.events(self.replicas.now)), [])

    def test_one_client(self) -> None:
        """A model that fails one client three times, each on another worker, cools for it alone."""
        for tables in self.replicas.tables:
            tables.failed(CLIENTS[0], None, "m", FailureReason.CUT, self.replicas.now, 0.0)
        self.replicas.advance()
        for tables in self.replicas.tables:
            self.assertEqual(tables.breaker.cooling(CLIENTS[0], self.replicas.now), {"m"})
            self.assertEqual(tables.breaker.cooling(CLIENTS[1], self.replicas.now), frozenset())

    def test_success_between(self) -> None:
        """A success on any worker that knew of the failures begins the count anew."""
        for tables, client in ((self.a, CLIENTS[0]), (self.b, CLIENTS[1])):
            tables.failed(client, None, "m", FailureReason.CUT, self.replicas.now, 0.0)
            self.replicas.advance()
        self.c.breaker.succeeded(CLIENTS[3], "m")
        self.replicas.advance()
        self.c.failed(CLIENTS[2], None, "m", FailureReason.CUT, self.replicas.now, 0.0)
        self.replicas.advance()
        for tables in self.replicas.tables:
            self.assertEqual(tables.breaker.open, frozenset())

    def test_warm_start(self) -> None:
        """A worker that comes later knows all from the parent's dump, with the ages."""
        now = self.replicas.now
        self.a.committed(KEY, "m", now)
        for client in CLIENTS[:3]:
            self.b.failed(client, None, "n", FailureReason.CUT, now, 0.0)
        self.c.ended("m", 0.5, 100, 1.0, now)
        for seconds in (0.01, 0.99, 0.01, 3.99):
            self.replicas.advance(seconds)
        late = Hub(self.replicas.clock, shared_tables(Outbox(77)))
        link = RecordingLink()
        batches = list(self.replicas.parent.dump())
        for batch in batches:
            late.received(batch, link)
        tables, now = late.tables, self.replicas.now
        self.assertEqual(tables.affinity.remembered(KEY, now + TTL - 5.1), "m")
        self.assertIsNone(tables.affinity.remembered(KEY, now + TTL - 4.9))
        self.assertEqual(tables.breaker.cooling(None, now + 14.9), {"n"})
        self.assertEqual(tables.breaker.cooling(None, now + 17.1), frozenset())
        self.assertEqual(tables.latency.first_content(now), {"m": 0.5})

    def test_a_large_table(self) -> None:
        """A dump is read in steps, and each of its batches fits."""
        for each in range(90):
            key = CLIENTS[0], each.to_bytes(16, "big"), b""
            self.a.affinity.served(key, "m" * 200, self.replicas.now)
        self.replicas.advance()
        dump = self.replicas.parent.dump()
        first = next(dump)
        self.a.committed(KEY, "n", self.replicas.now)
        self.replicas.advance()
        sizes = [len(batch) for batch in (first, *dump)]
        self.assertLessEqual(max(sizes), 60_000)
