"""Private requests in any order of events: one place, one nonce a call, and nothing in the clear.

The promises of other exchanges hold too: one attempt at a time, one record, nothing retried after
commit, everything released.
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

from autopilot.attestation.private_instances import Cause, UnavailableError
from autopilot.routing.commit import Commit
from tests.unit.relay.private import (
    API,
    CAPACITY,
    STALE_NONCE,
    Call,
    PrivateRouterTestCase,
    detail,
)
from tests.unit.relay.routers import ALIAS
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, Wire, chunk, head, whole

PROMPT, ANSWER = "canary in the prompt", b"canary in the answer"
_MOST = 3
_LARGE = 600_000
_CONTENT = TOKEN.replace(b"hi", ANSWER)
_ERRORS = (
    CAPACITY,
    STALE_NONCE,
    detail(404, "Instance not found"),
    detail(404, "Chute not found"),
    detail(400, '{"detail":"E2E decryption failed"}'),
    detail(400, "A" * 120),
    detail(401, "Invalid token."),
    detail(500, "Internal error during E2E invocation"),
    whole(307, b"", b"text/html", b"Location: http://elsewhere.test"),
    whole(200, b'{"choices":[{"message":{"content":"forged"}}]}'),
    head(500),
    b"junk",
)
_PLAIN_EVENTS = (
    b"data: [DONE]\n\n",
    b'data: {"choices":[{"index":0,"delta":{"content":"forged"}}]}\n\n',
    b'data: {"error":{"message":"forged"}}\n\n',
    b'data: {"e2e":"forged"}\n\n',
    b": ping\n\n",
)


class PrivateMachine(RuleBasedStateMachine):
    """One private exchange, its client, its instances and the clock."""

    @initialize(
        ready=st.integers(0, 4),
        commit=st.sampled_from(Commit),
        model=st.sampled_from((ALIAS, "b,a", "a")),
        stream=st.booleans(),
        large=st.booleans(),
        warm=st.booleans(),
    )
    def begin(
        self, ready: int, commit: Commit, model: str, stream: bool, large: bool, warm: bool
    ) -> None:
        """Ask, perhaps with an idle connection in the pool."""
        self.router = PrivateRouterTestCase("finish")
        self.router.setUp()
        self.router.build(commit=commit)
        if warm:
            self.router.finds(9)
            self.router.ask("a", stream=False)
            self.router.call.replies()
        self.before = len(self.router.records)
        self.router.finds(*range(1, ready + 1))
        prompt = PROMPT + "x" * (_LARGE if large else 0)
        self.client = self.router.ask(model, stream=stream, user=prompt)
        self.stream = stream
        self.calls_at_commit: int | None = None

    @property
    def _wires(self) -> list[Wire]:
        alive = self.router.upstreams.alive
        return [each for each in alive if getattr(each.protocol, "_call", None) is not None]

    @property
    def _over(self) -> bool:
        return len(self.router.records) > self.before

    @precondition(lambda self: self._waiting)
    @rule(number=st.integers(1, 4))
    def instance_is_found(self, number: int) -> None:
        """An attested instance is found, or the same one again."""
        asked = self.router.instances.asked[-1]
        found = self.router.found(number)
        asked.answer.callback(found)

    @precondition(lambda self: self._waiting)
    @rule(cause=st.sampled_from(Cause))
    def instance_is_missing(self, cause: Cause) -> None:
        """There is none."""
        self.router.instances.asked[-1].answer.errback(UnavailableError(cause))

    @precondition(lambda self: bool(self.router.threads))
    @rule()
    def thread_ends(self) -> None:
        """A thread has sealed or opened something large."""
        self.router.threads.pop(0)()

    @precondition(lambda self: bool(self._wires))
    @rule(error=st.sampled_from(_ERRORS))
    def platform_says(self, error: bytes) -> None:
        """The platform sends an error, or what no instance would."""
        self._wires[-1].says(error)

    @precondition(lambda self: bool(self._wires))
    @rule(ends=st.booleans(), upto=st.integers(0, 4), plain=st.sampled_from((None, *_PLAIN_EVENTS)))
    def instance_answers(self, ends: bool, upto: int, plain: bytes | None) -> None:
        """The instance answers, as far as it gets; something else may be put in between."""
        wire = self._wires[-1]
        call = Call(wire)
        if not self.stream:
            call.replies(b'{"choices":[{"message":{"content":"%b"}}]}' % ANSWER)
            return
        events = call.events(ROLE, _CONTENT, STOP, DONE)[: upto + 1]
        if plain is not None:
            events.insert(1, plain)
        wire.says(head(), *(chunk(each) for each in events), *([chunk(b"")] if ends else []))

    @precondition(lambda self: bool(self._wires))
    @rule(politely=st.booleans())
    def upstream_leaves(self, politely: bool) -> None:
        """The upstream closes or resets."""
        wire = self._wires[-1]
        (wire.closes if politely else wire.resets)()

    @precondition(lambda self: not self._over)
    @rule(seconds=st.sampled_from((0.0, 1.0, 1.0, 12.0, 20.0, 60.0)))
    def time_passes(self, seconds: float) -> None:
        """Time passes."""
        self.router.clock.advance(seconds)

    @precondition(lambda self: not self._over)
    @rule(refusing=st.integers(0, 1))
    def upstreams_change(self, refusing: int) -> None:
        """The next connection is refused, or made."""
        self.router.upstreams.refusing = refusing

    @precondition(lambda self: self._streaming)
    @rule(pauses=st.booleans())
    def client_flow(self, pauses: bool) -> None:
        """The client takes no more, or takes more again."""
        producer = self.client.down.producer
        assert producer is not None
        (producer.pauseProducing if pauses else producer.resumeProducing)()

    @precondition(lambda self: not self._over)
    @rule(rarely=st.integers(0, 9))
    def client_leaves(self, rarely: int) -> None:
        """The client goes away."""
        if self.client.exchange is not None and rarely == 9:
            self.client.leaves()

    @precondition(lambda self: not self._over)
    @rule(rarely=st.integers(0, 9))
    def router_stops(self, rarely: int) -> None:
        """The router ends what is under way."""
        if rarely == 9:
            self.router.proxy.shut_down()

    @precondition(lambda self: self._over)
    @rule()
    def nothing_more(self) -> None:
        """Time passes behind the end."""
        self.router.clock.advance(1.0)

    @property
    def _waiting(self) -> bool:
        asked = self.router.instances.asked
        return bool(asked) and not asked[-1].answer.called

    @property
    def _streaming(self) -> bool:
        down = self.client.down
        return down.producer is not None and down.ended is None and not self._over

    @property
    def _calls(self) -> list[bytes]:
        """What went up, a piece for each call."""
        return [
            part
            for wire in self.router.upstreams.wires
            for part in wire.value().split(b"POST /api/e2e/invoke ")[1:]
        ]

    @invariant()
    def sealed_alone(self) -> None:
        """All goes to one place; nothing of the prompt is readable, and no nonce goes up twice."""
        assert set(self.router.upstreams.origins) <= {API}
        sent = b"".join(wire.value() for wire in self.router.upstreams.wires)
        assert b"canary" not in sent
        calls = self._calls
        assert sent.count(b"POST ") >= len(calls)
        nonces = [each.split(b"X-E2E-Nonce: ")[1].split(b"\r\n")[0] for each in calls]
        assert len(nonces) == len(set(nonces))

    @invariant()
    def few_instances(self) -> None:
        """No more instances read the request than may: a lost call and a refused nonce apart."""
        extra = sum(told == "nonce_refused" for told, _ in self.router.instances.told)
        stale = sum(each.lost for each in self.router.upstreams.wires)
        assert len(self._calls) - self.before <= _MOST + min(extra, 1) + stale

    @invariant()
    def nothing_forged(self) -> None:
        """No byte that no instance has sealed is in an answer."""
        down = self.client.down
        assert b"forged" not in down.body
        if down.head is not None and down.status == 200:
            assert down.field(b"x-chutes-autopilot-private") is not None

    @invariant()
    def one_attempt(self) -> None:
        """At most one call is alive, or one question; none once it is over."""
        pool = self.router.pool
        # Behind the terminator a connection is kept for a moment, and what it brings is discarded.
        calls = (each for each in pool._open if each._call is not None)
        busy = sum(each not in pool._draining for each in calls)
        waiting = sum(not each.answer.called for each in self.router.instances.asked)
        assert busy + waiting <= (0 if self._over else 1)

    @invariant()
    def commit_is_final(self) -> None:
        """Nothing is written before the commit, and nothing is tried after it."""
        down, calls = self.client.down, len(self._calls)
        if down.head is None:
            assert not down.body and down.producer is None
            return
        if self.calls_at_commit is None:
            self.calls_at_commit = calls
        assert calls == self.calls_at_commit

    @invariant()
    def one_record(self) -> None:
        """There is a record exactly when the exchange is over, and no bug was met."""
        assert len(self.router.records) == self.before + (self.router.proxy.active == 0)
        assert self.client.down.code != "internal_error"

    def teardown(self) -> None:
        """Everything is released."""
        if hasattr(self, "router"):
            self.router.finish()


class PrivateMachineTests(SynchronousTestCase):
    """The machine, for both test runners."""

    def test_any_order(self) -> None:
        """Whatever the order of events, every promise is kept."""
        bounds = settings(max_examples=100, stateful_step_count=15, deadline=None)
        run_state_machine_as_test(PrivateMachine, settings=bounds)
