"""Tests of requests to other services: when they go there, with what, and what comes back."""

from __future__ import annotations

from autopilot.http.dialect import COUNT_TOKENS, Dialect
from autopilot.routing.key_policy import KeyRules
from autopilot.routing.patterns import NamePattern
from autopilot.state.budgets import KeyBudgets
from autopilot.state.edge_account import EdgeConfig
from autopilot.state.own_keys import OwnKeys
from autopilot.upstream.key_pool import KeyPool, PlatformKey
from tests.unit.relay.fallbacks import (
    ANSWER,
    EDGE_PAGE,
    KEY,
    LAST,
    NAMED,
    FallbackTestCase,
    host_of,
    requests_of,
)
from tests.unit.relay.routers import ALIAS, WALL_TIME, Client
from tests.unit.relay.upstreams import DONE, JSON, SSE, STOP, TOKEN, chunk, head, whole
from tests.unit.state.test_own_keys import own

_PLATFORM = "llm.test"
_BACKEND, _SELECTED = b"x-chutes-autopilot-backend", b"x-chutes-autopilot-selected"
_TO_LAST, _TO_NAMED = ("last.test", "big/one"), ("named.test", "m")


def fields_of(client: Client) -> dict[bytes, bytes]:
    """Return the fields of a committed response by their names."""
    assert client.down.head is not None
    return {name.lower(): value for name, value in client.down.head.fields}


class NamedTests(FallbackTestCase):
    """Where a client or a route names another service's model."""

    def test_direct(self) -> None:
        """The model alone goes to its service, in whose words it is named."""
        client = self.ask(NAMED, stream=False)
        self.answer()
        self.assertEqual(self.went, [_TO_NAMED])
        fields = fields_of(client)
        self.assertEqual(fields[_BACKEND], b"named")
        self.assertNotIn(_SELECTED, fields)
        self.assertEqual((self.record.model, self.record.backend), (NAMED, "named"))

    def test_order_of_a_direct_name(self) -> None:
        """An order is the router's, so that it does not go there."""
        self.ask(f"{LAST}:latency")
        self.assertEqual(self.went, [_TO_LAST])

    def test_path(self) -> None:
        """The base is as OpenAI's SDKs take it; without a path it is ``/v1``."""
        for model, path, expected in (
            (LAST, b"/v1/chat/completions", b"POST /api/v2/chat/completions HTTP/1.1\r\n"),
            (NAMED, b"/v1/completions", b"POST /v1/completions HTTP/1.1\r\n"),
        ):
            self.ask(model, path=path)
            self.assertTrue(requests_of(self.wire)[-1].startswith(expected))

    def test_anywhere_in_a_list(self) -> None:
        """Before, behind and between the platform's models."""
        client = self.ask(f"{NAMED},a,@last/two", stream=False)
        self.fails(2)
        self.answer()
        self.assertEqual(self.went, [_TO_NAMED, (_PLATFORM, "a"), ("last.test", "two")])
        fields = fields_of(client)
        self.assertEqual((fields[_SELECTED], fields[_BACKEND]), (b"@last/two", b"last"))
        self.assertEqual([each.model for each in self.record.failovers], [NAMED, "a"])

    def test_route(self) -> None:
        """In a route likewise; a model that the file does not have is left out."""
        self.ask("route", stream=False)
        self.fails()
        self.answer()
        self.assertEqual(self.went, [(_PLATFORM, "a"), _TO_NAMED])
        self.ask("odd", stream=False)
        self.answer()
        self.assertEqual(self.went[-1], (_PLATFORM, "b"))

    def test_unknown(self) -> None:
        """An unknown one is refused with suggestions, whatever is done with unknown models."""
        for self.unknown_models in ("reject", "forward", "alias"):
            self.build()
            for model in ("@named/mm", "a,@named/mm", "@nobody/m,a", "route,@named/mm"):
                client = self.ask(model)
                self.assert_refused(client, 400, "unknown_model")
                self.assertEqual(self.upstreams.wires, [])
                if "mm" in model:
                    assert client.down.refusal is not None
                    self.assertIn(NAMED, client.down.refusal.message)

    def test_no_catalog(self) -> None:
        """Before the first catalog nothing is checked but these names."""
        self.snapshot = type(self.snapshot)()
        self.assert_refused(self.ask("@nobody/m"), 400, "unknown_model")
        self.ask(NAMED)
        self.assertEqual(self.went, [_TO_NAMED])

    def test_confidential(self) -> None:
        """No other service is known to be confidential."""
        only = (b"X-TEE-Only", b"true")
        for model in (NAMED, f"{NAMED},{LAST}"):
            self.assert_refused(self.ask(model, only), 400, "tee_required")
        self.ask(f"{NAMED},a", only)
        self.assertEqual(self.went, [(_PLATFORM, "a")])

    def test_other_paths(self) -> None:
        """Anthropic's and OpenAI's other dialects are the platform's alone."""
        for dialect, path in (
            (Dialect.MESSAGES, b"/v1/messages"),
            (Dialect.RESPONSES, b"/v1/responses"),
            (Dialect.MESSAGES, COUNT_TOKENS),
        ):
            refused = self.ask(NAMED, dialect=dialect, path=path)
            self.assert_refused(refused, 400, "unknown_model")
            self.ask(f"{NAMED},a", dialect=dialect, path=path)
            self.assertEqual(self.went[-1][1], "a")
            self.fails()
        self.assertEqual({host for host, _ in self.went} & {"named.test", "last.test"}, set())

    def test_signed(self) -> None:
        """A signature covers the platform's name, so that the request cannot go elsewhere."""
        fields = [(b"X-Chutes-" + each, b"x") for each in (b"Hotkey", b"Signature", b"Nonce")]
        self.assert_refused(self.ask(NAMED, *fields), 400, "signed_request")


class ResortTests(FallbackTestCase):
    """When the last resort is tried, and when not."""

    def test_exhausted(self) -> None:
        """Behind every candidate of the alias, of a list and of a route."""
        for model, most in ((ALIAS, 3), ("b,a", 2), ("route", 2)):
            self.build()
            client = self.ask(model, stream=False)
            self.fails(most)
            self.answer()
            self.assertEqual(self.went[most:], [_TO_LAST])
            self.assertEqual(fields_of(client)[_SELECTED], LAST.encode())
            self.assertEqual((self.record.why, self.record.backend), ("last_resort", "last"))

    def test_failed(self) -> None:
        """If it fails as well, the client gets its answer, and the names of all."""
        client = self.ask("a", stream=False)
        self.fails()
        self.assertEqual(client.down.status, 503)
        self.records.clear()
        self.clients.clear()
        client = self.ask("a,b", stream=False)
        self.fails(3)
        fields = fields_of(client)
        self.assertEqual(
            fields[b"x-chutes-autopilot-tried"],
            b"a=status_503,b=status_503,@last/big/one=status_503",
        )
        self.assertEqual(fields[_BACKEND], b"last")

    def test_kept_attempt(self) -> None:
        """The last of the attempts is kept for it, but not the only one."""
        self.build(max_attempts=2)
        self.ask(ALIAS, stream=False)
        self.fails()
        self.answer()
        self.assertEqual(self.went, [(_PLATFORM, "a"), _TO_LAST])
        self.build(max_attempts=1)
        client = self.ask(ALIAS, stream=False)
        self.fails()
        self.assertEqual((self.went, client.down.status), ([(_PLATFORM, "a")], 503))

    def test_cooling(self) -> None:
        """A model that cools down goes before it."""
        self.build(threshold=1)
        self.ask("a,b", stream=False)
        self.fails(2)
        self.answer()
        self.ask("a,b", stream=False)
        self.fails()
        self.assertEqual([model for _, model in self.went].count("b"), 2)

    def test_no_candidates(self) -> None:
        """It serves while the platform has no model for the alias."""
        self.snapshot = type(self.snapshot)()
        self.ask(ALIAS, stream=False)
        self.answer()
        self.assertEqual((self.went, self.record.why), ([_TO_LAST], "last_resort"))
        client = self.ask(ALIAS, dialect=Dialect.MESSAGES, path=b"/v1/messages")
        self.assert_refused(client, 503, "no_candidates")

    def test_direct(self) -> None:
        """Never behind a direct name."""
        client = self.ask("a", stream=False)
        self.fails()
        self.assertEqual((self.went, client.down.status), ([(_PLATFORM, "a")], 503))

    def test_confidential(self) -> None:
        """Never for a request that needs confidential models: 503, and not one call elsewhere."""
        only = (b"X-TEE-Only", b"true")
        for model, *fields in ((ALIAS, only), ("a,b", only), ("confidential",)):
            self.build()
            client = self.ask(model, *fields, stream=False)
            self.fails({ALIAS: 3, "a,b": 2}.get(model, 1))
            self.assertEqual(client.down.status, 503)
            self.assertEqual({host for host, _ in self.went}, {_PLATFORM})

    def test_other_paths(self) -> None:
        """Never for other dialects."""
        client = self.ask(
            "a,b", stream=False, dialect=Dialect.MESSAGES, path=b"/v1/messages", max_tokens=1
        )
        self.fails(2)
        self.assertEqual(client.down.status, 503)
        self.assertEqual({host for host, _ in self.went}, {"claude.test:8080"})

    def test_context(self) -> None:
        """A prompt that is too long does not lead to it: nothing is known of its context."""
        client = self.ask(ALIAS, stream=False)
        for _ in range(2):
            self.wire.says(whole(400, b'{"detail":"maximum context length is 1000 tokens"}'))
        self.assertEqual([model for _, model in self.went], ["a", "c"])
        self.assertEqual(client.down.status, 400)

    def test_stream(self) -> None:
        """A stream that says nothing in time leads to it, and it has the full time."""
        client = self.ask("a")
        client.leaves()
        self.records.clear()
        self.clients.clear()
        self.ask("a,b")
        self.clock.advance(12.1)
        self.clock.advance(24.1)
        self.assertEqual(self.went[-1], _TO_LAST)
        self.clock.advance(50)
        self.wire.says(head(), chunk(TOKEN), chunk(STOP + DONE), chunk(b""))
        self.assertEqual(self.record.outcome, "completed")

    def test_breaker(self) -> None:
        """It has a circuit breaker of its own: the platform's models cool without it."""
        self.build(threshold=1)
        self.ask(f"{NAMED},a", stream=False)
        self.fails()
        self.answer()
        self.ask(f"{NAMED},a", stream=False)
        self.answer()
        self.assertEqual(self.went, [_TO_NAMED, (_PLATFORM, "a"), (_PLATFORM, "a")])


class AccountTests(FallbackTestCase):
    """An account that may make no call."""

    def test_payment(self) -> None:
        """After a 402 no other model of the platform is tried, and none is blamed."""
        for model, where in ((ALIAS, _TO_LAST), ("a,b", _TO_LAST), (f"a,b,{NAMED}", _TO_NAMED)):
            self.build(threshold=1)
            self.ask(model, stream=False)
            self.wire.says(whole(402, b'{"detail":{"message":"Quota exceeded"}}'))
            self.answer()
            self.assertEqual(self.went, [(_PLATFORM, "a"), where])
            self.assertEqual(self.reasons, ("status_402",))
            self.assertFalse(self.tables.breaker.opened or self.tables.breaker.opened_for)

    def test_edge_page(self) -> None:
        """Likewise after the edge's page."""
        self.ask(ALIAS, stream=False)
        self.wire.says(whole(429, EDGE_PAGE, b"text/html"))
        self.answer()
        self.assertEqual(self.went, [(_PLATFORM, "a"), _TO_LAST])
        self.assertEqual(self.reasons, ("status_429",))

    def test_relayed(self) -> None:
        """For a direct name, without a last resort, and for a key that is not valid, as ever."""
        for model, status in (("a", 402), (ALIAS, 401), (ALIAS, 403)):
            self.build()
            client = self.ask(model, stream=False)
            self.wire.says(whole(status, b'{"detail":"no"}'))
            self.assertEqual((client.down.status, len(self.went)), (status, 1))
        self.resorts = False
        self.build()
        client = self.ask("a,b", stream=False)
        self.wire.says(whole(402, b'{"detail":"no"}'))
        self.assertEqual((client.down.status, len(self.went)), (402, 1))

    def test_banned(self) -> None:
        """While the edge bans the key, nothing goes to the platform."""
        self.build(edge=EdgeConfig())
        self.ask("a", stream=False)
        self.wire.says(whole(429, EDGE_PAGE, b"text/html"))
        self.ask(ALIAS, stream=False)
        self.answer()
        self.ask(f"b,{NAMED}", stream=False)
        self.answer()
        self.assertEqual(self.went[1:], [_TO_LAST, _TO_NAMED])
        self.assert_refused(self.ask("a", stream=False), 429, "edge_limited")

    def test_out_of_tokens(self) -> None:
        """A request that has waited in vain goes there, and so does one that banned meanwhile."""
        self.build(edge=EdgeConfig(1.0, 1.0))
        self.ask("a", stream=False)
        self.answer()
        self.ask("a,b", stream=False)
        self.assertEqual(len(self.went), 1)
        self.clock.advance(2.0)
        self.assertEqual(self.went[1:], [_TO_LAST])
        self.answer()
        self.assertEqual(self.records[-1].waited_ms, 2000.0)
        self.assertEqual(self.records[-1].status, 200)

    def test_no_token_left(self) -> None:
        """Without a token for a failover the platform's other models are left out."""
        self.build(edge=EdgeConfig(1.0, 1.0))
        self.ask("a,b", stream=False)
        self.fails()
        self.answer()
        self.assertEqual(self.went, [(_PLATFORM, "a"), _TO_LAST])

    def test_tokens_are_the_platforms(self) -> None:
        """Calls elsewhere need none; one of the platform that follows needs one."""
        self.build(edge=EdgeConfig(1.0, 1.0))
        for _ in range(3):
            self.ask(f"{NAMED},@last/two", stream=False)
            self.fails()
            self.answer()
        self.ask(f"{NAMED},a,b", stream=False)
        self.fails(2)
        self.answer()
        hosts = [host for host, _ in self.went]
        self.assertEqual(hosts[-3:], ["named.test", _PLATFORM, "last.test"])
        self.assertEqual(hosts.count(_PLATFORM), 1)

    def test_token_of_later(self) -> None:
        """Without another service a token that comes during an attempt serves the next one."""
        self.resorts = False
        self.build(edge=EdgeConfig(30.0, 30.0, burst=1 / 30))
        self.ask("a,b", stream=False)
        self.clock.advance(10)
        self.fails()
        self.answer()
        self.assertEqual(self.went, [(_PLATFORM, "a"), (_PLATFORM, "b")])

    def test_cooling_without_a_token(self) -> None:
        """Another service that cools down is tried all the same, for it alone needs no token."""
        self.build(threshold=1)
        self.ask(f"a,{NAMED}", stream=False)
        self.fails(2)
        self.answer()
        tables = self.tables
        self.build(threshold=1, tables=tables, edge=EdgeConfig(1.0, 1.0))
        self.ask(f"a,{NAMED},b", stream=False)
        self.fails()
        self.answer()
        self.assertEqual(self.went[0], (_PLATFORM, "b"))
        self.assertNotEqual(self.went[1][0], _PLATFORM)

    def test_pool(self) -> None:
        """With a pool, once all its keys are banned."""
        pool = KeyPool(
            [PlatformKey("p", b"cpk_pool", b"0" * 16)],
            self.clock.seconds,
            lambda: WALL_TIME + self.clock.seconds(),
        )
        self.proxy.key_pool = pool
        self.ask(ALIAS, stream=False)
        self.wire.says(whole(429, EDGE_PAGE, b"text/html"))
        self.answer()
        self.ask(ALIAS, stream=False)
        self.answer()
        self.ask(NAMED, stream=False)
        self.answer()
        self.assertEqual(self.went[1:], [_TO_LAST, _TO_LAST, _TO_NAMED])
        self.assert_refused(self.ask("a"), 429, "edge_limited")
        self.assertEqual([each.in_progress for each in pool.now()], [0])

    def test_refused_beside_a_pool(self) -> None:
        """A refusal of another service is relayed; it is none of the pool's keys."""
        self.proxy.key_pool = KeyPool(
            [PlatformKey("p", b"cpk_pool", b"0" * 16)],
            self.clock.seconds,
            lambda: WALL_TIME + self.clock.seconds(),
        )
        body = b'{"error":{"message":"other-canary has no credit"}}'
        for status in (401, 402):
            client = self.ask(f"{NAMED},a", stream=False)
            self.wire.says(whole(status, body, JSON, b"Connection: close"))
            masked = body.replace(b"other-canary", b"*" * len(KEY))
            self.assertEqual((client.down.status, client.down.body), (status, masked))
        self.assertEqual([host for host, _ in self.went], ["named.test"] * 2)


class PolicyTests(FallbackTestCase):
    """Verdicts on what another service says: those of the open policy."""

    def test_open(self) -> None:
        """Every 429 and 5xx leads on, and the platform's own stays as strict as it is."""
        for status in (429, 501):
            self.build()
            self.ask(f"{NAMED},a", stream=False)
            self.wire.says(whole(status, b'{"detail":"no"}'))
            self.answer()
            self.assertEqual([host for host, _ in self.went], ["named.test", _PLATFORM])
            self.build()
            client = self.ask("a,b", stream=False)
            self.wire.says(whole(status, b'{"detail":"no"}'))
            self.assertEqual((client.down.status, len(self.went)), (status, 1))

    def test_payment_of_its_own(self) -> None:
        """A 402 of another service is relayed: it says nothing of the platform's account."""
        client = self.ask(f"{NAMED},a", stream=False)
        self.wire.says(whole(402, b'{"error":{"message":"pay"}}'))
        self.assertEqual((client.down.status, len(self.went)), (402, 1))

    def test_again(self) -> None:
        """Its own 429 is waited for once, as with the platform."""
        self.build(edge=EdgeConfig(1.0, 1.0))
        self.ask(f"{NAMED},a", stream=False)
        self.wire.says(whole(429, b'{"error":{"message":"slow down"}}', JSON, b"Retry-After: 1"))
        self.clock.advance(1)
        self.answer()
        self.assertEqual(self.went, [_TO_NAMED, _TO_NAMED])

    def test_stale(self) -> None:
        """A connection that had closed is replaced, without a token."""
        self.build(edge=EdgeConfig(1.0, 1.0))
        self.ask(NAMED, stream=False)
        self.wire.says(whole(200, ANSWER))
        self.ask(NAMED, stream=False)
        self.wire.resets()
        self.answer()
        self.assertEqual(self.went, [_TO_NAMED] * 3)


class CanaryTests(FallbackTestCase):
    """Whose key goes where."""

    def sent(self, host: str) -> bytes:
        """Return all requests that went to a host."""
        found = [each for wire in self.upstreams.wires for each in requests_of(wire)]
        return b"".join(each for each in found if host_of(each) == host)

    def test_keys(self) -> None:
        """Neither the client's key nor what names it goes there; that key goes nowhere else."""
        given = [
            (b"x-api-key", b"client-canary-2"),
            (b"X-Chutes-Hotkey", b"client-canary-3"),
            (b"X-Chutes-Trace", b"client-canary-4"),
            (b"x_api_key", b"client-canary-5"),
            (b"X-Session-Id", b"client-canary-6"),
            (b"Api-Key", b"client-canary-7"),
            (b"Cookie", b"client-canary-8"),
            (b"Accept", b"text/event-stream"),
            (b"Content-Type", b"application/json"),
            (b"User-Agent", b"sdk/1"),
            (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ]
        client = self.ask(f"a,{NAMED}", *given, token=b"client-canary-1", stream=False)
        self.fails()
        self.wire.says(
            whole(
                200,
                ANSWER,
                JSON,
                b"X-RateLimit-Limit: 9",
                b"OpenAI-Organization: org",
                b"X-Echo: " + KEY.encode(),
                b"X-Chutes-Autopilot-Backend: forged",
                b"X-Fine: 1",
            )
        )
        there, here = self.sent("named.test"), self.sent(_PLATFORM)
        self.assertNotIn(b"client-canary", there)
        self.assertNotIn(b"q=1", there)
        self.assertIn(b"Authorization: Bearer other-canary\r\n", there)
        for name in (b"Accept: text/event-stream", b"User-Agent: sdk/1", b"traceparent: 00-"):
            self.assertIn(name, there)
        self.assertIn(b"client-canary-1", here)
        self.assertNotIn(b"other-canary", here)
        head_ = client.down.head
        assert head_ is not None
        names = [name.lower() for name, _ in head_.fields]
        self.assertEqual(names.count(_BACKEND), 1)
        self.assertIn(b"x-fine", names)
        for name in (b"x-ratelimit-limit", b"openai-organization", b"x-echo"):
            self.assertNotIn(name, names)
        self.assertNotIn("canary", repr((self.records, self.config, self.config.backends)))

    def test_error(self) -> None:
        """An error that repeats the key is relayed without it, its length unchanged."""
        body = b'{"error":{"message":"Incorrect API key provided: other-canary"}}'
        for model in (NAMED, f"{NAMED},a"):
            client = self.ask(model, stream=False)
            self.wire.says(whole(401, body))
            self.assertEqual(client.down.body, body.replace(b"other-canary", b"*" * len(KEY)))

    def test_coded(self) -> None:
        """What it compresses is not relayed: its key could not be masked in that."""
        for status in (401, 200):
            client = self.ask(f"{NAMED},a", stream=False)
            self.wire.says(whole(status, b"?", JSON, b"Content-Encoding: br", b"Connection: close"))
            if status == 200:
                self.answer()
                self.assertEqual(client.down.body, ANSWER)
            else:
                self.assert_refused(client, 502, "upstream_stream_interrupted")
        failed = [[each.reason for each in record.failovers] for record in self.records]
        self.assertEqual(failed, [[], ["coded"]])

    def test_limits(self) -> None:
        """What another service states is none of the client's account with the platform."""
        self.ask(NAMED, stream=False)
        self.wire.says(whole(200, ANSWER, JSON, b"X-Chutes-Quota-Remaining: 7"))
        self.ask(NAMED)
        self.wire.says(head(200, SSE, b"X-Chutes-Quota-Remaining: 7") + chunk(TOKEN + DONE))
        self.assertEqual(self.limited, [])


class KeyTests(FallbackTestCase):
    """Keys of the operator's own."""

    def know(self, rules: KeyRules) -> None:
        """Let in one client."""

        def wall() -> float:
            return WALL_TIME + self.clock.seconds()

        self.proxy.keys = OwnKeys(
            [own(b"secret", rules)], KeyBudgets(self.clock.seconds, wall), wall
        )

    def test_models(self) -> None:
        """A key with a list of models needs these names in it, for the last resort too."""
        a = NamePattern.of("a")
        for patterns, last in (((a,), False), ((a, NamePattern.of("@last/*")), True)):
            self.build()
            self.know(KeyRules("k", models=patterns))
            self.assert_refused(self.ask(f"a,{NAMED}"), 403, "model_not_allowed")
            self.ask(ALIAS, stream=False)
            self.fails()
            self.assertEqual(self.went[1:], [_TO_LAST] if last else [])
            self.snapshot, before = type(self.snapshot)(), self.snapshot
            client = self.ask(ALIAS, stream=False)
            self.assertEqual(client.down.code, None if last else "model_not_allowed")
            self.snapshot = before

    def test_dollars(self) -> None:
        """A budget in dollars cannot count what has no price."""
        self.know(KeyRules("k", picodollars_per_day=10**15))
        self.assert_refused(self.ask(NAMED), 403, "model_not_allowed")
