"""Tests of keys where there are other services: whose goes where, and what each may use."""

from __future__ import annotations

from autopilot.routing.key_policy import KeyRules
from autopilot.routing.patterns import NamePattern
from autopilot.state.budgets import KeyBudgets
from autopilot.state.own_keys import OwnKeys
from tests.unit.relay.fallbacks import (
    ANSWER,
    BACKEND,
    KEY,
    NAMED,
    PLATFORM,
    TO_LAST,
    FallbackTestCase,
    host_of,
    requests_of,
)
from tests.unit.relay.routers import ALIAS, WALL_TIME
from tests.unit.relay.upstreams import DONE, JSON, SSE, TOKEN, chunk, head, whole
from tests.unit.state.test_own_keys import own


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
        there, here = self.sent("named.test"), self.sent(PLATFORM)
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
        self.assertEqual(names.count(BACKEND), 1)
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
            self.assertEqual(self.went[1:], [TO_LAST] if last else [])
            self.snapshot, before = type(self.snapshot)(), self.snapshot
            client = self.ask(ALIAS, stream=False)
            self.assertEqual(client.down.code, None if last else "model_not_allowed")
            self.snapshot = before

    def test_dollars(self) -> None:
        """A budget in dollars cannot count what has no price."""
        self.know(KeyRules("k", picodollars_per_day=10**15))
        self.assert_refused(self.ask(NAMED), 403, "model_not_allowed")
