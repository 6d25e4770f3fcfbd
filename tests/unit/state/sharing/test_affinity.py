"""The affinity of a conversation whose events arrive in any order, and what an entry costs."""

from __future__ import annotations

import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.why import FAILED
from autopilot.state.affinity import SessionAffinity
from autopilot.state.events import Stuck, Unstuck
from autopilot.state.sharing.affinity import SharedAffinity
from autopilot.state.sharing.outbox import Outbox
from tests.unit.state.sharing.replicas import KEY, SELECTOR, shared_tables

TTL = 80.0
# On 64-bit CPython, of a conversation that this replica alone has served: 407 become 530.
_MOST_BYTES_MORE = 160


class SharedAffinityTests(SynchronousTestCase):
    """One table, and the events of others."""

    def setUp(self) -> None:
        """Make a table whose events are kept."""
        self.outbox = Outbox(1)
        self.outbox.counter = 50  # later than all events of these tests that another one makes
        self.outbox.wake = lambda: None
        self.table = SharedAffinity(self.outbox, ttl=TTL, max_entries=10, list_retry=10.0)

    def test_a_stale_refresh(self) -> None:
        """A refresh that was made before a newer choice does not undo it."""
        self.table.apply_served(KEY, "new", (7, 3), 1000)
        self.table.apply_served(KEY, "old", (6, 2), 1001)
        self.assertEqual(self.table.remembered(KEY, 1001), "new")

    def test_equal_counters(self) -> None:
        """Of two choices at once, all replicas take that of the same replica."""
        self.table.apply_served(KEY, "a", (7, 3), 1000)
        self.table.apply_served(KEY, "b", (7, 2), 1000)
        self.assertEqual(self.table.remembered(KEY, 1000), "a")

    def test_a_failure_before_its_answer(self) -> None:
        """A failure that arrives before the older answer keeps the model forgotten."""
        self.table.apply_failed(KEY, "a", (7, 2), 1000, 1.0, committed=True)
        self.table.apply_served(KEY, "a", (6, 2), 1000)
        self.assertIsNone(self.table.remembered(KEY, 1000))
        self.assertEqual(self.table.failed_recently(KEY, 1000), {"a"})

    def test_a_failure_after_a_later_answer(self) -> None:
        """A failure that is older than the answer does not count."""
        self.table.apply_served(KEY, "a", (8, 2), 1000)
        self.table.apply_failed(KEY, "a", (7, 2), 1000, 1.0, committed=False)
        self.assertEqual(self.table.remembered(KEY, 1000), "a")
        self.assertEqual(self.table.failed_recently(KEY, 1000), frozenset())

    def test_expiry(self) -> None:
        """An answer counts from when it happened; a stale one does not shorten it."""
        self.table.apply_served(KEY, "a", (8, 2), 990)
        self.assertEqual(self.table.remembered(KEY, 990 + TTL - 1), "a")
        self.assertIsNone(self.table.remembered(KEY, 990 + TTL))
        self.table.served(KEY, "a", 1000)
        self.table.apply_served(KEY, "a", (9, 2), 995)
        self.assertEqual(self.table.remembered(KEY, 1000 + TTL - 1), "a")

    def test_another_replica_refreshes(self) -> None:
        """What another one told of lately is not told again."""
        self.table.apply_served(KEY, "a", (8, 2), 1000)
        self.table.served(KEY, "a", 1001)
        self.assertEqual(self.outbox.take(), [])
        self.table.served(KEY, "a", 1000 + TTL / 8)
        self.assertEqual([each.kind for each in self.outbox.take()], ["stuck"])

    def test_disabled(self) -> None:
        """With a time to live of 0 nothing is kept, whatever others tell."""
        self.table.apply_served(KEY, "a", (8, 2), 1000)
        self.table.configure(ttl=0, max_entries=10, list_retry=10.0)
        self.table.apply_served(KEY, "a", (9, 2), 1000)
        self.table.apply_failed(KEY, "a", (10, 2), 1000, 1.0, committed=False)
        self.table.served(KEY, "a", 1000)
        self.table.failed(KEY, "a", 1000, 1.0)
        self.assertEqual((len(self.table), self.outbox.take()), (0, []))

    def test_bounded(self) -> None:
        """The least recently used conversation goes, and a conversation keeps few outcomes."""
        for each in range(20):
            self.table.apply_served((bytes(16), SELECTOR, bytes([each])), "a", (each + 1, 2), 1000)
        self.assertEqual(len(self.table), 10)
        for each in range(100):
            version = (100 + each, 2)
            self.table.apply_failed(KEY, f"m{each}", version, 1000, 1.0, committed=False)
        self.assertEqual(len(self.table.failed_recently(KEY, 1000)), 16)
        self.assertEqual(sum(event.client == KEY[0] for event in self.told()), 16)

    def test_a_break_before_a_failure(self) -> None:
        """A warm start tells that a model broke, although it failed in another way since."""
        self.table.served(KEY, "a", 1000)
        self.table.failed(KEY, "a", 1000, 1.0, committed=True)
        self.table.failed(KEY, "a", 1001, 1.0)
        late = shared_tables(Outbox(2))
        for event in self.told(1001):
            late.apply(event, 1001)
        expected = (None, frozenset({"a"}), "a", FAILED)
        self.assertEqual(self.table.look_up(KEY, 1001), expected)
        self.assertEqual(late.affinity.look_up(KEY, 1001), expected)

    def test_an_earlier_failure_that_arrives_later(self) -> None:
        """It does not replace the later one, however long it would count."""
        self.table.apply_failed(KEY, "a", (8, 2), 1000, 1.0, committed=False)
        self.table.apply_failed(KEY, "a", (7, 2), 1000, 20.0, committed=False)
        self.assertEqual(self.table.failed_recently(KEY, 1009), {"a"})
        self.assertEqual(self.table.failed_recently(KEY, 1011), frozenset())

    def test_a_break_before_an_answer(self) -> None:
        """A warm start tells of a break before a later answer: the next failure brings it back."""
        self.table.served(KEY, "a", 1000)
        self.table.failed(KEY, "a", 1000, 1.0, committed=True)
        self.table.served(KEY, "a", 1001)
        tables = shared_tables(Outbox(2))
        for event in self.told(1001):
            tables.apply(event, 1001)
        for table in (self.table, tables.affinity):
            self.assertEqual(table.look_up(KEY, 1001), ("a", frozenset(), None, None))
            table.apply_failed(KEY, "a", (90, 4), 1002, 1.0, committed=False)
            self.assertEqual(table.look_up(KEY, 1002), (None, {"a"}, "a", FAILED))

    def test_a_break_alone(self) -> None:
        """Of a break that is also the last outcome there is one event."""
        self.table.apply_failed(KEY, "a", (7, 2), 1000, 1.0, committed=True)
        self.assertEqual(self.told(), [Unstuck((7, 2), 0, *KEY, "a", 1000, True)])

    def test_a_table_that_changes_while_it_is_told(self) -> None:
        """Conversations that went meanwhile are left out."""
        keys = [(bytes(16), SELECTOR, bytes([each])) for each in range(20)]
        for each in keys[:10]:
            self.table.served(each, "a", 1000)
        telling = self.table.events(1000)
        next(telling)
        for each in keys[10:18]:
            self.table.served(each, "a", 1000)
        rest = [event.conversation for event in telling if isinstance(event, Stuck)]
        self.assertEqual(rest, [keys[8][2], keys[9][2]])

    def test_old_outcomes(self) -> None:
        """Outcomes that no event on its way can contradict are dropped."""
        for each in range(10):
            self.table.apply_served(KEY, f"m{each % 5}", (each + 1, 2), 1000.0 + 100 * each)
        self.assertEqual(len(list(self.told(1900))), 2)

    def told(self, now: float = 1000.0) -> list:  # type: ignore[type-arg]
        """Return the events of a warm start."""
        return list(self.table.events(now))

    def test_memory(self) -> None:
        """An entry has versions, which are bounded."""
        plain = SessionAffinity(ttl=TTL, max_entries=10_000, list_retry=10.0)
        alone = bytes_held(plain)
        table = SharedAffinity(Outbox(2**62), ttl=TTL, max_entries=10_000, list_retry=10.0)
        more = bytes_held(table) - alone
        self.assertLess(more, _MOST_BYTES_MORE, f"{alone} bytes an entry, {more} more if shared")


def bytes_held(table: SessionAffinity) -> float:
    """Return the bytes that a conversation takes in a table of a thousand."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for each in range(1000):
            table.served((each.to_bytes(16, "big"), SELECTOR, each.to_bytes(16, "big")), "m", 1.0)
        return (tracemalloc.get_traced_memory()[0] - before) / 1000
    finally:
        tracemalloc.stop()
