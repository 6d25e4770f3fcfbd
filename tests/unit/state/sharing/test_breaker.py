"""Who probes a model that failed on several replicas, and in which order its failures count."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.failure_reason import FailureReason
from autopilot.state.events import Failed, Probing, Succeeded
from autopilot.state.sharing import breaker as module
from autopilot.state.sharing.breaker import LONGEST_GRACE, SharedBreaker
from autopilot.state.sharing.outbox import Outbox
from tests.unit.state.sharing.replicas import CLIENTS, Replicas, shared_tables

PERIOD = 20.0


class ProbeTests(SynchronousTestCase):
    """A model that the last of three replicas saw fail for the third client."""

    def setUp(self) -> None:
        """Open the breaker everywhere."""
        self.replicas = Replicas(3)
        self.a, self.b, self.c = self.replicas.tables
        for tables, client in zip(self.replicas.tables, CLIENTS, strict=False):
            tables.failed(client, None, "m", FailureReason.CUT, self.replicas.now, 0.0)
            self.replicas.advance()
        self.replicas.advance(PERIOD - 0.01)

    def due(self) -> list[bool]:
        """Return which replica would probe now."""
        now = self.replicas.now
        return [not each.breaker.cooling(None, now) for each in self.replicas.tables]

    def test_the_last_one_that_failed(self) -> None:
        """The replica of the latest failure probes, and the others wait for a period."""
        self.assertEqual(self.due(), [False, False, True])
        self.assertTrue(self.c.breaker.attempting(CLIENTS[3], "m", self.replicas.now))
        self.replicas.advance()
        for seconds in (LONGEST_GRACE, PERIOD - LONGEST_GRACE - 0.02):
            self.replicas.advance(seconds)
            self.assertEqual(self.due(), [False, False, False])
        self.replicas.advance()
        self.assertEqual(self.due(), [False, False, True])

    def test_another_after_its_grace(self) -> None:
        """If that replica has no request, another one probes, after a grace of its own."""
        graces = []
        for _ in range(int(LONGEST_GRACE / 0.01) + 1):
            graces.append(self.due()[:2])
            self.replicas.advance()
        self.assertEqual(graces[int(0.25 * LONGEST_GRACE / 0.01) - 1], [False, False])
        self.assertEqual(self.due(), [True, True, True])
        first, second = (sum(not each[n] for each in graces) for n in (0, 1))
        self.assertNotEqual(first, second)

    def test_pushed_back(self) -> None:
        """A replica whose grace is over does not probe beside one that told of its probe."""
        self.replicas.advance(LONGEST_GRACE)
        self.assertEqual(self.due(), [True, True, True])
        self.assertTrue(self.a.breaker.attempting(CLIENTS[3], "m", self.replicas.now))
        self.replicas.advance()
        self.assertEqual(self.due(), [False, False, False])
        self.assertFalse(self.b.breaker.attempting(CLIENTS[3], "m", self.replicas.now))

    def test_one_client(self) -> None:
        """A probe for one client's breaker pushes back that one alone."""
        for tables in self.replicas.tables:
            tables.failed(CLIENTS[3], None, "n", FailureReason.CUT, self.replicas.now, 0.0)
            self.replicas.advance()
        self.replicas.advance(PERIOD + LONGEST_GRACE)
        self.assertTrue(self.b.breaker.attempting(CLIENTS[3], "n", self.replicas.now))
        self.replicas.advance()
        now = self.replicas.now
        self.assertEqual(self.a.breaker.cooling(CLIENTS[3], now), {"n"})
        self.assertEqual(self.a.breaker.cooling(None, now), frozenset())

    def test_a_success_closes_all(self) -> None:
        """The probe that succeeds ends the cooling on all replicas."""
        self.c.breaker.attempting(CLIENTS[3], "m", self.replicas.now)
        self.c.breaker.succeeded(CLIENTS[3], "m")
        self.replicas.advance()
        for tables in self.replicas.tables:
            self.assertEqual(tables.breaker.open, frozenset())


class OrderTests(SynchronousTestCase):
    """Events that arrive late, twice, or before their cause."""

    def setUp(self) -> None:
        """Make breakers that open at the third failure."""
        self.outbox = Outbox(1)
        self.breaker = SharedBreaker(self.outbox, threshold=3, period=PERIOD, max_entries=4)

    def hears_of(self, counter: int, client: bytes, took: float = 0.0) -> None:
        """Apply another replica's failure."""
        self.breaker.apply_failed(client, "m", (counter, 2), 1000, took)

    def test_twice(self) -> None:
        """A failure that arrives again counts once."""
        for _ in range(5):
            self.hears_of(1, CLIENTS[0])
            self.hears_of(2, CLIENTS[0])
        self.assertEqual(self.breaker.cooling(CLIENTS[0], 1000), frozenset())

    def test_after_the_success(self) -> None:
        """A failure that happened before a success does not count, although it arrives later."""
        self.breaker.apply_succeeded(CLIENTS[3], "m", (10, 2))
        for counter, client in enumerate(CLIENTS[:3], start=8):
            self.hears_of(counter, client)
        self.assertEqual(self.breaker.open, frozenset())
        for counter, client in enumerate(CLIENTS[:3], start=11):
            self.hears_of(counter, client)
        self.assertEqual(self.breaker.open, {"m"})

    def test_a_success_between(self) -> None:
        """A late success takes away the failures before it, not those after it."""
        for counter, client in enumerate(CLIENTS[:3], start=1):
            self.hears_of(counter, client)
        self.breaker.apply_succeeded(CLIENTS[3], "m", (1, 3))
        self.assertEqual(self.breaker.open, frozenset())
        self.hears_of(4, CLIENTS[3])
        self.assertEqual(self.breaker.open, {"m"})

    def test_an_earlier_failure_that_arrives_later(self) -> None:
        """It does not hide the later one of the same client from a success between them."""
        for counter, client in ((5, CLIENTS[0]), (3, CLIENTS[0]), (6, CLIENTS[1]), (7, CLIENTS[2])):
            self.hears_of(counter, client)
        self.breaker.apply_succeeded(CLIENTS[3], "m", (4, 3))
        self.assertEqual(self.breaker.open, {"m"})

    def test_a_probe_that_arrives_first(self) -> None:
        """The rest follows from the latest version, whichever arrives last."""
        self.breaker.apply_probing(Probing((9, 1), 0, "m", 50_000, b"", True), 1000)
        for counter, client in enumerate(CLIENTS[:3], start=1):
            self.hears_of(counter, client)
        self.assertEqual(self.breaker.remaining(1000), {"m": 50.0})
        self.breaker.apply_failed(CLIENTS[0], "m", (10, 1), 1000, 12.0)
        self.assertEqual(self.breaker.remaining(1000), {"m": 120.0})

    def test_a_probe_for_ever(self) -> None:
        """No probe of another replica lasts longer than a failure can count."""
        self.breaker.apply_probing(Probing((9, 1), 0, "m", 2**53, b"", True), 1000)
        for counter, client in enumerate(CLIENTS[:3], start=1):
            self.hears_of(counter, client)
        self.assertEqual(self.breaker.remaining(1000), {"m": 300.0})

    def test_a_warm_start_during_a_probe(self) -> None:
        """A replica that starts waits for the probes of others, of all clients and of one."""
        self.outbox.wake = lambda: None
        for _ in range(3):
            self.breaker.failed(CLIENTS[0], "m", 1000, 0.0)
        for client in CLIENTS[1:3]:
            self.breaker.failed(client, "m", 1000, 0.0)
        self.breaker.failed(CLIENTS[3], "n", 1000, 0.0)
        self.assertEqual([event.kind for event in self.outbox.take()], ["failed"] * 6)
        self.assertTrue(self.breaker.attempting(CLIENTS[0], "m", 1020))
        (probe,) = self.outbox.take()
        self.assertEqual(probe, Probing((7, 1), 0, "m", 20_000, CLIENTS[0], True))
        late = shared_tables(Outbox(5))
        for event in self.breaker.events(1025):
            late.apply(event, 1025)
        for whose in (CLIENTS[0], None):
            self.assertEqual(late.breaker.cooling(whose, 1039.9), {"m"})
            self.assertEqual(late.breaker.cooling(whose, 1042.1), frozenset())
        self.assertEqual(late.breaker.open, {"m"})
        late.breaker.apply_succeeded(CLIENTS[0], "m", (7, 0))
        self.assertEqual(late.breaker.cooling(CLIENTS[0], 1039.9), frozenset())
        self.assertEqual(set(late.breaker.breakers), {"m", "n"})
        late.breaker.apply_succeeded(CLIENTS[0], "m", (8, 2))
        self.assertEqual(set(late.breaker.breakers), {"n"})

    def test_a_late_success(self) -> None:
        """A success that arrives after a later one does not bring back what that one forgave."""
        for client in (CLIENTS[3], CLIENTS[0]):
            self.breaker.apply_succeeded(client, "m", (10, 2))
            self.breaker.apply_succeeded(client, "m", (5, 2))
        for counter in (6, 7, 8):
            self.hears_of(counter, CLIENTS[0])
        self.assertEqual(set(self.breaker.breakers), set())
        self.assertEqual(set(self.breaker.of_clients), set())

    def test_a_late_success_of_another_client(self) -> None:
        """It forgives its client's failures alone, if one of all clients is known to be later."""
        self.breaker.apply_succeeded(CLIENTS[3], "m", (10, 2))
        self.breaker.apply_succeeded(CLIENTS[0], "m", (5, 2))
        for counter in (4, 6, 7):
            self.hears_of(counter, CLIENTS[0])
        self.assertEqual(self.breaker.cooling(CLIENTS[0], 1000), frozenset())
        self.hears_of(8, CLIENTS[0])
        self.assertEqual(self.breaker.cooling(CLIENTS[0], 1000), {"m"})
        self.assertEqual(set(self.breaker.breakers), set())

    def test_an_early_success_of_the_client(self) -> None:
        """A success before all failures that count leaves the client's breaker open."""
        for counter in (5, 6, 7):
            self.hears_of(counter, CLIENTS[0])
        self.breaker.apply_succeeded(CLIENTS[0], "m", (4, 2))
        self.assertEqual(self.breaker.cooling(CLIENTS[0], 1000), {"m"})
        self.breaker.apply_succeeded(CLIENTS[0], "m", (5, 3))
        self.assertEqual(self.breaker.cooling(CLIENTS[0], 1000), frozenset())

    def test_a_probe_for_all_while_the_client_waits(self) -> None:
        """An attempt that probes for all clients is not told as one for a client that waits."""
        self.outbox.wake = lambda: None
        for counter, client in enumerate((*CLIENTS[:1] * 3, *CLIENTS[1:3]), start=1):
            self.hears_of(counter, client)
        waits = Probing((9, 2), 0, "m", 50_000, CLIENTS[0], False)
        self.breaker.apply_probing(waits, 1000)
        self.outbox.counter = 9
        self.assertTrue(self.breaker.attempting(CLIENTS[0], "m", 1030))
        self.assertEqual(self.outbox.take(), [Probing((10, 1), 0, "m", 20_000, b"", True)])

    def test_new_limits(self) -> None:
        """Another threshold does not make failures count that a success forgave."""
        self.breaker.apply_succeeded(CLIENTS[0], "m", (10, 2))
        self.breaker.configure(threshold=1, period=PERIOD, max_entries=4)
        self.hears_of(9, CLIENTS[0])
        self.assertEqual(self.breaker.cooling(CLIENTS[0], 1000), frozenset())
        self.hears_of(11, CLIENTS[0])
        self.assertEqual(self.breaker.cooling(CLIENTS[0], 1000), {"m"})

    def test_successes_of_many_models(self) -> None:
        """The successes of the latest models are kept, and no more."""
        self.patch(module, "MAX_MODELS", 2)
        for model in "abc":
            self.breaker.apply_succeeded(CLIENTS[0], model, (10, 2))
        for model in "abc":
            self.breaker.apply_failed(CLIENTS[1], model, (9, 2), 1000, 0.0)
        self.assertEqual(set(self.breaker.breakers), {"a"})

    def test_bounded(self) -> None:
        """Neither clients nor their successes fill the memory."""
        for counter in range(20):
            client = counter.to_bytes(16, "big")
            self.breaker.apply_succeeded(client, "m", (2 * counter + 1, 2))
            self.hears_of(2 * counter + 2, client)
        self.assertEqual(len(self.breaker.of_clients), 4)
        told = list(self.breaker.events(1000))
        self.assertEqual(sum(isinstance(each, Succeeded) for each in told), 4)
        self.assertLessEqual(sum(isinstance(each, Failed) for each in told), 8)

    def test_disabled(self) -> None:
        """With a threshold of 0 nothing is counted or kept, whatever others tell."""
        self.hears_of(1, CLIENTS[0])
        self.breaker.configure(threshold=0, period=PERIOD, max_entries=4)
        self.hears_of(2, CLIENTS[0])
        self.breaker.apply_succeeded(CLIENTS[0], "m", (3, 2))
        self.breaker.apply_probing(Probing((9, 1), 0, "m", 50_000, b"", True), 1000)
        self.outbox.wake = lambda: None
        self.breaker.failed(CLIENTS[0], "m", 1000, 0.0)
        self.assertEqual(self.outbox.take(), [])
        self.assertEqual(list(self.breaker.events(1000)), [])
        self.assertFalse(self.breaker.enabled)
