"""Tests of exchanges whose calls the account's governor counts."""

from __future__ import annotations

from dataclasses import replace

from autopilot.routing.commit import Commit
from autopilot.routing.retry_policy import Policy
from autopilot.state.edge_account import ASKING, EdgeConfig
from tests.unit.relay.routers import ALIAS, FAILOVER_AFTER, Client, RouterTestCase
from tests.unit.relay.upstreams import (
    DONE,
    JSON,
    ROLE,
    SSE,
    STOP,
    TOKEN,
    chunk,
    head,
    whole,
)

CLOSE = b"Connection: close"
HTML = b"text/html"
PAGE = b"<html><center>nginx</center></html>"
BUSY = whole(503, b'{"detail":"No instances available"}', JSON, CLOSE)
FINE = whole(200, b'{"choices":[{"message":{"content":"hi"}}]}', JSON, CLOSE)
ERROR = b'data: {"error":{"message":"no","code":500}}\n\n'


class Paced(RouterTestCase):
    """A router that may send two calls a minute, and two at once."""

    calls = 2.0

    def setUp(self) -> None:
        """Build it."""
        super().setUp()
        self.rebuild()

    def rebuild(self, calls: float | None = None, **settings: object) -> None:
        """Build it with other settings."""
        most = self.calls if calls is None else calls
        self.build(edge=EdgeConfig(most, most), **settings)  # type: ignore[arg-type]

    def spend(self, calls: int = 2) -> None:
        """Use up tokens."""
        for _ in range(calls):
            self.ask("a", stream=False)
            self.wire.says(FINE)

    def limited_for(self, client: Client) -> int | None:
        """Return the seconds in the error that the client got, which must be the governor's."""
        self.assert_refused(client, 429, "edge_limited")
        assert client.down.refusal is not None
        return client.down.refusal.retry_after


class FirstCallTests(Paced):
    """The first call waits for its token."""

    def test_waits(self) -> None:
        """A request that comes too soon is sent when there is a token; its record says so."""
        self.rebuild(calls=60.0)
        self.spend(60)
        client = self.ask("a", stream=False)
        self.assertEqual(len(self.models), 60)
        self.clock.advance(1.0)
        self.wire.says(FINE)
        self.assertEqual(client.down.status, 200)
        self.assertEqual([each.waited_ms for each in self.records[-2:]], [None, 1000.0])

    def test_refused(self) -> None:
        """After two seconds it is refused, was not sent, and knows when it may be."""
        self.spend()
        client = self.ask(ALIAS)
        self.clock.advance(1.99)
        self.assertFalse(client.down.committed)
        self.clock.advance(0.01)
        self.assertEqual(self.limited_for(client), 28)
        assert client.down.refusal is not None
        self.assertIsNone(client.down.refusal.tried)
        self.assertEqual(self.models, ["a", "a"])
        record = self.records[-1]
        self.assertEqual((record.attempts, record.model, record.waited_ms), (0, None, 2000.0))
        self.assertEqual((record.outcome, record.code), ("refused", "edge_limited"))

    def test_asking(self) -> None:
        """Where the governor asks for tokens, it has half a second, even if none is to be spent."""
        self.config = replace(self.config, pace=0.0)
        self.proxy.configure(self.config)
        self.spend()
        for least_wait in (0.0, ASKING):
            self.governor.least_wait = least_wait
            client = self.ask("a", stream=False)
            self.clock.advance(least_wait / 2)
            refused = client.down.refusal
            self.assertEqual(refused is None, bool(least_wait))
            self.clock.advance(least_wait / 2)
            self.limited_for(client)

    def test_total_deadline(self) -> None:
        """A total deadline that is shorter than the wait ends it."""
        self.rebuild(total=1.0)
        self.spend()
        client = self.ask("a")
        self.clock.advance(1.0)
        self.assertIsNotNone(self.limited_for(client))

    def test_client_leaves(self) -> None:
        """A client that leaves takes no token."""
        self.spend()
        self.ask("a").leaves()
        self.assertEqual(self.records[-1].outcome, "client_gone")
        self.assertEqual(self.governor.waiting, 0)

    def test_shut_down(self) -> None:
        """A shutdown ends the wait."""
        self.spend()
        client = self.ask("a")
        self.proxy.shut_down()
        self.assert_refused(client, 503, "draining")

    def test_turns(self) -> None:
        """Conversations take turns, under a direct name as well."""
        self.rebuild(calls=120.0)
        self.spend(120)
        flood = [self.ask("a", (b"X-Session-Id", b"flood"), stream=False) for _ in range(3)]
        user = self.ask("a", (b"X-Session-Id", b"user"), stream=False)
        for _ in range(2):
            self.clock.advance(0.5)
            self.wire.says(FINE)
        self.assertEqual(
            [each.down.committed for each in (*flood, user)], [True, False, False, True]
        )

    def test_keys(self) -> None:
        """The same key is one, in whichever field; another one does not wait."""
        self.spend()
        for token, fields in ((b"", [(b"X-Api-Key", b"secret")]), (b"other secret", [])):
            client = self.ask("a", *fields, token=token)
            self.clock.advance(2.0)
            self.assertIsNotNone(self.limited_for(client))
        self.ask("a", token=b"other", stream=False)
        self.wire.says(FINE)

    def test_not_governed(self) -> None:
        """Without dialects for the governor nothing is counted."""
        self.build()
        self.spend(100)
        self.assertEqual(sum(self.governor.counts.calls.values.values()), 0)


class FurtherCallTests(Paced):
    """Without a token no candidate is left."""

    def test_failover(self) -> None:
        """With a token the next candidate is tried; without one the error is the client's."""
        client = self.ask("a,b,c")
        for _ in range(2):
            self.wire.says(BUSY)
        self.assertEqual((self.models, client.down.status), (["a", "b"], 503))
        self.assertEqual(
            client.down.field(b"x-chutes-autopilot-tried"), b"a=status_503,b=status_503"
        )

    def test_no_response(self) -> None:
        """Without a response to relay, the error is the router's, and names the attempt."""
        self.spend(1)
        client = self.ask("a,b")
        self.wire.closes()
        self.assert_refused(client, 502, "upstream_connect_error")
        self.assertEqual(self.models, ["a", "a"])

    def test_token_in_time(self) -> None:
        """A token that comes while the first attempt lasts is used."""
        self.spend(1)
        self.ask("a,b", stream=False)
        self.clock.advance(30.0)
        self.wire.says(BUSY)
        self.assertEqual(self.models, ["a", "a", "b"])

    def test_full_time(self) -> None:
        """An attempt is not given up without a token for the next one."""
        self.ask("a,b")
        self.spend(1)
        self.clock.pump([FAILOVER_AFTER, 1.0])
        self.assertEqual(self.models, ["a", "a"])
        self.upstreams.wires[0].says(head(), chunk(ROLE))
        self.assertTrue(self.clients[0].down.committed)  # as without a candidate

    def test_held_bytes(self) -> None:
        """What was held of a stream is relayed when its time is over and no token is there."""
        client = self.ask("a,b")
        self.wire.says(head(), chunk(ROLE))
        self.spend(1)
        self.assertFalse(client.down.committed)
        self.clock.pump([FAILOVER_AFTER, 1.0])
        self.assertEqual((client.down.status, client.down.body), (200, ROLE))
        self.upstreams.wires[0].says(chunk(TOKEN), chunk(STOP + DONE), chunk(b""))
        self.assertEqual(client.down.body, ROLE + TOKEN + STOP + DONE)

    def test_complete(self) -> None:
        """Under `complete` nothing is relayed before its end."""
        self.rebuild(commit=Commit.COMPLETE)
        client = self.ask("a,b")
        self.wire.says(head(), chunk(ROLE))
        self.spend(1)
        self.clock.pump([FAILOVER_AFTER, 1.0])
        self.assertFalse(client.down.committed)
        self.upstreams.wires[0].says(chunk(ERROR))
        self.assert_refused(client, 502, "upstream_stream_interrupted")

    def test_error_event(self) -> None:
        """An error in a stream is relayed as it came if no token is left for another try."""
        client = self.ask("a,b")
        self.wire.says(head(), chunk(ROLE))
        self.spend(1)
        self.upstreams.wires[0].says(chunk(ERROR))
        self.assertEqual((client.down.status, client.down.body), (200, ROLE + ERROR))

    def test_plain_error(self) -> None:
        """So is one in a plain answer."""
        client = self.ask("a,b", stream=False)
        self.spend(1)
        body = b'{"error":{"message":"no"}}'
        self.upstreams.wires[0].says(whole(200, body, JSON, CLOSE))
        self.assertEqual((client.down.status, client.down.body), (200, body))

    def test_again(self) -> None:
        """A second try of the same model needs a token before its pause."""
        busy = b'{"error":{"message":"busy"}}'
        for spent, models in ((0, ["a", "a"]), (1, ["a"])):
            self.rebuild()
            client = self.ask("a,b")
            self.spend(spent)
            self.upstreams.wires[0].says(whole(429, busy, JSON, CLOSE))
            self.clock.advance(1.0)
            self.assertEqual(self.models[: len(models)], models)
            self.assertEqual(client.down.committed, bool(spent))

    def test_pause(self) -> None:
        """So does one that `open` waits for."""
        self.rebuild(policy=Policy.OPEN)
        client = self.ask("a")
        self.spend(1)
        answer = whole(501, b"<p>", HTML, CLOSE, b"Retry-After: 1")
        self.upstreams.wires[0].says(answer)
        self.assertEqual(client.down.status, 501)

    def test_stale_connection(self) -> None:
        """A request on a connection that had been closed is repeated with a token only."""
        for spent, status in ((0, None), (1, 502)):
            self.rebuild(calls=3.0)
            self.ask("a", stream=False)
            self.wire.says(whole(200, b'{"choices":[{"message":{"content":"hi"}}]}', JSON))
            client = self.ask("a", stream=False)
            idle = self.wire
            self.spend(spent)
            idle.closes()
            self.assertEqual(client.down.status, status)

    def test_request_timeout(self) -> None:
        """A 408 on a reused connection is relayed without a token to repeat the request."""
        self.rebuild(calls=3.0)
        self.ask("a", stream=False)
        self.wire.says(whole(200, b'{"choices":[{"message":{"content":"hi"}}]}', JSON))
        client = self.ask("a", stream=False)
        idle = self.wire
        self.spend(1)
        idle.says(whole(408, b"", b"text/plain", CLOSE))
        self.assertEqual(client.down.status, 408)


class StatedTests(Paced):
    """What the platform states."""

    def test_limit(self) -> None:
        """The limit in an answer counts for the next request with the key."""
        self.rebuild(calls=100.0)
        self.ask("a", stream=False)
        body = b'{"choices":[{"message":{"content":"hi"}}]}'
        self.wire.says(whole(200, body, JSON, CLOSE, b"X-Chutes-RL-User: 1"))
        client = self.ask("a", stream=False)
        self.clock.advance(2.0)
        self.assertEqual(self.limited_for(client), 58)


class PageTests(Paced):
    """The edge's page."""

    def banned(self, *fields: bytes, page: bytes = PAGE, kind: bytes = HTML) -> Client:
        """Let a call be answered with the page."""
        client = self.ask("a,b")
        self.wire.says(whole(429, page, kind, CLOSE, *fields))
        return client

    def test_not_one_call(self) -> None:
        """The page is relayed, and then nothing is sent until the ban is over."""
        client = self.banned()
        self.assertEqual((client.down.status, client.down.body), (429, PAGE))
        self.assertEqual(client.down.field(b"x-should-retry"), b"false")
        for seconds, left in ((0.0, 60), (30.0, 30), (29.5, 1)):
            self.clock.advance(seconds)
            late = self.ask(ALIAS)
            self.assertEqual(self.limited_for(late), left)
            assert late.down.refusal is not None
            self.assertEqual(late.down.refusal.tried, b"")
        self.assertEqual(self.models, ["a"])

    def test_probe(self) -> None:
        """The first request after it is the probe; what comes meanwhile waits for its response."""
        self.rebuild(calls=60.0)
        self.banned()
        self.clock.advance(60.0)
        self.ask("a", stream=False)
        waiting = self.ask("b", stream=False)
        self.assertEqual(self.models, ["a", "a"])
        self.wire.says(FINE)
        self.assertEqual(self.models, ["a", "a", "b"])
        self.wire.says(FINE)
        self.assertEqual(waiting.down.status, 200)

    def test_probe_with_an_error(self) -> None:
        """An error of the platform's own ends the ban as well."""
        self.rebuild(calls=60.0)
        self.banned()
        self.clock.advance(60.0)
        self.ask("a,b")
        self.wire.says(BUSY)
        self.assertEqual((self.models, self.governor.banned), (["a", "a", "b"], 0))

    def test_probe_lost(self) -> None:
        """A probe whose connection is lost leaves its place to the next request."""
        self.rebuild(calls=60.0)
        self.banned()
        self.clock.advance(60.0)
        self.ask("a")
        self.ask("b", stream=False)
        self.wire.closes()
        self.assertEqual(self.models, ["a", "a", "b"])
        self.wire.says(FINE)
        self.assertEqual(self.governor.banned, 0)

    def test_those_that_wait(self) -> None:
        """Requests that wait are refused as soon as the page is there."""
        self.ask("a")
        self.spend(1)
        waiting = self.ask("b")
        self.upstreams.wires[0].says(whole(429, PAGE, HTML, CLOSE, b"Retry-After: 7"))
        self.assertEqual(self.limited_for(waiting), 7)
        waited = {each.code: each.waited_ms for each in self.records}
        self.assertEqual(waited, {None: None, "edge_limited": 0.0})

    def test_told(self) -> None:
        """How long the ban lasts is read from the page, or its Retry-After."""
        for fields, page, seconds in (
            ((b"Retry-After: 300",), PAGE, 300),
            ((), b"<html>Try again in 2 hours</html>", 7200),
        ):
            self.rebuild()
            self.banned(*fields, page=page)
            self.assertEqual(self.limited_for(self.ask("a")), seconds)

    def test_open_policy(self) -> None:
        """Under `open`, too, no other candidate is tried after the page."""
        self.rebuild(calls=60.0, policy=Policy.OPEN)
        client = self.banned()
        self.assertEqual((self.models, client.down.status), (["a"], 429))

    def test_without_a_type(self) -> None:
        """A page without a content type is known by its text."""
        self.ask("a")
        self.wire.says(b"HTTP/1.1 429 No\r\nContent-Length: 35\r\nConnection: close\r\n\r\n" + PAGE)
        self.assertEqual(self.governor.banned, 1)

    def test_head_first(self) -> None:
        """The body may come later."""
        self.ask("a")
        self.wire.says(head(429, HTML))
        self.assertEqual(self.governor.banned, 1)
        self.wire.says(chunk(PAGE), chunk(b""))

    def test_other_limits(self) -> None:
        """A 429 of the platform's own is no ban."""
        client = self.ask("a")
        self.wire.says(whole(429, b'{"detail":"Free models limit reached"}', JSON, CLOSE))
        self.assertEqual((client.down.status, self.governor.banned), (429, 0))
        self.ask("a")
        self.wire.says(head(200, SSE), chunk(TOKEN), chunk(STOP + DONE), chunk(b""))
