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
from autopilot.state.circuit_breaker import CircuitBreaker


class CooldownTests(SynchronousTestCase):
    """A threshold of three failures in a row, and a period of ten seconds."""

    def setUp(self) -> None:
        """Make breakers with the default settings."""
        self.cooldown = CircuitBreaker(threshold=3, period=10)

    def fails(self, *moments: float) -> None:
        """Let the model fail at these times."""
        for now in moments:
            self.cooldown.failed("m", now)

    def test_in_a_row(self) -> None:
        """The third failure in a row opens the breaker; a success in between resets the count."""
        self.fails(0, 1)
        self.cooldown.succeeded("m")
        self.fails(2, 3)
        self.assertEqual(self.cooldown.cooling(3), frozenset())
        self.fails(4)
        self.assertEqual(self.cooldown.cooling(4), {"m"})
        self.assertEqual(self.cooldown.cooling(13.9), {"m"})
        self.assertEqual(self.cooldown.cooling(14), frozenset())
        self.assertEqual(self.cooldown.open, {"m"})

    def test_each_model_for_itself(self) -> None:
        """One model's failures do not affect another."""
        self.fails(0, 0)
        self.cooldown.failed("n", 0)
        self.assertEqual(self.cooldown.cooling(0), frozenset())

    def test_one_probe_per_period(self) -> None:
        """The first attempt after the period is the probe; the next one has to wait."""
        self.fails(0, 0, 0)
        self.cooldown.attempting("m", 10)
        self.assertEqual(self.cooldown.cooling(10), {"m"})
        self.assertEqual(self.cooldown.cooling(20), frozenset())

    def test_lost_probe(self) -> None:
        """A probe whose client left has no result; the next probe follows a period later."""
        self.fails(0, 0, 0)
        self.cooldown.attempting("m", 12)
        self.assertEqual(self.cooldown.cooling(21.9), {"m"})
        self.assertEqual(self.cooldown.cooling(22), frozenset())

    def test_failed_probe(self) -> None:
        """One failed probe opens the breaker again."""
        self.fails(0, 0, 0)
        self.cooldown.attempting("m", 10)
        self.fails(15)
        self.assertEqual(self.cooldown.cooling(24.9), {"m"})
        self.assertEqual(self.cooldown.cooling(25), frozenset())

    def test_successful_probe(self) -> None:
        """A successful probe closes the breaker at once."""
        self.fails(0, 0, 0)
        self.cooldown.attempting("m", 10)
        self.cooldown.succeeded("m")
        self.assertEqual(self.cooldown.cooling(10), frozenset())
        self.assertEqual(self.cooldown.open, frozenset())

    def test_attempt_while_cooling(self) -> None:
        """An attempt on a cooling model, made for lack of others, is not a probe."""
        self.fails(0, 0, 0)
        self.cooldown.attempting("m", 5)
        self.assertEqual(self.cooldown.cooling(10), frozenset())

    def test_off(self) -> None:
        """With a threshold of 0 no breaker opens."""
        off = CircuitBreaker(threshold=0, period=10)
        off.failed("m", 0)
        self.assertEqual(off.cooling(0), frozenset())

    def test_bounded(self) -> None:
        """Invented names cannot exhaust memory: the model that failed least recently is evicted."""
        one = CircuitBreaker(threshold=1, period=10)
        with patch.object(circuit_breaker, "_MAX_MODELS", 2):
            for name in ("a", "b", "a", "c"):
                one.failed(name, 0)
        self.assertEqual(one.cooling(0), {"a", "c"})


_MODELS = st.sampled_from(["m", "n"])


class CooldownMachine(RuleBasedStateMachine):
    """The breakers against the whole history of each model."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.cooldown = CircuitBreaker(threshold=2, period=10)
        self.failures = {"m": 0, "n": 0}
        self.free_at = {"m": 0.0, "n": 0.0}

    @rule(model=_MODELS)
    def failed(self, model: str) -> None:
        """Record a failure; from the second in a row on, the breaker opens for a period."""
        self.cooldown.failed(model, self.now)
        self.failures[model] += 1
        if self.failures[model] >= 2:
            self.free_at[model] = self.now + 10

    @rule(model=_MODELS)
    def succeeded(self, model: str) -> None:
        """Record a success, which closes the breaker."""
        self.cooldown.succeeded(model)
        self.failures[model], self.free_at[model] = 0, 0.0

    @rule(model=_MODELS)
    def attempting(self, model: str) -> None:
        """Record an attempt, which is a probe if the period is over."""
        self.cooldown.attempting(model, self.now)
        if self.failures[model] >= 2 and self.free_at[model] <= self.now:
            self.free_at[model] = self.now + 10

    @rule(seconds=st.integers(1, 12))
    def passes(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds

    @invariant()
    def agrees(self) -> None:
        """Check that both name the same models."""
        cooling = {name for name, at in self.free_at.items() if at > self.now}
        assert self.cooldown.cooling(self.now) == cooling
        assert self.cooldown.open == {name for name, n in self.failures.items() if n >= 2}


class AnyOrderTests(SynchronousTestCase):
    """Operations in any order."""

    def test_any_order(self) -> None:
        """Breakers and history agree after every step."""
        run_state_machine_as_test(
            CooldownMachine, settings=settings(max_examples=60, stateful_step_count=30)
        )
