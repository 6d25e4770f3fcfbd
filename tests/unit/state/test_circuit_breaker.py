"""Tests of the circuit breakers."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state import circuit_breaker
from autopilot.state.circuit_breaker import CircuitBreaker, Client, rest

NONE: frozenset[str] = frozenset()
X, Y, Z = b"x", b"y", b"z"


def _breaker(threshold: int = 3, max_entries: int = 100) -> CircuitBreaker:
    return CircuitBreaker(threshold=threshold, period=10, max_entries=max_entries)


class PeriodTests(SynchronousTestCase):
    """For how long a failure counts."""

    def test_period(self) -> None:
        """At least the period, ten times as long as the failure took, five minutes at most."""
        for took, seconds in ((0.0, 10.0), (1.0, 10.0), (1.5, 15.0), (30.0, 300.0), (31.0, 300.0)):
            self.assertEqual(rest(10.0, took), seconds)
        self.assertEqual(rest(600.0, 40.0), 600.0)


class OneClientTests(SynchronousTestCase):
    """One client, a threshold of three failures in a row, and a period of ten seconds."""

    def setUp(self) -> None:
        """Make breakers with the default settings."""
        self.cooldown = _breaker()

    def fails(self, *moments: float, took: float = 0.0) -> None:
        """Let the model fail at these times."""
        for now in moments:
            self.cooldown.failed(X, "m", now, took)

    def test_in_a_row(self) -> None:
        """The third failure in a row opens the breaker; a success in between resets the count."""
        self.fails(0, 1)
        self.cooldown.succeeded(X, "m")
        self.fails(2, 3)
        self.assertEqual(self.cooldown.cooling(X, 3), NONE)
        self.fails(4)
        self.assertEqual(self.cooldown.cooling(X, 4), {"m"})
        self.assertEqual(self.cooldown.cooling(X, 13.9), {"m"})
        self.assertEqual(self.cooldown.cooling(X, 14), NONE)
        self.assertEqual(self.cooldown.opened_for, {X: {"m"}})

    def test_others_are_not_affected(self) -> None:
        """However often a model fails one client, it cools for no other client."""
        self.fails(*range(20))
        self.assertEqual(self.cooldown.cooling(X, 20), {"m"})
        for other in (Y, None):
            self.assertEqual(self.cooldown.cooling(other, 20), NONE)
        self.assertEqual((self.cooldown.open, self.cooldown.remaining(20)), (NONE, {}))

    def test_successes_of_others_do_not_count(self) -> None:
        """A model that answers others may still fail this client."""
        self.fails(0, 1)
        self.cooldown.succeeded(Y, "m")
        self.fails(2)
        self.cooldown.succeeded(Y, "m")
        self.assertEqual(self.cooldown.cooling(X, 3), {"m"})

    def test_each_model_for_itself(self) -> None:
        """One model's failures do not affect another."""
        self.fails(0, 0)
        self.cooldown.failed(X, "n", 0, 0.0)
        self.assertEqual(self.cooldown.cooling(X, 0), NONE)

    def test_one_probe_per_period(self) -> None:
        """The first attempt after the period is the probe; the next one has to wait."""
        self.fails(0, 0, 0)
        self.assertFalse(self.cooldown.attempting(Y, "m", 10))
        self.assertEqual(self.cooldown.cooling(X, 10), NONE)
        self.assertTrue(self.cooldown.attempting(X, "m", 10))
        self.assertEqual(self.cooldown.cooling(X, 10), {"m"})
        self.assertFalse(self.cooldown.attempting(X, "m", 10))
        self.assertFalse(self.cooldown.attempting(X, "n", 10))
        self.assertEqual(self.cooldown.cooling(X, 20), NONE)

    def test_lost_probe(self) -> None:
        """A probe whose client left has no result; the next probe follows a period later."""
        self.fails(0, 0, 0)
        self.cooldown.attempting(X, "m", 12)
        self.assertEqual(self.cooldown.cooling(X, 21.9), {"m"})
        self.assertEqual(self.cooldown.cooling(X, 22), NONE)

    def test_failed_probe(self) -> None:
        """One failed probe opens the breaker again."""
        self.fails(0, 0, 0)
        self.cooldown.attempting(X, "m", 10)
        self.fails(15)
        self.assertEqual(self.cooldown.cooling(X, 24.9), {"m"})
        self.assertEqual(self.cooldown.cooling(X, 25), NONE)

    def test_successful_probe(self) -> None:
        """A successful probe closes the breaker at once."""
        self.fails(0, 0, 0)
        self.cooldown.attempting(X, "m", 10)
        self.cooldown.succeeded(X, "m")
        self.assertEqual(self.cooldown.cooling(X, 10), NONE)
        self.assertEqual((self.cooldown.opened_for, len(self.cooldown.of_clients)), ({}, 0))

    def test_attempt_while_cooling(self) -> None:
        """An attempt on a cooling model, made for lack of others, is not a probe."""
        self.fails(0, 0, 0)
        self.assertFalse(self.cooldown.attempting(X, "m", 5))
        self.assertEqual(self.cooldown.cooling(X, 10), NONE)

    def test_slow_failures(self) -> None:
        """The last failure's duration says how long it cools, and how far probes are apart."""
        self.fails(0, 0, took=20.0)
        self.fails(0, took=4.0)
        self.assertEqual(self.cooldown.cooling(X, 39.9), {"m"})
        self.assertEqual(self.cooldown.cooling(X, 40), NONE)
        self.cooldown.attempting(X, "m", 40)
        self.assertEqual(self.cooldown.cooling(X, 79.9), {"m"})
        self.assertEqual(self.cooldown.cooling(X, 80), NONE)

    def test_off(self) -> None:
        """With a threshold of 0 no breaker opens."""
        off = _breaker(0)
        off.failed(X, "m", 0, 0.0)
        self.assertEqual((off.cooling(X, 0), len(off.of_clients)), (NONE, 0))

    def test_turned_off(self) -> None:
        """Turning it off closes every breaker."""
        self.fails(0, 0, 0)
        self.cooldown.configure(threshold=0, period=10, max_entries=100)
        self.assertEqual(self.cooldown.cooling(X, 0), NONE)
        self.assertEqual((len(self.cooldown.of_clients), self.cooldown.opened_for), (0, {}))

    def test_bounded(self) -> None:
        """The client that failed or probed least recently is evicted, and its cooling with it."""
        table = _breaker(1, max_entries=2)
        table.failed(X, "m", 0, 0.0)
        table.failed(Y, "m", 0, 0.0)
        table.attempting(X, "m", 10)
        table.failed(Z, "m", 10, 0.0)
        self.assertEqual(list(table.of_clients), [(X, "m"), (Z, "m")])
        self.assertEqual(table.opened_for, {X: {"m"}, Z: {"m"}})
        table.configure(threshold=1, period=10, max_entries=1)
        self.assertEqual((list(table.of_clients), table.opened_for), ([(Z, "m")], {Z: {"m"}}))

    def test_evicted_models_of_one_client(self) -> None:
        """The client's other models keep cooling."""
        table = _breaker(1, max_entries=2)
        for model in "mno":
            table.failed(X, model, 0, 0.0)
        self.assertEqual(table.opened_for, {X: {"n", "o"}})


class SharedTests(SynchronousTestCase):
    """The breaker that concerns all clients."""

    def setUp(self) -> None:
        """Make breakers with the default settings."""
        self.cooldown = _breaker()

    def fails(self, *clients: Client, at: float = 0.0, took: float = 0.0) -> None:
        """Let the model fail these clients."""
        for client in clients:
            self.cooldown.failed(client, "m", at, took)

    def test_different_clients(self) -> None:
        """As many different clients as the threshold says, however often each of them."""
        self.fails(X, X, Y, Y)
        self.assertEqual(self.cooldown.cooling(None, 0), NONE)
        self.fails(Z, at=1.0)
        for client in (X, b"other", None):
            self.assertEqual(self.cooldown.cooling(client, 10.9), {"m"})
            self.assertEqual(self.cooldown.cooling(client, 11), NONE)
        self.assertEqual(self.cooldown.open, {"m"})

    def test_success_of_anybody(self) -> None:
        """One success of any client starts the count again, or closes the breaker."""
        self.fails(X, Y)
        self.cooldown.succeeded(b"other", "m")
        self.fails(Z, X)
        self.assertEqual(self.cooldown.open, NONE)
        self.fails(Y)
        self.assertEqual(self.cooldown.open, {"m"})
        self.cooldown.succeeded(X, "m")
        self.assertEqual((self.cooldown.open, self.cooldown.cooling(None, 0)), (NONE, NONE))

    def test_probe(self) -> None:
        """One client's probe counts for all clients; any client's failure extends the cooling."""
        self.fails(X, Y, Z, took=2.0)
        self.assertEqual(self.cooldown.remaining(5), {"m": 15.0})
        self.cooldown.attempting(b"other", "m", 20)
        self.assertEqual(self.cooldown.cooling(None, 39.9), {"m"})
        self.assertEqual(self.cooldown.remaining(50), {"m": 0.0})
        self.fails(X, at=50.0)
        self.assertEqual(self.cooldown.cooling(None, 59.9), {"m"})
        self.assertEqual(self.cooldown.cooling(None, 60), NONE)

    def test_bounded(self) -> None:
        """Invented names cannot exhaust memory: the model that failed least recently is evicted."""
        one = _breaker(1)
        with patch.object(circuit_breaker, "MAX_MODELS", 2):
            for name in ("a", "b", "a", "c"):
                one.failed(X, name, 0, 0.0)
        self.assertEqual((one.open, set(one.breakers)), ({"a", "c"}, {"a", "c"}))


_CLIENTS = st.sampled_from([X, Y, Z])
_MODELS = st.sampled_from(["m", "n"])


class CooldownMachine(RuleBasedStateMachine):
    """The breakers against the whole history of each model."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.cooldown = _breaker(2)
        self.history: list[tuple[str, Client, str]] = []
        self.free_at: dict[tuple[Client | None, str], float] = {}
        self.periods: dict[str, float] = {}
        self.own_periods: dict[tuple[Client, str], float] = {}

    def open_for(self, client: Client | None, model: str) -> bool:
        """Return whether the breaker is open according to the history."""
        failed: list[Client] = []
        for event, other, about in self.history:
            if about == model and client in (None, other):
                failed = [] if event == "succeeded" else [*failed, other]
        return len(set(failed) if client is None else failed) >= 2

    @rule(client=_CLIENTS, model=_MODELS, took=st.sampled_from((0.0, 2.0, 100.0)))
    def failed(self, client: Client, model: str, took: float) -> None:
        """Record a failure; from the second in a row on, the breaker opens for a period."""
        self.cooldown.failed(client, model, self.now, took)
        self.history.append(("failed", client, model))
        period = max(10.0, min(10 * took, 300.0))
        for whose in (client, None):
            if self.open_for(whose, model):
                self.free_at[whose, model] = self.now + period
        if self.open_for(None, model):
            self.periods[model] = period
        self.own_periods[client, model] = period

    @rule(client=_CLIENTS, model=_MODELS)
    def succeeded(self, client: Client, model: str) -> None:
        """Record a success, which closes the breaker."""
        self.cooldown.succeeded(client, model)
        self.history.append(("succeeded", client, model))

    @rule(client=_CLIENTS, model=_MODELS)
    def attempting(self, client: Client, model: str) -> None:
        """Record an attempt, which is a probe if the period is over."""
        self.cooldown.attempting(client, model, self.now)
        if self.open_for(None, model) and self.free_at[None, model] <= self.now:
            self.free_at[None, model] = self.now + self.periods[model]
        if self.open_for(client, model) and self.free_at[client, model] <= self.now:
            self.free_at[client, model] = self.now + self.own_periods[client, model]

    @rule(seconds=st.integers(1, 20))
    def passes(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds

    @invariant()
    def agrees(self) -> None:
        """Check that both name the same models."""
        for client in (X, Y, Z, None):
            cooling = {
                model
                for (whose, model), at in self.free_at.items()
                if whose in (client, None) and at > self.now and self.open_for(whose, model)
            }
            assert self.cooldown.cooling(client, self.now) == cooling
        assert self.cooldown.open == {model for model in "mn" if self.open_for(None, model)}


class AnyOrderTests(SynchronousTestCase):
    """Operations in any order."""

    def test_any_order(self) -> None:
        """Breakers and history agree after every step."""
        run_state_machine_as_test(
            CooldownMachine, settings=settings(max_examples=60, stateful_step_count=30)
        )
