"""Second attempts beside the first of a slow model, of which the first content wins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autopilot.http.dialect import COUNT_TOKENS, Dialect
from autopilot.relay.bridge import COMMENT
from autopilot.routing.commit import Commit
from autopilot.routing.retry_policy import Policy
from autopilot.state.edge_account import EdgeConfig
from tests.unit.relay.fallbacks import NAMED, FallbackTestCase
from tests.unit.relay.routers import ALIAS, EACH, Client, RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, ROLE, STOP, TOKEN, Wire, chunk, head, whole

USUAL = 0.5
"""How long the models take to their first content."""
DUE = 3 * USUAL
ANSWER = TOKEN + STOP + DONE
START = (
    b'event: message_start\ndata: {"type":"message_start","message":'
    b'{"usage":{"input_tokens":TOKENS,"output_tokens":1}}}\n\n'
)
DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta",'
    b'"delta":{"type":"text_delta","text":"hi"}}\n\n'
)
END = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
CONTEXT = b'{"detail":"This model\'s maximum context length is 1000 tokens."}'
OTHER = TOKEN.replace(b"hi", b"ho") + STOP + DONE


class HedgeTestCase(RouterTestCase):
    """A router that hedges after three times the usual time, with enough requests for one."""

    def hedges(self, requests: int = 19, **settings: Any) -> None:
        """Build the router, with what is known of its models."""
        self.build(**settings)
        self.hedging(USUAL, requests)

    def hedged(self, model: str = "a,b,c", *fields: Any, **members: Any) -> Client:
        """Ask for a stream whose first model is slow."""
        client = self.ask(model, *fields, **members)
        self.clock.advance(DUE - 0.01)
        self.assertEqual(self.models, ["a"])
        self.clock.advance(0.02)
        self.assertEqual(self.models, ["a", "b"])
        self.assertEqual(len(self.upstreams.alive), 2)
        return client

    @property
    def both(self) -> tuple[Wire, Wire]:
        """The connections of the first and the second attempt."""
        first, second = self.upstreams.wires[-2:]
        return first, second


def streams(wire: Wire, answer: bytes = ANSWER) -> None:
    """Answer with a whole stream."""
    wire.says(head(), chunk(answer), chunk(b""))


class RaceTests(HedgeTestCase):
    """Which attempt goes on."""

    def test_second_wins(self) -> None:
        """The first one's connection is closed in the same turn, and its model has not failed."""
        self.hedges()
        client = self.hedged()
        first, second = self.both
        second.says(head(), chunk(ROLE))
        self.assertFalse(first.aborted)
        second.says(chunk(OTHER))
        self.assertTrue(first.aborted)
        self.assertEqual(client.down.body, ROLE + OTHER)
        self.assertEqual(client.down.field(b"x-chutes-autopilot-selected"), b"b")
        self.assertEqual(client.down.field(b"x-chutes-autopilot-attempts"), b"2")
        record = self.record
        self.assertEqual((record.model, record.outcome, record.failovers), ("b", "completed", ()))
        self.assertEqual(record.hedged, "won")
        self.assertEqual(self.tables.breaker.breakers, {})

    def test_second_wins_in_pieces(self) -> None:
        """However its bytes are cut, and whatever commits it, the client gets each of them once."""
        for model, settings in (
            ("a,b,c", {}),
            ("a,b", {}),
            ("a,b,c", {"max_attempts": 2}),
            ("a,b,c", {"commit": Commit.BYTE}),
            ("a,b", {"commit": Commit.COMPLETE}),
        ):
            for pieces in ([ROLE, OTHER], [ROLE[:9], ROLE[9:], OTHER[:-3], OTHER[-3:]]):
                for whole_at_end in (False, True):
                    self.hedges(**settings)
                    client = self.hedged(model)
                    second = self.both[1]
                    second.says(head())
                    for piece in pieces[:-1]:
                        second.says(chunk(piece))
                    last = chunk(pieces[-1])
                    for said in [last + chunk(b"")] if whole_at_end else [last, chunk(b"")]:
                        second.says(said)
                    case = model, settings, pieces, whole_at_end
                    self.assertEqual(client.down.body, ROLE + OTHER, case)
                    self.assertEqual(
                        (self.record.outcome, self.record.bytes, self.record.hedged),
                        ("completed", len(ROLE + OTHER), "won"),
                        case,
                    )

    def test_first_fails_before_pieces(self) -> None:
        """A second attempt that takes over as the last one relays what it had, and what follows."""
        self.hedges()
        client = self.hedged("a,b")
        first, second = self.both
        for said in (head(), chunk(ROLE[:9]), chunk(ROLE[9:])):
            second.says(said)
        first.resets()
        self.assertEqual(client.down.body, ROLE)
        second.says(chunk(OTHER), chunk(b""))
        self.assertEqual((client.down.body, self.record.outcome), (ROLE + OTHER, "completed"))

    def test_many_pieces(self) -> None:
        """Any number of pieces may arrive before the content, in the same turn or in many."""
        self.hedges()
        client = self.hedged()
        second = self.both[1]
        second.says(head())
        for _ in range(1500):
            second.says(chunk(COMMENT))
        second.says(chunk(OTHER), chunk(b""))
        self.assertEqual(client.down.body, COMMENT * 1500 + OTHER)
        self.assertEqual((self.record.outcome, self.record.hedged), ("completed", "won"))

    def test_held_bytes(self) -> None:
        """What the second attempt keeps is charged until it is relayed, or dropped."""
        self.hedges()
        client = self.hedged("a,b")
        before = self.ledger.held_bytes
        first, second = self.both
        second.says(head(), chunk(ROLE))
        self.assertEqual(self.ledger.held_bytes, before + len(ROLE))
        second.says(chunk(ROLE))
        self.assertEqual(self.ledger.held_bytes, before + 2 * len(ROLE))
        second.resets()
        self.assertEqual(self.ledger.held_bytes, before)
        first.says(head(), chunk(ANSWER), chunk(b""))
        self.assertEqual(client.down.body, ANSWER)
        self.assert_nothing_held()
        self.hedges(commit=Commit.COMPLETE)
        self.hedged()
        before = self.ledger.held_bytes
        second = self.both[1]
        second.says(head(), chunk(ROLE))
        second.says(chunk(TOKEN))
        self.assertEqual(self.ledger.held_bytes, before + len(ROLE + TOKEN))
        second.says(chunk(STOP + DONE), chunk(b""))
        self.assert_nothing_held()
        self.hedges()
        client = self.hedged()
        self.both[1].says(head(), chunk(ROLE))
        client.leaves()
        client.exchange = None
        self.assert_nothing_held()

    def test_first_wins(self) -> None:
        """The second one's connection is closed in the same turn."""
        self.hedges()
        client = self.hedged()
        first, second = self.both
        second.says(head(), chunk(ROLE))
        first.says(head(), chunk(ROLE))
        self.assertFalse(second.aborted)
        first.says(chunk(TOKEN))
        self.assertTrue(second.aborted)
        first.says(chunk(STOP + DONE), chunk(b""))
        self.assertEqual(client.down.body, ROLE + ANSWER)
        self.assertEqual((self.record.model, self.record.attempts), ("a", 2))
        self.assertEqual(self.record.hedged, "lost")

    def test_whole(self) -> None:
        """An answer in one read wins as well."""
        self.hedges()
        client = self.hedged()
        self.both[1].says(whole(200, OTHER, b"text/event-stream"))
        self.assertEqual((client.down.body, self.both[0].aborted), (OTHER, True))

    def test_first_fails(self) -> None:
        """If the first one fails, the second is what there is to turn to, as far as it is."""
        for fails in (
            lambda wire: wire.says(whole(503, b"", JSON)),
            lambda wire: wire.resets(),
            lambda wire: wire.says(head(), chunk(b'data: {"error":{"code":500}}\n\n')),
            lambda wire: self.clock.advance(11),
        ):
            self.hedges()
            client = self.hedged()
            first, second = self.both
            second.says(head(), chunk(ROLE))
            fails(first)
            self.assertEqual(self.models, ["a", "b"])
            second.says(chunk(OTHER))
            self.assertEqual(client.down.body, ROLE + OTHER)
            self.assertEqual(len(self.record.failovers), 1)

    def test_both_fail(self) -> None:
        """Then the next candidate is tried, and the last response relayed."""
        self.hedges()
        client = self.hedged()
        first, second = self.both
        first.says(whole(503, b"", JSON))
        second.says(whole(503, b"", JSON))
        self.assertEqual(self.models, ["a", "b", "c"])
        self.wire.says(whole(503, b"", JSON))
        self.assertEqual((client.down.status, self.record.attempts), (503, 3))

    def test_second_is_lost(self) -> None:
        """A second attempt without an answer is dropped, and is no failure of its model."""
        for says in (
            whole(503, b"", JSON),
            whole(200, b"{}", JSON),
            head(429, b"text/html"),
            head(200, b"text/html") + chunk(b"x"),
            head() + chunk(DONE),
            head() + chunk(ROLE) + chunk(b""),
            b"junk\r\n\r\n",
        ):
            self.hedges()
            client = self.hedged()
            first, second = self.both
            second.says(says)
            self.assertEqual(self.models, ["a", "b"])
            streams(first)
            self.assertEqual(client.down.body, ANSWER, says)
            self.assertEqual(self.record.failovers, ())
            self.assertEqual(self.tables.breaker.breakers, {})

    def test_first_is_the_last(self) -> None:
        """When the second is lost and nothing is left, the first has the full time."""
        self.hedges()
        client = self.hedged("a,b")
        first, second = self.both
        first.says(head(), chunk(ROLE))
        self.assertEqual(client.down.body, b"")
        second.resets()
        self.assertEqual(client.down.body, ROLE)  # without another candidate the first byte counts
        self.clock.advance(30)
        first.says(chunk(ANSWER), chunk(b""))
        self.assertEqual(client.down.body, ROLE + ANSWER)
        self.hedges()
        client = self.hedged("a,b")
        self.both[1].resets()
        self.clock.advance(30)
        streams(self.both[0])
        self.assertEqual(client.down.body, ANSWER)

    def test_pause_of_the_first(self) -> None:
        """While the first one waits for its second try, the second may win, or be lost."""
        again = whole(429, b'{"error":{}}', JSON, b"Retry-After: 3")
        self.hedges()
        client = self.hedged()
        first, second = self.both
        first.says(again)
        streams(second, OTHER)
        self.assertEqual(client.down.body, OTHER)
        self.hedges()
        client = self.hedged("a,b")
        first, second = self.both
        first.says(again)
        second.resets()
        self.clock.advance(3)
        self.assertEqual(self.models, ["a", "a", "b"])  # by connection; the first was kept
        streams(first)
        self.assertEqual(client.down.body, ANSWER)

    def test_complete(self) -> None:
        """With `complete` the first content decides which attempt is held until its end."""
        self.hedges(commit=Commit.COMPLETE)
        client = self.hedged()
        first, second = self.both
        second.says(head(), chunk(TOKEN))
        self.assertTrue(first.aborted)
        self.assertEqual(client.down.body, b"")
        second.says(chunk(STOP + DONE), chunk(b""))
        self.assertEqual(client.down.body, ANSWER)

    def test_complete_by_the_first(self) -> None:
        """The second is dropped once the first has content, whose answer is then the last one."""
        self.hedges(commit=Commit.COMPLETE)
        client = self.hedged("a,b")
        first, second = self.both
        second.says(head(), chunk(ROLE))
        first.says(head(), chunk(TOKEN))
        self.assertEqual((second.aborted, client.down.body), (True, b""))
        self.clock.advance(60)  # longer than any allowance
        first.says(chunk(STOP + DONE), chunk(b""))
        self.assertEqual(client.down.body, ANSWER)
        self.hedges(commit=Commit.COMPLETE)
        client = self.hedged("a,b")
        self.both[0].says(head(), chunk(TOKEN))
        self.clock.advance(self.config.timeouts.idle)
        self.assert_refused(client, 502, "upstream_stream_interrupted")

    def too_long(self, model: str, **settings: Any) -> tuple[Client, Wire, Wire]:
        """Ask for a stream with a second attempt, after which the first reports its context."""
        self.hedges(**settings)
        client = self.ask(model)
        self.clock.advance(DUE + 0.01)
        first, second = self.both
        first.says(whole(400, CONTEXT))
        return client, first, second

    def test_larger_context(self) -> None:
        """After a context error a second attempt with a larger one goes on, as the last or not."""
        for model, settings in (("a,c", {}), ("a,c,b", {}), ("a,c,b", {"max_attempts": 2})):
            client, _, second = self.too_long(model, **settings)
            self.assertEqual((self.models, client.down.head), (["a", "c"], None), model)
            self.assertFalse(second.aborted)
            streams(second, OTHER)
            self.assertEqual((client.down.body, self.reasons), (OTHER, ("context",)))
            client, _, second = self.too_long(model, **settings)
            second.says(whole(503, b"{}", JSON))
            self.assertEqual((self.models, client.down.status), (["a", "c"], 503))

    def test_no_larger_context(self) -> None:
        """Without a larger one the context error is the client's answer."""
        for model in ("a,b", "c,a"):
            client, _, second = self.too_long(model)
            self.assertTrue(second.aborted)
            self.assertEqual((client.down.status, self.record.failovers), (400, ()))

    def test_context(self) -> None:
        """After a context error only a model with a larger one is tried."""
        self.hedges()
        client = self.hedged()
        first, second = self.both
        first.says(whole(400, CONTEXT))
        self.assertTrue(second.aborted)
        self.assertEqual(self.models, ["a", "c", "b"])  # by connection; the first was kept
        streams(first)
        self.assertEqual(client.down.body, ANSWER)

    def test_bridged(self) -> None:
        """A stream that has begun is hedged as any other."""
        self.hedges()
        client = self.hedged("a,b,c", EACH)
        streams(self.both[1], OTHER)
        self.assertTrue(client.down.body.endswith(OTHER))

    def test_pause_before_the_last(self) -> None:
        """A first one that fails after its pause leaves the second, though none is behind it."""
        self.hedges()
        client = self.hedged("a,b")
        first, second = self.both
        second.says(head(), chunk(ROLE))
        first.says(whole(429, b'{"error":{}}', JSON, b"Retry-After: 3"))
        self.clock.advance(3)
        first.says(whole(503, b"", JSON))
        self.assertEqual(client.down.body, ROLE)  # now it is the last one
        second.says(chunk(OTHER), chunk(b""))
        self.assertEqual(client.down.body, ROLE + OTHER)
        self.assertEqual((self.models, self.record.hedged), (["a", "a", "b"], "won"))

    def test_sticky(self) -> None:
        """The conversation stays with the attempt that went on."""
        talk: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}
        self.hedges()
        self.hedged(ALIAS, **talk)
        streams(self.both[1], OTHER)
        self.ask(ALIAS, **talk)
        self.assertEqual(self.models, ["a", "b", "b"])

    def test_ends(self) -> None:
        """A client that leaves, a shutdown and the total deadline end both, in one turn."""
        for ends in (
            lambda client: client.leaves(),
            lambda client: self.proxy.shut_down(),
            lambda client: self.clock.advance(self.config.timeouts.total),
        ):
            for begun in (False, True):
                self.hedges(total=5.0)
                client = self.hedged()
                for wire in self.both if begun else ():
                    wire.says(head(), chunk(ROLE))
                ends(client)
                self.assertTrue(all(wire.aborted for wire in self.both))
                self.assertEqual(self.record.hedged, "lost")
                if self.record.outcome == "client_gone":
                    client.exchange = None


class DroppedTests(HedgeTestCase):
    """What the record says of the call that was given up for the other."""

    def dropped(self) -> tuple[Any, ...]:
        """The model, status, milliseconds, prompt and cost of that call, in the one record."""
        call = self.record.dropped
        assert call is not None
        prompt = None if call.usage is None else call.usage.prompt
        return call.model, call.status, call.ms, prompt, call.cost_picodollars

    def reporting(self, **settings: Any) -> tuple[Client, Wire, Wire]:
        """Race two attempts on a message, whose first event reports the prompt."""
        self.hedges(**settings)
        client = self.hedged(dialect=Dialect.MESSAGES, path=b"/v1/messages")
        first, second = self.both
        for wire, tokens in ((first, b"1000"), (second, b"2000")):
            wire.says(head(), chunk(START.replace(b"TOKENS", tokens)))
        self.clock.advance(0.5)
        return client, first, second

    def test_second_wins(self) -> None:
        """It is the first, with its usage, which is charged to no failed attempt."""
        _, _, second = self.reporting()
        second.says(chunk(DELTA + END), chunk(b""))
        self.assertEqual(self.dropped(), ("a", 200, 2010.0, 1000, None))
        record = self.record
        assert record.usage is not None
        self.assertEqual((record.usage.prompt, record.failovers), (2000, ()))
        self.assertEqual(record.charged, (record, record.dropped))

    def test_first_wins(self) -> None:
        """It is the second."""
        _, first, _ = self.reporting()
        first.says(chunk(DELTA + END), chunk(b""))
        self.assertEqual(self.dropped(), ("b", 200, 500.0, 2000, None))
        assert self.record.usage is not None
        self.assertEqual(self.record.usage.prompt, 1000)

    def test_second_is_lost(self) -> None:
        """It is the second as well, which has no answer for the client."""
        for says, status in ((whole(503, b"{}", JSON), 503), (b"junk", None)):
            self.hedges()
            self.hedged()
            first, second = self.both
            second.says(says)
            streams(first)
            self.assertEqual(self.dropped(), ("b", status, 0.0, None, None))

    def test_failed(self) -> None:
        """A first attempt that fails is a failed attempt: then nothing was dropped."""
        _, first, second = self.reporting()
        first.resets()
        second.says(chunk(DELTA + END), chunk(b""))
        self.assertIsNone(self.record.dropped)
        usage = [each.usage for each in self.record.failovers]
        self.assertEqual([each and each.prompt for each in usage], [1000])

    def test_neither(self) -> None:
        """When the client leaves, the second is dropped, and the first was its answer."""
        client, _, _ = self.reporting()
        client.leaves()
        client.exchange = None
        self.assertEqual(self.dropped(), ("b", 200, 500.0, 2000, None))
        assert self.record.usage is not None
        self.assertEqual(self.record.usage.prompt, 1000)
        self.hedges()
        self.ask("a,b,c")
        streams(self.wire)
        self.assertEqual((self.record.dropped, self.record.hedged), (None, None))


class StaleTests(HedgeTestCase):
    """A second attempt that meets an idle connection which the upstream has just closed."""

    def raced(self, model: str = "a,b", **settings: Any) -> tuple[Client, Wire, Wire]:
        """Race over two connections that have served other requests."""
        self.hedges(**settings)
        for _ in range(2):
            self.ask("c", stream=False)
        for wire in self.upstreams.wires:
            wire.says(whole(200, b"{}", JSON))
        self.records.clear()
        self.clients.clear()
        client = self.ask(model)
        self.clock.advance(DUE + 0.01)
        first, second = (
            next(wire for wire in self.upstreams.wires if wire.models[-1:] == [each])
            for each in "ab"
        )
        self.assertEqual(len(self.upstreams.wires), 2)
        return client, first, second

    def test_repeated(self) -> None:
        """Its request is sent once more, on a new connection, and may win."""
        for stale in (
            lambda wire: wire.closes(),
            lambda wire: wire.resets(),
            lambda wire: wire.says(whole(408, b"", JSON)),
        ):
            for fails in (False, True):
                client, first, second = self.raced()
                stale(second)
                self.assertEqual(self.upstreams.models.count("b"), 2)
                if fails:
                    first.says(whole(503, b"", JSON))
                streams(self.wire, OTHER)
                self.assertEqual((client.down.body, self.record.hedged), (OTHER, "won"))
                self.assertEqual((self.record.attempts, self.record.model), (2, "b"))
                self.assertNotIn("b", self.tables.breaker.breakers)

    def test_after_the_first(self) -> None:
        """When the first has failed before, the second is repeated in its place."""
        client, first, second = self.raced()
        first.says(whole(503, b"", JSON))
        second.closes()
        self.assertEqual(self.upstreams.models.count("b"), 2)
        streams(self.wire, OTHER)
        self.assertEqual(client.down.body, OTHER)

    def test_once(self) -> None:
        """A new connection that closes loses the race, or fails in the first one's place."""
        client, first, second = self.raced()
        second.closes()
        self.wire.closes()
        self.assertEqual(self.upstreams.models.count("b"), 2)
        streams(first)
        self.assertEqual((client.down.body, self.record.hedged), (ANSWER, "lost"))
        client, first, second = self.raced()
        second.closes()
        first.says(whole(503, b"", JSON))
        self.wire.closes()
        self.assertEqual(self.upstreams.models.count("b"), 2)
        self.assert_refused(client, 502, "upstream_connect_error")

    def test_no_repetition(self) -> None:
        """Not without a token, under a strict policy after 408, or on a connection that was new."""
        _, _, second = self.raced(policy=Policy.STRICT)
        second.says(whole(408, b"", JSON))
        self.assertEqual(self.upstreams.models.count("b"), 1)
        self.hedges()
        self.hedged("a,b")
        self.both[1].says(whole(408, b"", JSON))
        self.assertEqual(self.models, ["a", "b"])
        client, first, second = self.raced(edge=EdgeConfig(8.0, 8.0))
        for _ in range(4):
            self.ask("c", stream=False)
        second.closes()
        self.assertEqual(self.upstreams.models.count("b"), 1)
        streams(first)
        self.assertEqual(client.down.body, ANSWER)


class WhenTests(HedgeTestCase):
    """Which requests have a second attempt."""

    def calls(self, model: str = "a,b", **members: Any) -> int:
        """Return how many calls a silent first model leads to before its allowance is over."""
        client = self.ask(model, **members)
        self.clock.advance(10)
        calls = len(self.upstreams.models)
        client.leaves()
        client.exchange = None
        return calls

    def test_never(self) -> None:
        """Not plain requests, nor the last candidate, nor a model of which little is known."""
        self.hedges()
        self.assertEqual(self.calls(), 2)
        self.hedges()
        self.assertEqual(self.calls(stream=False), 1)
        self.hedges()
        self.assertEqual(self.calls("a"), 1)
        self.hedges()
        self.tables.latency._models.clear()
        self.assertEqual(self.calls(), 1)
        self.hedges()
        self.proxy.configure(replace(self.config, hedge_after=0.0))
        self.assertEqual(self.calls(), 1)

    def test_content_in_time(self) -> None:
        """An answer that has content, or has failed over, before the time has no second."""
        self.hedges(commit=Commit.COMPLETE)
        client = self.ask("a,b,c")
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(DUE + 1)
        self.assertEqual(self.models, ["a"])
        client.leaves()
        self.assertIsNone(self.record.hedged)
        client.exchange = None
        self.hedges()
        self.ask("a,b,c")
        self.wire.says(whole(503, b"", JSON))
        self.clock.advance(DUE + 1)
        self.assertEqual(self.models, ["a", "b"])

    def test_share(self) -> None:
        """When everything is slow, at most one of twenty requests has a second attempt."""
        self.hedges(requests=0)
        clients = [self.ask("a,b,c", EACH) for _ in range(60)]
        self.clock.advance(DUE + 0.1)
        self.assertEqual(len(self.upstreams.models), 63)
        for client in clients:
            client.leaves()
            client.exchange = None

    def test_count_of_tokens(self) -> None:
        """A count of tokens has none, even where it asks for a stream."""
        counts: dict[str, Any] = {"dialect": Dialect.MESSAGES, "path": COUNT_TOKENS}
        for given, calls in ((dict[str, Any](), 2), (counts, 1)):
            self.hedges()
            tables = self.proxy._counting.tables if given else self.tables
            for _ in range(20):
                tables.latency.started("a", USUAL, self.clock.seconds())
            self.assertEqual(self.calls(**given), calls, given)

    def test_tokens(self) -> None:
        """The second attempt uses up one of the calls that a key may make."""
        self.hedges(edge=EdgeConfig(3.0, 3.0))
        self.hedged()
        self.ask("a", EACH)
        self.assertEqual((len(self.upstreams.models), self.governor.waiting), (3, 0))
        self.ask("a", EACH)
        self.assertEqual((len(self.upstreams.models), self.governor.waiting), (3, 1))

    def test_account(self) -> None:
        """None when half of the calls that a key may make at once are used up."""
        for before, calls in ((0, 2), (1, 1)):
            self.hedges(edge=EdgeConfig(3.0, 3.0))
            for _ in range(before):
                self.ask("a", stream=False)
                self.wire.says(whole(200, b"{}", JSON, b"Connection: close"))
            self.assertEqual(self.calls() - before, calls)


class ElsewhereTests(FallbackTestCase):
    """The keys of other services pay for no race, nor does a call to one begin a race."""

    def calls(self, model: str, *cooling: str) -> list[str]:
        """Return the models that a request is sent to before the first's allowance is over."""
        self.build(threshold=1)
        self.hedging(USUAL, 19)
        for each in cooling:
            self.ask(each, stream=False)
            self.fails()
        before = len(self.models)
        client = self.ask(model)
        self.clock.advance(10)
        client.leaves()
        client.exchange = None
        return self.models[before:]

    def test_elsewhere(self) -> None:
        """Neither the first attempt nor the second is another service's."""
        self.assertEqual(self.calls(ALIAS), ["a", "b"])
        self.assertEqual(self.calls(f"a,b,{NAMED}"), ["a", "b"])
        self.assertEqual(self.calls(f"a,{NAMED},b"), ["a"])
        self.assertEqual(self.calls(f"{NAMED},a"), ["m"])
        self.assertEqual(self.calls("a"), ["a"])

    def test_cooling(self) -> None:
        """Nor is it when the platform's next model is cooling."""
        self.resorts = False
        self.assertEqual(self.calls(f"a,b,{NAMED}", "b"), ["a"])
