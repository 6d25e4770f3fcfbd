"""Events in any order: the engine keeps the contract, whatever happens and whenever.

Each rule is something that clients, upstreams, the network, the operator or the clock can do. After
each the router is compared with a model of the contract (`exchange_model`), which is told of the
same events; the invariants are the promises.
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

from autopilot.routing.commit import Commit
from autopilot.routing.retry_policy import Policy
from tests.properties import exchange_replies as replies
from tests.properties.exchange_bounds import bounds
from tests.properties.exchange_choices import (
    ANSWERS,
    ANY,
    BETWEEN,
    CUTS,
    ENDS,
    KEPT,
    KEPT_ALIVE,
    MANNERS,
    PAUSES,
    PIECES,
    SECONDS,
    SELECTORS,
    SETUPS,
    THEN,
    UNASKED,
    Manner,
    one_of,
)
from tests.properties.exchange_promises import (
    active_requests_are_counted,
    all_promises,
    one_record,
)
from tests.properties.exchange_replies import REPLIES, Framing
from tests.properties.exchange_rig import Rig
from tests.properties.exchange_router import POOL_IDLE, Setup
from tests.properties.exchange_script import Script

ENOUGH_REQUESTS = 7


def _say(script: Script, pieces: list[str], end: str) -> None:
    for name in pieces:
        script.say(replies.PIECES[name])
    if end != "not yet":
        script.end(replies.TAILS.get(end))


class ExchangeMachine(RuleBasedStateMachine):
    """Up to three requests at a time on one router."""

    rig: Rig

    @initialize(setup=SETUPS)
    def build(self, setup: Setup) -> None:
        """Start a router."""
        self.rig = Rig(setup)

    # -- clients

    @precondition(lambda self: self.rig.wants_requests)
    @rule(
        selector=st.sampled_from(list(SELECTORS)),
        streams=st.booleans(),
        commit=st.sampled_from(Commit),
        size=st.sampled_from((125, 16_000)),
        anew=st.booleans(),
    )
    def client_asks(
        self, selector: str, streams: bool, commit: Commit, size: int, anew: bool
    ) -> None:
        """A request begins, on a new connection or behind another one."""
        free = [] if anew else self.rig.free_visitors
        visitor = free[0] if free else self.rig.connect()
        asked = SELECTORS[selector]
        self.rig.ask(visitor, selector, asked, streams=streams, commit=commit.value, size=size)

    @precondition(lambda self: self.rig.connected)
    @rule(which=ANY, does=st.sampled_from(("stop or read on", "stop or read on", "leave")))
    def client_does_something(self, which: int, does: str) -> None:
        """A client goes away, takes no more for now, or takes bytes again."""
        visitor = one_of(self.rig.connected, which)
        if does == "leave":
            self.rig.leave(visitor)
        else:
            self.rig.wait(visitor, not visitor.waits)

    # -- upstreams

    @precondition(lambda self: self.rig.network.asked)
    @rule(which=ANY, how=MANNERS, pieces=PIECES, end=ENDS, cuts=CUTS, kept=KEPT)
    def upstream_streams(
        self, which: int, how: Manner, pieces: list[str], end: str, cuts: list[int], kept: int
    ) -> None:
        """A stream begins, and may be complete at once."""
        line = one_of(self.rig.network.asked, which)
        framing = Framing.CLOSE if how.framing is Framing.CLOSE else Framing.CHUNKED
        reply = REPLIES["stream"]._replace(framing=framing, keep=how.keep)
        line.script = script = Script(reply, how.interim)
        _say(script, pieces, end)
        self.rig.deliver(line, cuts, kept)

    @precondition(lambda self: self.rig.network.asked)
    @rule(which=ANY, how=MANNERS)
    def upstream_trickles(self, which: int, how: Manner) -> None:
        """A stream goes on so slowly that only its bytes keep it from being idle."""
        line = one_of(self.rig.network.asked, which)
        self.upstream_streams(which, how, ["token"], "not yet", [], 0)
        for _ in range(2):
            self.rig.pass_time(self.rig.setup.times.idle * 0.75)
            if line in self.rig.network.answering and line.script is not None:
                _say(line.script, ["token"], "not yet")
                self.rig.deliver(line, [], 0)

    @precondition(lambda self: self.rig.network.asked)
    @rule(which=ANY, name=ANSWERS, how=MANNERS, cuts=CUTS, kept=KEPT, then=THEN)
    def upstream_answers(
        self, which: int, name: str, how: Manner, cuts: list[int], kept: int, then: str
    ) -> None:
        """A document or an error arrives, or part of it, and then perhaps no more."""
        line, reply = one_of(self.rig.network.asked, which), REPLIES[name]
        framing = how.framing if reply.document else reply.framing
        line.script = script = Script(reply._replace(framing=framing, keep=how.keep), how.interim)
        if not script.over:
            script.document()
            script.end()
        self.rig.deliver(line, cuts, kept)
        if script.pending:
            line.does(then)

    @precondition(lambda self: self.rig.network.asked and self.rig.setup.policy is Policy.OPEN)
    @rule(which=ANY, name=PAUSES, how=MANNERS)
    def upstream_asks_for_a_moment(self, which: int, name: str, how: Manner) -> None:
        """A model says when it could be asked again, where that is listened to."""
        self.upstream_answers(which, name, how, [], 0, "stays")

    @precondition(lambda self: self.rig.wants_requests and len(self.rig.active) < 2)
    @rule()
    def two_are_served_at_once(self) -> None:
        """Two requests come and are answered, so that two connections would lie idle."""
        for _ in range(2):
            self.client_asks("a", False, Commit.CONTENT, 125, True)
        while self.rig.network.asked:
            self.upstream_answers(0, "document", KEPT_ALIVE, [], 0, "stays")

    @precondition(lambda self: self.rig.network.answering)
    @rule(which=ANY, after=BETWEEN, pieces=PIECES, end=ENDS, cuts=CUTS, kept=KEPT)
    def upstream_goes_on(
        self, which: int, after: float, pieces: list[str], end: str, cuts: list[int], kept: int
    ) -> None:
        """More of a response is said, perhaps after a while, and what was said before arrives."""
        line = one_of(self.rig.network.answering, which)
        assert line.script is not None
        self.rig.pass_time(after)
        if line.alive:
            if not line.script.over:
                _say(line.script, pieces, end)
            self.rig.deliver(line, cuts, kept)

    @precondition(lambda self: self.rig.network.busy)
    @rule(which=ANY, how=st.sampled_from(("closes", "resets", "garbles")))
    def upstream_breaks(self, which: int, how: str) -> None:
        """An upstream ends the connection in the middle of a call, or says what is no HTTP."""
        line = one_of(self.rig.network.busy, which)
        if how != "garbles":
            line.does(how)
        elif line.garbles():
            self.rig.deliver(line, [], 0)

    @precondition(lambda self: self.rig.network.stale)
    @rule(which=ANY)
    def kept_connection_was_stale(self, which: int) -> None:
        """A connection that lay idle is gone by the time that a request is sent over it."""
        one_of(self.rig.network.stale, which).closes()

    @precondition(lambda self: self.rig.network.idle)
    @rule(which=ANY, speaks=st.booleans(), asked=st.booleans())
    def idle_upstream_does_something(self, which: int, speaks: bool, asked: bool) -> None:
        """An idle connection is closed by the upstream, or brings what nobody asked for.

        ``asked``: a request comes in before the router hears that the connection is gone.
        """
        line = one_of(self.rig.network.idle, which)
        if speaks:
            line.says(UNASKED)
            assert line.aborted, "a connection with unasked bytes on it was kept"
        else:
            line.closes()
        if asked and self.rig.wants_requests:
            self.client_asks("a", False, Commit.CONTENT, 125, True)

    # -- the network

    @precondition(lambda self: not self.rig.network.moods)
    @rule(moods=st.sampled_from(("refused", "hangs", "refused hangs", "open refused")))
    def network_is_bad(self, moods: str) -> None:
        """The next connections are refused, or hang."""
        self.rig.network.moods = moods.split()

    @precondition(lambda self: self.rig.network.openings)
    @rule(which=ANY, refused=st.booleans())
    def connection_is_made_or_refused(self, which: int, refused: bool) -> None:
        """A connection in the air comes about after all, or does not."""
        self.rig.network.answer(one_of(self.rig.network.openings, which), refused=refused)

    # -- time and the operator

    @rule(
        seconds=SECONDS,
        evenly=st.sampled_from((True, True, False)),
    )
    def time_passes(self, seconds: float, evenly: bool) -> None:
        """Each deadline acts on its instant; or the process is held up, and finds them passed.

        While a connection is being opened two deadlines of a request could pass at once, and
        either might act first.
        """
        if evenly or self.rig.network.openings:
            self.rig.pass_time(seconds)
        else:
            self.rig.clock.advance(seconds)

    @precondition(lambda self: self.rig.pausing and not self.rig.network.openings)
    @rule(seconds=st.sampled_from((61.0, 610.0)))
    def process_is_held_up(self, seconds: float) -> None:
        """It finds a pause over, and perhaps all time with it."""
        self.rig.clock.advance(seconds)

    @precondition(lambda self: len(self.rig.requests) >= ENOUGH_REQUESTS)
    @rule()
    def operator_stops_the_router(self) -> None:
        """No more requests are taken in; and then the time for those under way has run out."""
        if self.rig.proxy.draining:
            self.rig.shut_down()
        else:
            self.rig.drain()

    # -- the promises

    @invariant()
    def every_promise_is_kept(self) -> None:
        """After each step, when all that it set off has come to its end."""
        self.rig.settle()  # tells the model; what is due must have been done, and nothing else
        self.rig.sound = False
        all_promises(self.rig)
        self.rig.sound = True

    def teardown(self) -> None:
        """Everybody leaves; when idle connections have had their time, nothing is left."""
        if not hasattr(self, "rig"):
            return
        self.rig.close()
        if self.rig.sound:
            for visitor in self.rig.visitors:
                self.rig.leave(visitor)
            self.rig.settle()
            one_record(self.rig)
            active_requests_are_counted(self.rig)
            self.rig.pass_time(POOL_IDLE)
            assert self.rig.network.alive == []
            assert self.rig.pool.open_connections == 0
            assert self.rig.clock.getDelayedCalls() == []


class ExchangeMachineTests(SynchronousTestCase):
    """The machine, for both test runners."""

    def test_any_order(self) -> None:
        """Whatever the order of events, every promise is kept."""
        run_state_machine_as_test(ExchangeMachine, settings=bounds(300, 50))
