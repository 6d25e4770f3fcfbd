"""Properties of keys: sums are exact, no minute has too many requests, restarts give nothing back.

The model is a ledger of all requests, as an upstream would keep it.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.task import Clock

from autopilot.routing.key_policy import KeyRules, day_of
from autopilot.state.budgets import KeyBudgets

_RULES = {
    "a": KeyRules("a", requests_per_minute=3, tokens_per_day=50, tokens_per_month=120),
    "b": KeyRules("b", concurrent_requests=2, picodollars_per_day=70),
}
_DEAREST = 30
_START = 20_057 * 86_400 + 80_000.0  # on the last day but one of November 2024


class KeyMachine(RuleBasedStateMachine):
    """Requests that begin and end, clocks that go and jump, and restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.offset = _START
        self.budgets = self.make()
        self.sent: dict[str, list[float]] = {"a": [], "b": []}
        self.running: Counter[str] = Counter()
        self.latest = dict.fromkeys("ab", day_of(_START))
        self.today: Counter[tuple[str, str]] = Counter()

    def wall(self) -> float:
        """Return the time of day."""
        return self.clock.seconds() + self.offset

    def make(self) -> KeyBudgets:
        """Return the accounts of a router that has just started."""
        return KeyBudgets(self.clock.seconds, self.wall)

    @rule(name=st.sampled_from("ab"))
    def begin(self, name: str) -> None:
        """A request comes, and is admitted if there is no refusal."""
        if self.budgets.refusal(_RULES[name]) is None:
            self.budgets.begin(_RULES[name])
            self.sent[name].append(self.clock.seconds())
            self.running[name] += 1
            limit = _RULES[name].requests_per_minute
            if limit is not None:
                recent = [at for at in self.sent[name] if self.clock.seconds() - at < 60]
                assert len(recent) <= limit
            most = _RULES[name].concurrent_requests
            assert most is None or self.running[name] <= most

    @rule(name=st.sampled_from("ab"), tokens=st.integers(0, 30), cost=st.integers(0, _DEAREST))
    def end(self, name: str, tokens: int, cost: int) -> None:
        """A request in progress ends, and its usage is reported."""
        if not self.running[name]:
            return
        self.running[name] -= 1
        self.note_day()
        self.budgets.spend(name, tokens, cost)
        self.budgets.end(name)
        self.today[name, "tokens"] += tokens
        self.today[name, "dollars"] += cost

    @rule(seconds=st.floats(0.5, 40_000))
    def time_passes(self, seconds: float) -> None:
        """Both clocks go on."""
        self.clock.advance(seconds)

    @rule(seconds=st.floats(1, 200_000))
    def set_forward(self, seconds: float) -> None:
        """The clock of the day is set forward, while no minute passes."""
        self.note_day()
        self.offset += seconds

    @rule(seconds=st.floats(-80_000, -1))
    def set_back(self, seconds: float) -> None:
        """The clock of the day is set back by less than a day, but not before the start."""
        if (
            self.wall() + seconds >= _START
            and day_of(self.wall() + seconds) >= max(self.latest.values()) - 1
        ):
            self.offset += seconds

    @rule()
    def restart(self) -> None:
        """The router starts anew with what it had written; requests in progress are lost.

        It has written nothing of a key that has spent nothing, not even a later day.
        """
        self.note_day()
        spent = self.budgets.spent()
        for name in self.latest.keys() - spent.keys():
            self.latest[name] = day_of(self.wall())
        self.budgets = self.make()
        self.budgets.restore(spent)
        self.running.clear()
        self.sent = {"a": [], "b": []}

    def note_day(self) -> None:
        """Begin the ledger of a new day."""
        day = day_of(self.wall())
        for name, latest in self.latest.items():
            if day > latest:
                self.latest[name] = day
                self.today[name, "tokens"] = self.today[name, "dollars"] = 0

    @invariant()
    def sums(self) -> None:
        """The accounts of today are those of the ledger, and a key that has spent it is refused."""
        self.note_day()
        spent = self.budgets.spent()
        for name in "ab":
            mine = spent.get(name)
            tokens = 0 if mine is None else mine.tokens_today
            cost = 0 if mine is None else mine.picodollars_today
            assert tokens == self.today[name, "tokens"], (tokens, self.today)
            assert cost == self.today[name, "dollars"]
        refused = self.budgets.refusal(_RULES["a"])
        if self.today["a", "tokens"] >= 50:
            assert refused is not None
        refused = self.budgets.refusal(_RULES["b"])
        if self.today["b", "dollars"] >= 70:
            assert refused is not None
        # What is admitted with something left, and the other one in progress then, at most.
        assert self.today["b", "dollars"] < 70 + 2 * _DEAREST


TestKeys = KeyMachine.TestCase
TestKeys.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
