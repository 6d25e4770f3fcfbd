"""Stickiness and cooldown: the model that receives each request after any history.

Requests of several clients overlap in the real proxy, and succeed or fail in every relevant way. A
model of plain dicts (`memory_model`) predicts the next candidate of each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

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

from autopilot.http.dialect import Dialect
from autopilot.http.headers import read_request_headers
from autopilot.relay.downstream import ClientRequest
from autopilot.relay.exchange import Exchange
from autopilot.routing.identity import Hasher
from autopilot.routing.snapshot import Snapshot
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.latency import LatencyStats
from autopilot.state.sharing.affinity import SharedAffinity
from autopilot.state.sharing.breaker import SharedBreaker
from autopilot.state.sharing.latency import SharedLatency
from autopilot.state.sharing.outbox import Outbox
from autopilot.state.sharing.tables import SharedTables
from autopilot.state.tables import StateTables
from tests.properties import memory_model as plain
from tests.properties.exchange_bounds import bounds
from tests.unit.relay.downstreams import RecordingDownstream
from tests.unit.relay.routers import ALIAS, RouterTestCase, snapshot
from tests.unit.relay.upstreams import JSON, Wire, chunk, head, whole

MODELS = ("a", "b", "c", "d")
LISTS = ("b,a", "a,b,c")
CLOSE = b"Connection: close"
CAPACITY = b'{"detail":"Infrastructure is at maximum capacity, try again later"}'
NOT_FOUND = b'{"detail":"model not found: a"}'

MOST_KEYS = 3
TTL = 40.0
LIST_RETRY = 10.0
PERIOD = 15.0
# Its first byte is committed; JSON, and what is like it under an unlabelled type, is held until it
# is whole while a candidate is left.
TEXT = b"text/html"

# The responses of an upstream and their meaning: it serves, begins an answer (which may end or
# break later), breaks one, says nothing (a break if it is the last one), fails (some only if other
# models are allowed), or responds to the client alone.
ANSWERS = {
    "200": (whole(200, b"{}", JSON, CLOSE), "serves"),
    "204": (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", "says nothing"),
    "200 that begins": (head(200, TEXT, CLOSE) + chunk(b"{"), "begins"),
    "200 that breaks": (head(200, TEXT, CLOSE) + chunk(b"{"), "breaks"),
    "503": (whole(503, b"", JSON, CLOSE), "fails"),
    "502": (whole(502, b"", JSON, CLOSE), "fails"),
    "200 without HTTP": (b"junk", "fails"),
    "reset": (b"", "fails"),
    "429 at capacity": (whole(429, CAPACITY, JSON, CLOSE), "fails"),
    "404 model not found": (whole(404, NOT_FOUND, JSON, CLOSE), "fails among others"),
    "429": (whole(429, b"{}", JSON, CLOSE), "tells the client"),
    "400": (whole(400, b"{}", JSON, CLOSE), "tells the client"),
    "500": (whole(500, b"{}", JSON, CLOSE), "tells the client"),
}


_HASHER = Hasher(b"k" * 32)
_ANSWERS = st.sampled_from(("200", "503", "reset", "429 at capacity", *ANSWERS))


@dataclass(eq=False)
class Open:
    """An active request: its model, its connection, and its other candidates."""

    key: plain.Key
    left: list[str]
    down: RecordingDownstream
    exchange: Exchange
    asked: str = ""
    wire: Wire | None = None
    began: float | None = None
    """The time of the commit, until it has counted as a success."""
    answered: bool = False
    tried_at: float = 0.0
    """The start of the current attempt."""


class MemoryMachine(RuleBasedStateMachine):
    """Three clients, an alias, lists and direct names over the same four models."""

    @initialize(ttl=st.sampled_from((TTL, TTL, 0.0)), failures=st.sampled_from((2, 3, 0)))
    def build(self, ttl: float, failures: int) -> None:
        """Start a router with short memory."""
        self.router = RouterTestCase("finish")  # for its set-up and its checks
        self.router.setUp()
        tables = self.tables(ttl, failures)
        long = 1e6  # time passes between requests, and ends none of them
        self.router.build(
            total=long, unary=long, idle=long, plain_failover_after=long, tables=tables
        )
        self.sticky = plain.Stickiness(ttl=ttl, most=MOST_KEYS, list_retry=LIST_RETRY)
        self.cooldown = plain.Cooldown(failures=failures, period=PERIOD)
        self.ranking: tuple[str, ...] = MODELS
        self.open: list[Open] = []
        self.started = 0
        self.models_rank(MODELS)

    def tables(self, ttl: float, failures: int) -> StateTables:
        """Return the tables of the router."""
        return StateTables(
            SessionAffinity(ttl=ttl, max_entries=MOST_KEYS, list_retry=LIST_RETRY),
            CircuitBreaker(threshold=failures, period=PERIOD, max_entries=100),
            LatencyStats(),
        )

    @property
    def now(self) -> float:
        """The time."""
        return self.router.clock.seconds()

    # -- events

    @rule(
        client=st.sampled_from("xxyz"),
        selector=st.sampled_from((ALIAS, *LISTS, LISTS[0], *MODELS[:2])),
        answers=st.lists(_ANSWERS, max_size=3),
    )
    def client_asks(self, client: str, selector: str, answers: list[str]) -> None:
        """Begin a request; let several models respond to it before other events."""
        names = self.ranking if selector == ALIAS else selector.split(",")
        key = client, selector
        left = [selector]
        if selector not in MODELS:
            left = plain.order(names, key, self.sticky, self.cooldown, self.now)
        down = RecordingDownstream(self.router.clock)
        exchange = self.router.proxy.accept(_inbound(client, selector), down)
        assert exchange is not None
        self.started += 1
        request = Open(key, left, down, exchange)
        self.open.append(request)
        self._turn(request)
        for answer in answers:
            if request in self.open and not request.answered:
                self._answer(request, answer)

    @rule(
        client=st.sampled_from("xy"),
        selector=st.sampled_from((ALIAS, *LISTS)),
        first=st.sampled_from(
            (
                ["503", "200"],
                ["reset", "200"],
                ["503"],
                ["200 that breaks"],
                ["503", "200 that breaks"],
            )
        ),
        gaps=st.lists(st.sampled_from((1.0, 4.0, 39.0)), max_size=3),
        late=st.booleans(),
    )
    def client_comes_back(
        self, client: str, selector: str, first: list[str], gaps: list[float], late: bool
    ) -> None:
        """Let a client whose first model failed make further requests, which succeed.

        ``late``: before the last one the oldest active request gets a response.
        """
        self.client_asks(client, selector, first)
        for gap in gaps:
            self.time_passes(gap)
            self.client_asks(client, selector, ["200"])
        if late and self.open:
            self._answer(self.open[0], "200")
            self.client_asks(client, selector, ["200"])

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 3), answer=_ANSWERS)
    def upstream_answers(self, which: int, answer: str) -> None:
        """Respond to a request, or break off."""
        self._answer(self.open[which % len(self.open)], answer)

    @precondition(lambda self: any(request.answered for request in self.open))
    @rule(which=st.integers(0, 3), how=st.sampled_from(("flows", "ends", "breaks")))
    def answer_goes_on(self, which: int, how: str) -> None:
        """Continue an answer, end it, or break it off."""
        flowing = [request for request in self.open if request.answered]
        request = flowing[which % len(flowing)]
        assert request.wire is not None
        if how == "flows":
            request.wire.says(chunk(b" "))
            if request.began is not None and self.now - request.began >= PERIOD:
                request.began = None
                self.cooldown.answers(request.key[0], request.asked)
            return
        if how == "ends":
            request.wire.says(chunk(b""))
            self.cooldown.answers(request.key[0], request.asked)
        else:
            request.wire.resets()
            self._learn_break(request)
        self.open.remove(request)
        assert request.down.ended is not None

    def _answer(self, request: Open, answer: str) -> None:
        if request.answered:
            return
        says, meaning = ANSWERS[answer]
        assert request.wire is not None
        if says:
            request.wire.says(says)
        if request.wire.alive and meaning not in ("tells the client", "begins"):
            request.wire.resets()
        if meaning == "says nothing":  # an empty answer
            meaning = "fails" if request.left else "breaks"
        if meaning == "fails among others":
            meaning = "tells the client" if request.key[1] in MODELS else "fails"
        self._learn(request, meaning)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 3))
    def client_leaves(self, which: int) -> None:
        """Disconnect a client, which says nothing about a model."""
        request = self.open.pop(which % len(self.open))
        request.down.lost()
        request.exchange.client_gone()

    @rule(seconds=st.sampled_from((1.0, 4.0, 5.0, 10.0, 15.0, 39.0)))
    def time_passes(self, seconds: float) -> None:
        """Advance the time."""
        self.router.clock.advance(seconds)

    @rule(ranking=st.permutations(MODELS).flatmap(lambda all: st.sampled_from((all, all[:3]))))
    def models_rank(self, ranking: tuple[str, ...]) -> None:
        """Change the ranking, perhaps without one of the models."""
        self.ranking = tuple(ranking)
        known = snapshot(**dict.fromkeys(MODELS, 1000))
        ranked = snapshot(**dict.fromkeys(self.ranking, 1000)).ranking
        self.router.snapshot = Snapshot(known.catalog, ranked, 990.0, 995.0)

    # -- consequences

    def _turn(self, request: Open) -> None:
        """Check that the router sends the request to the next model."""
        client = request.key[0]
        expected = plain.next_of(request.left, self.cooldown.cooling(client, self.now))
        request.wire = self.router.wire
        assert request.wire.models == [expected], f"{request.wire.models}, not {expected}"
        request.asked = expected
        request.left.remove(expected)
        self.cooldown.is_asked(client, expected, self.now)
        request.tried_at = self.now

    def _learn_break(self, request: Open) -> None:
        model, took = request.asked, self.now - request.tried_at
        if model != request.key[1]:
            self.sticky.breaks(request.key, model, self.now, took)
        self.cooldown.fails(request.key[0], model, self.now, took)

    def _learn(self, request: Open, meaning: str) -> None:
        model, now, client = request.asked, self.now, request.key[0]
        sticks = model != request.key[1]
        if sticks and meaning in ("begins", "serves", "breaks"):
            self.sticky.serves(request.key, model, now)
        if meaning == "begins":
            request.began, request.answered = now, True
            return
        if meaning == "serves":
            self.cooldown.answers(client, model)
        elif meaning == "breaks":
            self._learn_break(request)
        elif meaning != "tells the client":
            took = now - request.tried_at
            if sticks:
                self.sticky.fails(request.key, model, now, took)
            self.cooldown.fails(client, model, now, took)
            if request.left:
                self._turn(request)
                return
        self.open.remove(request)
        assert request.down.ended is not None

    # -- invariants

    @invariant()
    def tables_agree(self) -> None:
        """Check that the same models cool, and that the number of stored clients is right."""
        tables = self.router.proxy.tables
        for client in "xyz":
            cooling = tables.breaker.cooling(_HASHER.token(client), self.now)
            assert cooling == self.cooldown.cooling(client, self.now)
        assert tables.breaker.cooling(None, self.now) == self.cooldown.cooling(None, self.now)
        assert tables.breaker.open == self.cooldown.cooled
        assert len(tables.affinity) == len(self.sticky.used) <= MOST_KEYS

    @invariant()
    def every_request_has_an_attempt(self) -> None:
        """Check that every open request has an attempt, however many models cool."""
        assert self.router.proxy.active == len(self.open)
        assert all(request.wire is not None and request.wire.alive for request in self.open)

    def teardown(self) -> None:
        """Disconnect all clients; every request must have its record."""
        if hasattr(self, "router"):
            while self.open:
                request = self.open.pop()
                request.down.lost()
                request.exchange.client_gone()
            assert len(self.router.records) == self.started
            self.router.records.clear()
            self.router.finish()


def _inbound(client: str, selector: str) -> ClientRequest:
    fields = [(b"Authorization", b"Bearer " + client.encode())]
    return ClientRequest(
        dialect=Dialect.COMPLETIONS,
        path=b"/v1/chat/completions",
        query=b"",
        headers=read_request_headers(fields),
        body=json.dumps({"model": selector}).encode(),
        peer="192.0.2.1",
        request_id="r",
    )


class SharedMemoryMachine(MemoryMachine):
    """The same, on tables that other replicas could share."""

    def tables(self, ttl: float, failures: int) -> StateTables:
        """Return the tables of the router."""
        outbox = Outbox(1)
        return SharedTables(
            SharedAffinity(outbox, ttl=ttl, max_entries=MOST_KEYS, list_retry=LIST_RETRY),
            SharedBreaker(outbox, threshold=failures, period=PERIOD, max_entries=100),
            SharedLatency(outbox),
            outbox,
        )


class MemoryMachineTests(SynchronousTestCase):
    """The machine, for both test runners."""

    def test_any_order(self) -> None:
        """The right model receives the request after any history."""
        run_state_machine_as_test(MemoryMachine, settings=bounds(150, 50))

    def test_shared_tables(self) -> None:
        """Tables that could be shared say the same as those of a process without others."""
        run_state_machine_as_test(SharedMemoryMachine, settings=bounds(40, 50))
