"""Tests of requests with the operator's keys of the platform: whose key goes where, and when."""

from __future__ import annotations

import gzip
from itertools import product

from autopilot.http.dialect import Dialect
from autopilot.routing.commit import Commit
from autopilot.routing.identity import Hasher
from autopilot.routing.key_policy import KeyRules
from autopilot.state.edge_account import EdgeConfig
from autopilot.upstream.key_pool import FIRST_BAN, NO_QUOTA, NOT_VALID, KeyPool, PlatformKey
from tests.unit.relay.chunks import cut
from tests.unit.relay.fallbacks import ANSWER
from tests.unit.relay.routers import WALL_TIME
from tests.unit.relay.test_operator_keys import KeyedTestCase
from tests.unit.relay.upstreams import DONE, JSON, SSE, STOP, TOKEN, chunk, head, whole

CLIENTS, LENT = b"client-canary", b"cpk_pool_canary"
_HTML = b"<html>429</html>"
_BROKE = b'{"detail":{"message":"Quota exceeded, key cpk_pool_canary1"}}'


class PoolTestCase(KeyedTestCase):
    """A router with a pool of two keys, and a client with a key of the operator's own."""

    def setUp(self) -> None:
        """Make the pool."""
        super().setUp()
        self.lend()

    def lend(self, hasher: Hasher | None = None) -> None:
        """Let the present router lend the keys, to one client; a governor knows them by hash."""
        secrets = [LENT + b"%d" % number for number in (1, 2)]
        self.accounts = [
            b"%016d" % number if hasher is None else hasher.token(secret.decode())
            for number, secret in enumerate(secrets, 1)
        ]
        names = zip(("p1", "p2"), secrets, self.accounts, strict=True)
        self.key_pool = self.proxy.key_pool = KeyPool(
            (PlatformKey(*each) for each in names),
            self.clock.seconds,
            lambda: WALL_TIME + self.clock.seconds(),
            banned_for=self.governor.banned_for,
        )
        self.know(KeyRules("k", requests_per_minute=50), CLIENTS)

    def sent(self) -> int:
        """Return the number of the key that the last request had, which had no other."""
        everything = b"".join(each.value() for each in self.upstreams.wires)
        self.assertNotIn(CLIENTS, everything)
        sent = self.wire.value()
        sent = sent[sent.rindex(b"POST ") :]
        self.assertEqual(sent.count(LENT), 1)
        self.assertNotIn(b"q=1", sent)  # a client may have put its key into the query
        line = sent[sent.index(b"Authorization: Bearer " + LENT) :]
        return int(line.partition(b"\r\n")[0][-1:])

    def finish(self) -> None:
        """See that every key was given back."""
        super().finish()
        self.assertEqual([each.in_progress for each in self.key_pool.now()], [0, 0])


class PacedTests(PoolTestCase):
    """A pool whose keys may send one call a minute each."""

    def setUp(self) -> None:
        """Build the router so."""
        super().setUp()
        self.build(edge=EdgeConfig(1.0, 1.0))
        self.lend()

    def test_each_key_counts(self) -> None:
        """The key that goes up is the one that counts; another one has its own calls."""
        self.ask("a", stream=False, token=CLIENTS, prompt="one")
        first = self.sent()
        self.ask("a", stream=False, token=CLIENTS, prompt="two")
        self.assertNotEqual(self.sent(), first)
        waiting = self.ask("a", stream=False, token=CLIENTS, prompt="one")
        self.clock.advance(2.0)
        self.assert_refused(waiting, 429, "edge_limited")

    def test_next_key(self) -> None:
        """The next key takes over where it may send a call, and not where it may not."""
        for calls, models in ((1, ["a", "a"]), (2, ["a", "a"])):
            self.build(edge=EdgeConfig(1.0, 1.0))
            self.lend()
            client = self.ask("a", stream=False, token=CLIENTS, prompt="one")
            refused = self.wire
            if calls > 1:
                self.ask("a", stream=False, token=CLIENTS, prompt="two")
            refused.says(whole(402, _BROKE, JSON, b"Connection: close"))
            self.assertEqual(self.models, models)
            self.assertEqual(client.down.committed, calls > 1)


class BannedTests(PoolTestCase):
    """A pool whose keys the governor knows."""

    def setUp(self) -> None:
        """Build the router so."""
        super().setUp()
        self.build(edge=EdgeConfig(60.0, 1.0))
        self.lend(Hasher(b"k" * 32))

    def test_learned(self) -> None:
        """A ban that another worker or router has found holds for the pool, as long as it lasts."""
        client = self.ask("a", stream=False, token=CLIENTS, prompt="one")
        first = self.sent()
        self.answered(client)
        self.ban(first, 100.0)
        client = self.ask("a", stream=False, token=CLIENTS, prompt="one")
        self.assertEqual(self.sent(), 3 - first)
        self.answered(client)
        self.ban(3 - first, 200.0)
        self.assert_refused(self.ask("a", stream=False, token=CLIENTS), 429, "edge_limited")
        self.clock.advance(100.0)
        client = self.ask("a", stream=False, token=CLIENTS, prompt="three")
        self.assertEqual(self.sent(), first)
        self.answered(client)

    def test_open_together(self) -> None:
        """The pool lends a key again when the governor sends with it, also after a second ban."""
        for wait in (60.0, 120.0):
            client = self.ask("a", stream=False, token=CLIENTS)
            for number in (1, 2):
                self.wire.says(whole(429, _HTML, b"text/html"))
                banned = self.governor.banned_for(self.accounts[self.sent() - 1])
                self.assertEqual(banned, wait if number == 2 else 0.0)
            self.assert_refused(client, 429, "edge_limited")
            assert client.down.refusal is not None
            self.assertEqual(client.down.refusal.retry_after, wait)
            self.clock.advance(wait - 1)
            self.assertEqual(len(self.key_pool.resting()), 2)
            self.clock.advance(1)
            self.assertEqual(self.key_pool.resting(), [])
            self.assertEqual([self.governor.banned_for(each) for each in self.accounts], [0, 0])

    def ban(self, number: int, seconds: float) -> None:
        """Let the governor learn of a ban."""
        permit = self.governor.permit(self.accounts[number - 1], lambda: None)
        self.governor.page(permit, seconds)


class RaceTests(PoolTestCase):
    """A pool, and a second attempt beside the first."""

    def test_next_key(self) -> None:
        """With the next key the first one goes on alone, so that the mask is that of its key."""
        for answer in (200, 503):
            self.build()
            self.lend()
            self.hedging(0.5, 19)
            client = self.ask("a,b", token=CLIENTS)
            used = self.sent()
            self.clock.advance(2.0)
            first, second = self.upstreams.wires
            self.assertEqual((self.models, self.sent()), (["a", "b"], used))
            first.says(whole(402, _BROKE, JSON, b"Connection: close"))
            self.assertTrue(second.aborted)
            self.assertEqual(self.models, ["a", "b", "a"])
            self.assertNotEqual(self.sent(), used)
            if answer == 200:
                self.wire.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
                self.assertEqual(client.down.body, TOKEN + STOP + DONE)
            else:
                self.wire.says(whole(503, b"{}", JSON))
            self.assertEqual(client.down.status, answer)
            self.assertEqual(self.records[-1].hedged, "lost")

    def test_refusal_of_the_second(self) -> None:
        """What the second attempt learns of the key holds for the next requests, not the first."""
        for refusal, why, seconds in (
            (whole(402, _BROKE, JSON), "quota", NO_QUOTA),
            (head(402, JSON), "quota", NO_QUOTA),
            (whole(401, b"{}", JSON), "invalid", NOT_VALID),
            (whole(429, _HTML, b"text/html"), "edge", FIRST_BAN),
            (whole(503, b"{}", JSON), "", None),
        ):
            for edge in (None, EdgeConfig(60.0, 60.0)):
                self.build(edge=edge)
                self.lend(Hasher(b"k" * 32))
                self.hedging(0.5, 19)
                client = self.ask("a,b", token=CLIENTS, prompt="one")
                used = self.sent()
                self.clock.advance(2.0)
                first, second = self.upstreams.wires
                second.says(refusal)
                self.assertIsNone(client.down.head)
                key = self.key_pool.now()[used - 1]
                self.assertEqual((key.why, key.resting), (why, seconds))
                done = chunk(TOKEN + STOP + DONE), chunk(b"")
                first.says(head(200, SSE, b"Connection: close"), *done)
                self.assertEqual(client.down.body, TOKEN + STOP + DONE)
                self.ask("c", token=CLIENTS, prompt="one")
                self.assertEqual(self.sent() == used, why == "")

    def test_both_refused(self) -> None:
        """The request still goes up with the next key once, if the first is refused as well."""
        self.hedging(0.5, 19)
        self.ask("a,b", token=CLIENTS)
        used = self.sent()
        self.clock.advance(2.0)
        first, second = self.upstreams.wires
        for each in (second, first):
            each.says(whole(402, _BROKE, JSON, b"Connection: close"))
        self.assertEqual((self.models, self.sent()), (["a", "b", "a"], 3 - used))


class KeysTests(PoolTestCase):
    """Which key goes up."""

    def test_sticky(self) -> None:
        """A conversation stays with its key; others take turns."""
        numbers = []
        for text in ("one", "two", "one", "two", "one"):
            client = self.ask("a", stream=False, token=CLIENTS, prompt=text)
            numbers.append(self.sent())
            self.answered(client)
        self.assertEqual(numbers[0::2], numbers[0:1] * 3)
        self.assertEqual(numbers[1::2], numbers[1:2] * 2)
        self.assertNotEqual(numbers[0], numbers[1])

    def test_every_dialect(self) -> None:
        """On the messages path a client's other field gives way, too."""
        self.ask(
            "a",
            (b"X-Api-Key", CLIENTS),
            token=CLIENTS,
            dialect=Dialect.MESSAGES,
            path=b"/v1/messages",
        )
        self.sent()

    def test_without_own_keys(self) -> None:
        """Where the operator lets all clients in, their keys stay here all the same."""
        self.proxy.keys = None
        client = self.ask("a", stream=False, token=CLIENTS)
        self.sent()
        fields = self.answered(client)
        self.assertNotIn(b"x-ratelimit-limit-requests", fields)

    def test_accounts(self) -> None:
        """What the platform states of the quota is the pool's, and not told to the client."""
        client = self.ask("a", stream=False, token=CLIENTS)
        number = self.sent()
        stated = b"X-Chutes-Quota-Total: 10", b"X-Chutes-Quota-Remaining: 4"
        self.wire.says(whole(200, b'{"choices":[]}', JSON, *stated))
        assert client.down.head is not None
        self.assertFalse([name for name, _ in client.down.head.fields if b"quota" in name.lower()])
        self.assertEqual(self.limited[0][0], b"%016d" % number)
        left = {each.name: each.quota_left for each in self.key_pool.now()}
        self.assertEqual(left[f"p{number}"], 0.4)


class RefusalTests(PoolTestCase):
    """A key that the platform refuses."""

    def test_next_key(self) -> None:
        """The same model is asked once more with the other key, which is no failure."""
        for first in (whole(402, _BROKE), whole(429, _HTML, b"text/html"), whole(401, b"{}")):
            self.build()
            self.lend()
            client = self.ask("a", stream=False, token=CLIENTS)
            number = self.sent()
            self.wire.says(first)
            self.assertIsNone(client.down.head)
            self.assertEqual(self.sent(), 3 - number)
            self.answered(client)
            self.assertEqual((client.down.status, self.models), (200, ["a", "a"]))
            record = self.records[-1]
            self.assertEqual((record.attempts, record.failovers), (1, ()))
            # The next request does not begin with the key that rests.
            self.ask("a", stream=False, token=CLIENTS)
            self.assertEqual(self.sent(), 3 - number)

    def test_once(self) -> None:
        """If the other is refused too, the client learns so, and nothing of the account."""
        for status in (401, 402):
            self.build()
            self.lend()
            client = self.ask("a", stream=False, token=CLIENTS)
            for _ in range(2):
                self.wire.says(whole(status, _BROKE, JSON, b"X-Echo: " + LENT + b"2"))
            self.assertEqual(len(self.models), 2)
            self.assert_refused(client, 502, "account_refused")
            assert client.down.refusal is not None
            self.assertNotIn("Quota exceeded", client.down.refusal.message)
            self.assertEqual(client.down.refusal.tried, b"")

    def test_other_errors(self) -> None:
        """An error of a model is relayed, without the key in it."""
        client = self.ask("a", stream=False, token=CLIENTS)
        self.wire.says(whole(429, b'{"detail":"slow down, %b1"}' % LENT, JSON))
        self.assertEqual(client.down.status, 429)
        self.assertNotIn(LENT, client.down.body)
        self.assertIn(b"slow down", client.down.body)

    def test_repeated_anywhere(self) -> None:
        """No part of a response repeats the key: pages, plain answers, streams in any pieces."""
        key = LENT + b"1"
        for name, status, kind, streams in (
            ("page", 403, b"text/html", False),
            ("page", 500, b"text/html", True),
            ("answer", 200, JSON, False),
            ("stream", 200, SSE, True),
        ):
            text = {JSON: ANSWER.replace(b'"x"', b'"hi"'), SSE: TOKEN + STOP + DONE}.get(
                kind, b"<p>hi"
            )
            body = text.replace(b'"hi"', b'"%b"' % key).replace(b"<p>hi", b"<p>" + key)
            self.assertIn(key, body)
            at = body.index(key) + 3
            for pieces in (cut(body, []), cut(body, [at]), cut(body, range(len(body)))):
                self.build()
                self.lend()
                client = self.ask("a", stream=streams, token=CLIENTS)
                self.wire.says(head(status, kind, b"Content-Length: %d" % len(body)))
                for piece in pieces:
                    self.wire.says(piece)
                masked = body.replace(key, b"*" * len(key))
                self.assertEqual((client.down.status, client.down.body), (status, masked), name)

    def test_coded(self) -> None:
        """What is compressed, where the key could not be masked, is not relayed in any pieces."""
        secret = gzip.compress(b"x" + LENT + b"1", mtime=0)
        for field in (b"gzip", b"br", b"deflate", b"zstd", b"identity, GZIP", None):
            fields = () if field is None else (b"Content-Encoding: " + field,)
            for status, kind, streams, at in product(
                (200, 400, 503), (JSON, SSE, b"text/html"), (False, True), (0, 1, len(secret))
            ):
                if field is None and at == 0:
                    continue  # nothing says what it is
                self.build()
                self.lend()
                client = self.ask("a", stream=streams, token=CLIENTS)
                self.assertIn(b"\r\nAccept-Encoding: identity\r\n", self.wire.value())
                self.wire.says(
                    head(status, kind, b"Content-Length: %d" % len(secret), *fields) + secret[:at],
                    secret[at:],
                )
                self.assert_refused(client, 502, "upstream_stream_interrupted")
                assert client.down.refusal is not None
                self.assertIn("compressed", client.down.refusal.message)

    def test_coded_answer(self) -> None:
        """A compressed answer fails, so that the next candidate is tried; identity is none."""
        for commit in Commit:
            self.build(commit=commit)
            self.lend()
            client = self.ask("a,b", stream=False, token=CLIENTS)
            coded = gzip.compress(ANSWER)
            self.wire.says(whole(200, coded, JSON, b"Content-Encoding: gzip"))
            self.assertEqual(self.models, ["a", "b"])
            self.wire.says(whole(200, ANSWER, JSON, b"Content-Encoding: identity"))
            self.assertEqual((client.down.status, client.down.body), (200, ANSWER))
            self.assertEqual([each.reason for each in self.records[-1].failovers], ["coded"])

    def test_coded_without_a_pool(self) -> None:
        """A compressed answer to a client's own key is the client's."""
        self.proxy.key_pool = None
        client = self.ask("a", stream=False, token=CLIENTS)
        self.wire.says(whole(200, gzip.compress(ANSWER, mtime=0), JSON, b"Content-Encoding: gzip"))
        self.assertEqual(gzip.decompress(client.down.body), ANSWER)

    def test_all_banned(self) -> None:
        """With every key banned nothing is sent, and the error says when to come back."""
        client = self.ask("a", stream=False, token=CLIENTS)
        for _ in range(2):
            self.wire.says(whole(429, _HTML, b"text/html"))
        self.assert_refused(client, 429, "edge_limited")
        assert client.down.refusal is not None
        self.assertEqual(client.down.refusal.retry_after, 60)
        refused = self.ask("a", token=CLIENTS)
        self.assert_refused(refused, 429, "edge_limited")
        assert refused.down.refusal is not None
        left = dict(refused.down.refusal.fields)
        self.assertEqual(left[b"x-ratelimit-remaining-requests"], b"48")
        self.assertEqual(self.records[-1].key, "k")
        self.assertEqual(len(self.models), 2)
        self.assertEqual(self.in_progress(), 0)
        self.clock.advance(60)
        self.ask("a", stream=False, token=CLIENTS)
        self.sent()

    def test_no_time(self) -> None:
        """After the total deadline there is no further try."""
        self.build(total=5.0)
        self.lend()
        client = self.ask("a", stream=False, token=CLIENTS)
        self.clock.pump([0.0])
        self.patch(self.clock, "rightNow", self.clock.seconds() + 5.0)
        self.wire.says(whole(402, b"{}"))
        self.assert_refused(client, 502, "account_refused")

    def test_logs(self) -> None:
        """No record names a key of either kind."""
        self.ask("a", stream=False, token=CLIENTS)
        self.wire.says(whole(402, _BROKE))
        self.wire.says(whole(402, _BROKE))
        text = repr(self.records)
        self.assertNotIn("canary", text)
