"""Tests of the table of remembered models."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.why import EXPIRED, FAILED, NEW
from autopilot.state.affinity import AffinityKey, SessionAffinity, instance_key

A: AffinityKey = (b"a", b"auto", b"talk")
B: AffinityKey = (b"b", b"auto", b"talk")


def _table(*, ttl: float = 100, max_entries: int = 2, list_retry: float = 10) -> SessionAffinity:
    return SessionAffinity(ttl=ttl, max_entries=max_entries, list_retry=list_retry)


class RememberedTests(SynchronousTestCase):
    """The model that last answered."""

    def test_by_client_and_selector(self) -> None:
        """Remembered for one client, one selector and one conversation only."""
        table = _table()
        table.served(A, "m", 0)
        self.assertEqual(table.remembered(A, 1), "m")
        self.assertIsNone(table.remembered(B, 1))
        self.assertIsNone(table.remembered((b"a", b"x,y", b"talk"), 1))
        self.assertIsNone(table.remembered((b"a", b"auto", b"other talk"), 1))
        self.assertIsNone(table.remembered((b"a", b"auto", b""), 1))

    def test_ttl(self) -> None:
        """An entry expires; an answer renews it, a lookup does not."""
        table = _table(ttl=10)
        table.served(A, "m", 0)
        self.assertEqual(table.remembered(A, 9), "m")
        self.assertIsNone(table.remembered(A, 10))
        table.served(A, "m", 9)
        self.assertEqual(table.remembered(A, 18.5), "m")
        self.assertIsNone(table.remembered(A, 19))

    def test_off(self) -> None:
        """With a TTL of 0 nothing is stored."""
        table = _table(ttl=0)
        table.served(A, "m", 0)
        self.assertIsNone(table.remembered(A, 0))
        self.assertEqual(len(table), 0)

    def test_failure_forgets(self) -> None:
        """A failure of the remembered model forgets it; a failure of another model does not."""
        table = _table()
        table.served(A, "m", 0)
        table.failed(A, "other", 1, 0.0)
        self.assertEqual(table.remembered(A, 1), "m")
        table.failed(A, "m", 1, 0.0)
        self.assertIsNone(table.remembered(A, 1))

    def test_least_recently_used_goes(self) -> None:
        """The least recently used entry is evicted, and a lookup counts as a use."""
        table = _table(max_entries=2)
        table.served(A, "m", 0)
        table.served(B, "n", 1)
        table.remembered(A, 2)
        table.served((b"c", b"auto", b"talk"), "o", 3)
        self.assertEqual((len(table), table.remembered(A, 4)), (2, "m"))
        self.assertIsNone(table.remembered(B, 4))


class FailedRecentlyTests(SynchronousTestCase):
    """The models that failed for this client a moment ago."""

    def test_forgotten_in_time(self) -> None:
        """Each failure expires by itself."""
        table = _table(list_retry=10)
        self.assertEqual(table.failed_recently(A, 0), frozenset())
        table.failed(A, "m", 0, 0.0)
        table.failed(A, "n", 5, 0.0)
        self.assertEqual(table.failed_recently(A, 9), {"m", "n"})
        self.assertEqual(table.failed_recently(A, 10), {"n"})
        self.assertEqual(table.failed_recently(B, 9), frozenset())
        self.assertEqual(table.failed_recently(A, 15), frozenset())

    def test_success_ends_it(self) -> None:
        """A success ends a model's failure."""
        table = _table()
        table.failed(A, "m", 0, 0.0)
        table.served(A, "m", 1)
        self.assertEqual(table.failed_recently(A, 1), frozenset())

    def test_slow_failures(self) -> None:
        """A failure counts for ten times as long as it took, and for five minutes at most."""
        table = _table(list_retry=10)
        for model, took in (("m", 0.5), ("n", 2.0), ("o", 60.0)):
            table.failed(A, model, 0, took)
        for now, recent in ((9.9, "mno"), (19.9, "no"), (299.9, "o"), (300, "")):
            self.assertEqual(table.failed_recently(A, now), set(recent))
        table.failed(A, "p", 19, 0.0)
        self.assertEqual(table.failed_recently(A, 19), set("nop"))

    def test_broken(self) -> None:
        """The model that last failed after commit is known while its failure is recent."""
        table = _table(list_retry=10)
        table.failed(A, "m", 0, 0.0, committed=True)
        self.assertEqual(table.look_up(A, 1), (None, {"m"}, "m", NEW))
        table.failed(A, "n", 5, 0.0)
        self.assertEqual(table.look_up(A, 9), (None, {"m", "n"}, "m", NEW))
        self.assertEqual(table.look_up(A, 10), (None, {"n"}, None, NEW))
        table.failed(A, "o", 11, 0.0, committed=True)
        table.served(A, "o", 12)
        self.assertEqual(table.look_up(A, 12), ("o", {"n"}, None, None))
        self.assertEqual(table.look_up(B, 12), (None, frozenset(), None, NEW))

    def test_forgotten(self) -> None:
        """Without a model it is known why: nothing was remembered, its time is over, it failed."""
        table = _table(ttl=100)
        self.assertEqual(table.look_up(A, 0), (None, frozenset(), None, NEW))
        table.served(A, "m", 0)
        self.assertEqual(table.look_up(A, 99.9), ("m", frozenset(), None, None))
        self.assertEqual(table.look_up(A, 100), (None, frozenset(), None, EXPIRED))
        table.served(A, "m", 200)
        table.failed(A, "n", 200, 0.0)
        self.assertEqual(table.look_up(A, 200), ("m", {"n"}, None, None))
        table.failed(A, "m", 201, 0.0)
        self.assertEqual(table.look_up(A, 201), (None, {"m", "n"}, None, FAILED))
        self.assertEqual(table.look_up(A, 299), (None, frozenset(), None, FAILED))
        table.served(A, "n", 300)
        self.assertEqual(table.look_up(A, 300), ("n", frozenset(), None, None))
        self.assertEqual(table.look_up(A, 400), (None, frozenset(), None, EXPIRED))

    def test_off(self) -> None:
        """With a TTL of 0 failures are not stored either."""
        table = _table(ttl=0)
        table.failed(A, "m", 0, 0.0)
        self.assertEqual((len(table), table.failed_recently(A, 1)), (0, frozenset()))


_KEYS = st.sampled_from([A, B, (b"a", b"auto", b""), (b"a", b"x,y", b"talk")])
_MODELS = st.sampled_from(["m", "n", "o"])


class StickinessMachine(RuleBasedStateMachine):
    """The table against a model that stores everything and scans it for each lookup."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.table = _table(ttl=20, max_entries=3, list_retry=10)
        self.used: list[AffinityKey] = []
        self.served_by: dict[AffinityKey, tuple[str, float]] = {}
        self.failures: dict[AffinityKey, dict[str, float]] = {}

    def use(self, key: AffinityKey) -> None:
        """Record a use, and the eviction that it causes."""
        self.used = [key, *(other for other in self.used if other != key)]
        for gone in self.used[3:]:
            self.served_by.pop(gone, None)
            self.failures.pop(gone, None)
        del self.used[3:]

    @rule(key=_KEYS, model=_MODELS)
    def served(self, key: AffinityKey, model: str) -> None:
        """Let a model answer."""
        self.table.served(key, model, self.now)
        self.use(key)
        self.served_by[key] = (model, self.now)
        self.failures.get(key, {}).pop(model, None)

    @rule(key=_KEYS, model=_MODELS)
    def failed(self, key: AffinityKey, model: str) -> None:
        """Let a model fail."""
        self.table.failed(key, model, self.now, 0.0)
        self.use(key)
        self.failures.setdefault(key, {})[model] = self.now
        if self.served_by.get(key, ("", 0))[0] == model:
            del self.served_by[key]

    @rule(seconds=st.integers(1, 15))
    def passes(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds

    @rule(key=_KEYS)
    def ask(self, key: AffinityKey) -> None:
        """Compare the table's answers with the model's."""
        model, at = self.served_by.get(key, (None, 0.0))
        expected = model if self.now - at < 20 else None
        assert self.table.remembered(key, self.now) == expected
        if key in self.used:
            self.use(key)
        failures = self.failures.get(key, {})
        recent = {model for model, at in failures.items() if self.now - at < 10}
        assert self.table.failed_recently(key, self.now) == recent

    @invariant()
    def bounded(self) -> None:
        """Check that the table stays within its limit."""
        assert len(self.table) == len(self.used) <= 3


class AnyOrderTests(SynchronousTestCase):
    """Operations in any order."""

    def test_any_order(self) -> None:
        """Table and model agree after every step."""
        run_state_machine_as_test(
            StickinessMachine, settings=settings(max_examples=60, stateful_step_count=30)
        )


class InstanceKeyTests(SynchronousTestCase):
    """The key under which a conversation's instance is remembered."""

    def test_apart(self) -> None:
        """It differs by model and selector, keeps client and conversation, and is no model's."""
        key = b"client", b"selector", b"talk"
        keys = {
            key,
            instance_key(key, "a"),
            instance_key(key, "b"),
            instance_key((b"client", b"other", b"talk"), "a"),
        }
        self.assertEqual(len(keys), 4)
        self.assertEqual({(client, talk) for client, _, talk in keys}, {(b"client", b"talk")})

    def test_odd_name(self) -> None:
        """A name that is no valid text has a key as well."""
        key = b"client", b"selector", b"talk"
        self.assertEqual(instance_key(key, "\ud800"), instance_key(key, "\ud800"))
