"""The exchange machine: the router keeps the contract for any order of events.

Each rule is an action of clients, upstreams, the network, the operator or the clock. After each,
the router is compared with a model of the contract (`exchange_model`) that receives the same
events.
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
    """Up to three concurrent requests on one router."""

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
        """Begin a request, on a new or a used connection."""
        free = [] if anew else self.rig.free_visitors
        visitor = free[0] if free else self.rig.connect()
        asked = SELECTORS[selector]
        self.rig.ask(visitor, selector, asked, streams=streams, commit=commit.value, size=size)

    @precondition(lambda self: self.rig.connected)
    @rule(which=ANY, does=st.sampled_from(("stop or read on", "stop or read on", "leave")))
    def client_does_something(self, which: int, does: str) -> None:
        """Disconnect a client, or stop or resume its reading."""
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
        """Begin a stream, perhaps a complete one."""
        line = one_of(self.rig.network.asked, which)
        framing = Framing.CLOSE if how.framing is Framing.CLOSE else Framing.CHUNKED
        reply = REPLIES["stream"]._replace(framing=framing, keep=how.keep)
        line.script = script = Script(reply, how.interim)
        _say(script, pieces, end)
        self.rig.deliver(line, cuts, kept)

    @precondition(lambda self: self.rig.network.asked)
    @rule(which=ANY, how=MANNERS)
    def upstream_trickles(self, which: int, how: Manner) -> None:
        """Continue a stream so slowly that only its bytes prevent the idle timeout."""
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
        """Send a document or an error, or a part of it."""
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
        """Send an error with Retry-After, where the router honours it."""
        self.upstream_answers(which, name, how, [], 0, "stays")

    @precondition(lambda self: self.rig.wants_requests and len(self.rig.active) < 2)
    @rule()
    def two_are_served_at_once(self) -> None:
        """Serve two requests, so that two connections become idle."""
        for _ in range(2):
            self.client_asks("a", False, Commit.CONTENT, 125, True)
        while self.rig.network.asked:
            self.upstream_answers(0, "document", KEPT_ALIVE, [], 0, "stays")

    @precondition(lambda self: self.rig.network.answering)
    @rule(which=ANY, after=BETWEEN, pieces=PIECES, end=ENDS, cuts=CUTS, kept=KEPT)
    def upstream_goes_on(
        self, which: int, after: float, pieces: list[str], end: str, cuts: list[int], kept: int
    ) -> None:
        """Send more of a response, perhaps later, and deliver all."""
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
        """End a connection during a call, or send bytes that are not HTTP."""
        line = one_of(self.rig.network.busy, which)
        if how != "garbles":
            line.does(how)
        elif line.garbles():
            self.rig.deliver(line, [], 0)

    @precondition(lambda self: self.rig.network.stale)
    @rule(which=ANY)
    def kept_connection_was_stale(self, which: int) -> None:
        """End an idle connection just before a request is sent over it."""
        one_of(self.rig.network.stale, which).closes()

    @precondition(lambda self: self.rig.network.idle)
    @rule(which=ANY, speaks=st.booleans(), asked=st.booleans())
    def idle_upstream_does_something(self, which: int, speaks: bool, asked: bool) -> None:
        """Close an idle connection, or send unsolicited bytes on it.

        ``asked``: a request arrives before the router learns of the connection's end.
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
        """Make the next connection attempts fail or hang."""
        self.rig.network.moods = moods.split()

    @precondition(lambda self: self.rig.network.openings)
    @rule(which=ANY, refused=st.booleans())
    def connection_is_made_or_refused(self, which: int, refused: bool) -> None:
        """Complete a pending connection attempt, or refuse it."""
        self.rig.network.answer(one_of(self.rig.network.openings, which), refused=refused)

    # -- time and the operator

    @rule(
        seconds=SECONDS,
        evenly=st.sampled_from((True, True, False)),
    )
    def time_passes(self, seconds: float, evenly: bool) -> None:
        """Advance the time to the instant of each deadline, or past several at once.

        During a connection attempt two deadlines of a request could expire at once, in either
        order.
        """
        if evenly or self.rig.network.openings:
            self.rig.pass_time(seconds)
        else:
            self.rig.clock.advance(seconds)

    @precondition(lambda self: self.rig.pausing and not self.rig.network.openings)
    @rule(seconds=st.sampled_from((61.0, 610.0)))
    def process_is_held_up(self, seconds: float) -> None:
        """Resume after a pause is over, and perhaps after the total time."""
        self.rig.clock.advance(seconds)

    @precondition(lambda self: len(self.rig.requests) >= ENOUGH_REQUESTS)
    @rule()
    def operator_stops_the_router(self) -> None:
        """Stop the router; then let the drain time expire."""
        if self.rig.proxy.draining:
            self.rig.shut_down()
        else:
            self.rig.drain()

    # -- the promises

    @invariant()
    def every_promise_is_kept(self) -> None:
        """Check all invariants after each step."""
        # the model learns of all events; what is due must have been done, and nothing else
        self.rig.settle()
        self.rig.sound = False
        all_promises(self.rig)
        self.rig.sound = True

    def teardown(self) -> None:
        """Disconnect all clients; after the idle time nothing may be left."""
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
        """The invariants hold for any order of events."""
        run_state_machine_as_test(ExchangeMachine, settings=bounds(300, 50))
