"""Events in any order: whatever happens, and whenever, an exchange keeps its promises.

At most one upstream attempt is alive, or two with hedging; nothing but comments reaches the client
before the commit, and nothing is retried after it; in the end there is one record, and everything
is released.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.bridge import COMMENT
from autopilot.routing.commit import Commit
from autopilot.routing.retry_policy import Policy
from tests.unit.relay.routers import ALIAS, EACH, RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, ROLE, STOP, TOKEN, Wire, chunk, head, whole

_PIECES = (
    head(),
    head(400, JSON),
    head(500, JSON),
    whole(200, b"{}"),
    whole(503, b"no"),
    whole(429, b'{"detail":"Infrastructure is at maximum capacity"}'),
    whole(500, b"{}", JSON, b"Retry-After: 1"),
    chunk(ROLE),
    chunk(TOKEN),
    chunk(STOP + DONE),
    chunk(b'{"error":"x"}\n'),
    chunk(b""),
    b"HTTP/1.1 103 X\r\n\r\n",
    b"junk",
)


class ExchangeMachine(RuleBasedStateMachine):
    """One exchange, its client, its upstreams and the clock."""

    @initialize(
        policy=st.sampled_from(Policy),
        commit=st.sampled_from(Commit),
        model=st.sampled_from((ALIAS, "b,a", "a")),
        stream=st.booleans(),
        warm=st.booleans(),
        bridged=st.booleans(),
        hedged=st.booleans(),
    )
    def begin(
        self,
        policy: Policy,
        commit: Commit,
        model: str,
        stream: bool,
        warm: bool,
        bridged: bool,
        hedged: bool,
    ) -> None:
        """Ask, perhaps with an idle connection in the pool, silence bridged, or hedging."""
        self.router = RouterTestCase("finish")  # for its set-up and its checks
        self.router.setUp()
        self.router.build(policy=policy, commit=commit, max_attempts=4)
        if warm:
            self.router.ask("a", stream=False)
            self.router.wire.says(whole(200, b"{}"))
        if hedged:
            self.router.hedging(0.1)
        self.most = 2 if hedged else 1
        self.before = len(self.router.records)
        self.client = self.router.ask(model, *([EACH] if bridged else []), stream=stream)
        self.tries_at_commit: int | None = None

    @property
    def _wires(self) -> list[Wire]:
        return self.router.upstreams.alive

    @property
    def _over(self) -> bool:
        return len(self.router.records) > self.before

    @precondition(lambda self: bool(self._wires))
    @rule(piece=st.sampled_from(_PIECES), first=st.booleans())
    def upstream_says(self, piece: bytes, first: bool) -> None:
        """An upstream sends something."""
        self._wires[0 if first else -1].says(piece)

    @precondition(lambda self: bool(self._wires))
    @rule(politely=st.booleans())
    def upstream_leaves(self, politely: bool) -> None:
        """The upstream closes or resets."""
        wire = self._wires[-1]
        (wire.closes if politely else wire.resets)()

    @rule(seconds=st.sampled_from((0.0, 1.0, 2.0, 12.0, 60.0, 120.0)))
    def time_passes(self, seconds: float) -> None:
        """Time passes."""
        self.router.clock.advance(seconds)

    @rule(hanging=st.booleans(), refusing=st.integers(0, 1))
    def upstreams_change(self, hanging: bool, refusing: int) -> None:
        """New connections hang, are refused, or are made."""
        self.router.upstreams.hanging = hanging
        self.router.upstreams.refusing = refusing

    @precondition(lambda self: bool(self.router.upstreams.waiting))
    @rule()
    def upstream_lets_in(self) -> None:
        """A connection in the air is made."""
        self.router.upstreams.lets_in()

    @precondition(lambda self: self._streaming)
    @rule(pauses=st.booleans())
    def client_flow(self, pauses: bool) -> None:
        """The client takes no more, or takes more again."""
        producer = self.client.down.producer
        assert producer is not None
        (producer.pauseProducing if pauses else producer.resumeProducing)()

    @rule()
    def client_leaves(self) -> None:
        """The client goes away."""
        if self.client.exchange is not None:
            self.client.leaves()

    @rule()
    def router_stops(self) -> None:
        """The router ends what is under way."""
        self.router.proxy.shut_down()

    @property
    def _streaming(self) -> bool:
        down = self.client.down
        return down.producer is not None and down.ended is None and not self._over

    @invariant()
    def one_attempt(self) -> None:
        """One upstream attempt is alive, or two with hedging, idle connections apart.

        None is once the exchange is over, and one at most after commit.
        """
        pool = self.router.pool
        busy = sum(connection._call is not None for connection in pool._open)
        alive = busy + len(self.router.upstreams.waiting)
        assert alive <= (0 if self._over else 1 if self._streaming else self.most)

    @invariant()
    def commit_is_final(self) -> None:
        """Nothing but comments is written before the commit, and nothing is tried after it."""
        down = self.client.down
        if down.head is None:
            assert not down.body and down.producer is None
            return
        if down.writes and down.body == COMMENT * len(down.writes) and down.producer is None:
            assert down.ended is None
            return
        tries = len(self.router.models)
        if self.tries_at_commit is None:
            self.tries_at_commit = tries
        assert tries == self.tries_at_commit

    @invariant()
    def one_record(self) -> None:
        """There is a record exactly when the exchange is over."""
        assert len(self.router.records) == self.before + (self.router.proxy.active == 0)

    def teardown(self) -> None:
        """Everything is released."""
        if hasattr(self, "router"):
            self.router.finish()


class ExchangeStateTests(SynchronousTestCase):
    """The machine, for both test runners."""

    def test_any_order(self) -> None:
        """Whatever the order of events, every promise is kept."""
        bounds = settings(max_examples=150, stateful_step_count=20)
        run_state_machine_as_test(ExchangeMachine, settings=bounds)
