"""A race of two attempts: no order of pieces, failures and stale connections loses an answer.

Each upstream has an answer of its own, which it sends in pieces of any size.
"""

from __future__ import annotations

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

from autopilot.http.error_bodies import INTERNAL
from autopilot.relay.bridge import COMMENT
from autopilot.routing.commit import Commit
from tests.properties.exchange_bounds import bounds
from tests.unit.relay.routers import RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, ROLE, STOP, TOKEN, Wire, chunk, head, whole

_USUAL = 0.5
_CONTEXT = b'{"detail":"This model\'s maximum context length is 1000 tokens."}'
_LARGER = {"a": {"c"}, "b": {"c"}, "c": set[str]()}


def _events(model: str, comments: int) -> list[bytes]:
    """Return the events of a model's answer, which no other one gives."""
    content = TOKEN.replace(b"hi", model.encode() * 2)
    return [*[COMMENT] * comments, ROLE, content, STOP, DONE]


class HedgedMachine(RuleBasedStateMachine):
    """One exchange whose first model is slow, and the upstreams of its models."""

    @initialize(
        model=st.sampled_from(("a,b", "a,c", "a,b,c", "a,c,b", "c,a")),
        commit=st.sampled_from(Commit),
        most=st.sampled_from((8, 8, 2)),
        warm=st.booleans(),
        comments=st.sampled_from((0, 0, 0, 0, 1, 1500)),
    )
    def begin(self, model: str, commit: Commit, most: int, warm: bool, comments: int) -> None:
        """Race, perhaps over connections that have served other requests."""
        self.router = router = RouterTestCase("finish")  # for its set-up and its checks
        router.setUp()
        router.build(commit=commit, max_attempts=most)
        router.hedging(_USUAL)
        if warm:
            for _ in range(2):
                router.ask("b", stream=False)
            for wire in router.upstreams.wires:
                wire.says(whole(200, b"{}", JSON))
        self.before = len(router.records)
        self.models, self.most, self.comments = model.split(","), most, comments
        self.failed: set[str] = set()
        self.too_long: set[str] = set()
        self.sent: dict[tuple[int, int], list[bytes]] = {}
        self.client = router.ask(model)
        router.clock.advance(3 * _USUAL + 0.01)
        assert len(self._asked) == 2

    @property
    def _asked(self) -> list[Wire]:
        """The connections whose last request has not been answered whole."""
        wires = self.router.upstreams.alive
        return [each for each in wires if self._left(each) and not self._over]

    def _left(self, wire: Wire) -> list[bytes]:
        """Return the rest of an answer on a connection: its head, and the events behind it."""
        asked = wire.models
        if len(asked) < (2 if self._is_warm(wire) else 1):
            return []
        answer = [head(), *map(chunk, _events(asked[-1], self.comments)), chunk(b"")]
        return self.sent.setdefault((id(wire), len(asked)), answer)

    def _is_warm(self, wire: Wire) -> bool:
        return self.before > 0 and wire in self.router.upstreams.wires[:2]

    @property
    def _over(self) -> bool:
        return len(self.router.records) > self.before

    def _is_fresh(self, wire: Wire) -> bool:
        """Return whether nothing has been sent in answer to the last request."""
        return self._left(wire)[:1] == [head()]

    # -- the upstreams

    @precondition(lambda self: self._asked)
    @rule(last=st.booleans(), events=st.integers(1, 4), size=st.sampled_from((7, 50, 10_000)))
    def goes_on(self, last: bool, events: int, size: int) -> None:
        """An upstream sends more of its answer: its head, or some events, in pieces."""
        wire = self._asked[-1 if last else 0]
        left = self._left(wire)
        parts = left[:1] if self._is_fresh(wire) else left[: events + self.comments]
        del left[: len(parts)]
        for part in parts:
            size = len(part) if self.comments > 1 else size
            for begin in range(0, len(part), size):
                if wire.alive:
                    wire.says(part[begin : begin + size])

    @precondition(lambda self: any(map(self._is_fresh, self._asked)))
    @rule(last=st.booleans(), context=st.booleans())
    def refuses(self, last: bool, context: bool) -> None:
        """An upstream has no answer: the model cannot be had, or its context is too small."""
        fresh = [each for each in self._asked if self._is_fresh(each)]
        wire = fresh[-1 if last else 0]
        (self.too_long if context else self.failed).add(wire.models[-1])
        self._left(wire).clear()
        wire.says(whole(400, _CONTEXT, JSON) if context else whole(503, b"{}", JSON))

    @precondition(lambda self: self._asked)
    @rule(last=st.booleans(), politely=st.booleans())
    def breaks(self, last: bool, politely: bool) -> None:
        """A connection ends; if it was idle before, and nothing came, that is no failure."""
        wire = self._asked[-1 if last else 0]
        if not (self._is_warm(wire) and self._is_fresh(wire)):
            self.failed.add(wire.models[-1])
        (wire.closes if politely else wire.resets)()

    @rule()
    def a_moment_passes(self) -> None:
        """The router learns of connections that it has aborted."""
        self.router.clock.advance(0.01)

    # -- the promises

    @invariant()
    def one_answer(self) -> None:
        """The client has a part of one model's answer, and all of it in the end."""
        down = self.client.down
        answers = [b"".join(_events(each, self.comments)) for each in self.models]
        if not self._over:
            assert any(each.startswith(down.body) for each in answers)
            return
        record = self.router.records[-1]
        assert record.code != INTERNAL.code
        assert record.outcome != "failed" or record.code is not None, "the router broke a stream"
        if record.outcome == "completed":  # behind its finish reason an answer may break
            answers += [each.removesuffix(DONE) for each in answers]
            assert down.body in answers

    @invariant()
    def no_answer_is_lost(self) -> None:
        """An error reaches the client only when no model is left that might answer."""
        if not self._over or self.most < len(self.models):
            return
        status = self.client.down.status
        if status is None or status < 400:
            return
        left = set(self.models) - self.failed - self.too_long
        for each in self.too_long:  # what is not larger is not asked any more
            left &= _LARGER[each]
        assert not left, (status, left)

    def teardown(self) -> None:
        """Everything is released."""
        if hasattr(self, "client"):
            self.router.finish()
            self.router.assert_nothing_held()


class HedgedExchangeTests(SynchronousTestCase):
    """The machine, for both test runners."""

    def test_any_order(self) -> None:
        """Whatever the order of events, the race loses no answer."""
        run_state_machine_as_test(HedgedMachine, settings=bounds(60, 10))
