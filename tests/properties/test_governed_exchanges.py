"""Exchanges under the account's governor: whatever happens, the edge has no reason for a ban."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.edge_account import EdgeConfig
from stub_backend.edge import Edge
from stub_backend.log import Received
from tests.unit.relay.routers import ALIAS, RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, TOKEN, Wire, chunk, head, whole

RATE = 6
STEP = 0.25
CLOSE = b"Connection: close"
PAGE = whole(429, b"<html><center>nginx</center></html>", b"text/html", CLOSE)
REPLIES = (
    whole(200, b'{"choices":[{"message":{"content":"hi"}}]}', JSON, CLOSE),
    whole(503, b'{"detail":"No instances available"}', JSON, CLOSE),
    whole(429, b'{"detail":"Infrastructure is at maximum capacity"}', JSON, CLOSE),
    whole(429, b'{"detail":"no"}', JSON, b"Retry-After: 1", CLOSE),
    whole(500, b"{}", JSON, CLOSE),
    head() + chunk(TOKEN) + chunk(DONE) + chunk(b""),
    head() + chunk(b'data: {"error":{"message":"no","code":500}}\n\n'),
)


class Exchanges(RuleBasedStateMachine):
    """One key, whose limit is six calls a minute."""

    def __init__(self) -> None:
        super().__init__()
        self.case = RouterTestCase("finish")
        self.case.setUp()
        self.case.build(edge=EdgeConfig(RATE, RATE))
        self.edge = Edge(RATE)
        self.seen = 0
        self.answered: Counter[Wire] = Counter()
        self.silent_until = -1.0

    @rule(model=st.sampled_from([ALIAS, "a", "a,b,c"]), stream=st.booleans())
    def asks(self, model: str, stream: bool) -> None:
        """Let a request arrive."""
        self.case.ask(model, stream=stream)

    @rule(reply=st.sampled_from(REPLIES), which=st.integers(0, 9))
    def replies(self, reply: bytes, which: int) -> None:
        """Let the platform respond to one call."""
        self._say(reply, which)

    @rule(which=st.integers(0, 9))
    def bans(self, which: int) -> None:
        """Let the edge ban the key for what another client has sent with it."""
        if self._say(PAGE, which):
            self.silent_until = max(self.silent_until, self.case.clock.seconds() + 60.0)

    @rule(which=st.integers(0, 9))
    def resets(self, which: int) -> None:
        """Reset a connection."""
        alive = self._alive
        if alive:
            alive[which % len(alive)].resets()

    @rule(which=st.integers(0, 9))
    def leaves(self, which: int) -> None:
        """Let a client leave."""
        waiting = [each for each in self.case.clients if each.down.ended is None]
        if waiting:
            waiting[which % len(waiting)].leaves()

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 12.0, 61.0]))
    def time(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP)):
            self.case.clock.advance(STEP)
            self.counted()

    @invariant()
    def counted(self) -> None:
        """No call is one too many, and none is made during a ban."""
        now, calls = self.case.clock.seconds(), len(self.case.models)
        assert calls == self.seen or now >= self.silent_until, "a call during the ban"
        for _ in range(calls - self.seen):
            call = Received(1, now, "POST", "/", (("authorization", "Bearer k"),), b"", 0, "")
            assert self.edge.admit(call) is None
        self.seen = calls

    def teardown(self) -> None:
        """Nothing is left: no exchange, no timer, no request that waits."""
        self.case.finish()

    @property
    def _alive(self) -> list[Wire]:
        """The connections with a request that has no response."""
        alive = self.case.upstreams.alive
        return [each for each in alive if len(each.models) > self.answered[each]]

    def _say(self, reply: bytes, which: int) -> bool:
        alive = self._alive
        if not alive:
            return False
        wire = alive[which % len(alive)]
        self.answered[wire] += 1
        wire.says(reply)
        return True


class GovernedExchangeTests(SynchronousTestCase):
    """Any course of exchanges."""

    def test_any(self) -> None:
        """First tries, failovers and repetitions together keep below the limit."""
        run_state_machine_as_test(
            Exchanges,
            settings=settings(
                max_examples=40,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
