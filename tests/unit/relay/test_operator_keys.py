"""Tests of requests with the operator's own keys: refused before any attempt, counted, told."""

from __future__ import annotations

import json

from autopilot.http.dialect import COUNT_TOKENS, Dialect
from autopilot.routing.key_policy import KeyRules
from autopilot.routing.patterns import NamePattern
from autopilot.state.budgets import KeyBudgets
from autopilot.state.own_keys import OwnKeys
from tests.unit.relay.routers import ALIAS, WALL_TIME, Client, RouterTestCase
from tests.unit.relay.upstreams import JSON, whole
from tests.unit.state.test_own_keys import own

_ANSWER = json.dumps(
    {
        "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5},
    }
).encode()


class KeyedTestCase(RouterTestCase):
    """A router that knows one key of the operator's own."""

    def know(self, rules: KeyRules, key: bytes = b"secret") -> None:
        """Let in the client with this key, and no other."""

        def wall() -> float:
            return WALL_TIME + self.clock.seconds()

        self.budgets = KeyBudgets(self.clock.seconds, wall)
        self.proxy.keys = OwnKeys([own(key, rules)], self.budgets, wall)

    def answered(self, client: Client) -> dict[bytes, bytes]:
        """Answer a request, and return the fields of its response by their names."""
        self.wire.says(whole(200, _ANSWER, JSON, b"X-RateLimit-Limit-Requests: 1"))
        assert client.down.head is not None
        return {name.lower(): value for name, value in client.down.head.fields}

    def in_progress(self) -> int:
        """Return the number of requests in progress."""
        (now,) = self.budgets.now(["k"])
        return now.in_progress


class AdmissionTests(KeyedTestCase):
    """Who is refused, and that no upstream hears of it."""

    def refused(self, client: Client, status: int, code: str, key: str | None) -> None:
        """Assert that a request was refused, before any attempt, and what its record says."""
        self.assert_refused(client, status, code)
        self.assertEqual(self.upstreams.wires, [])
        record = self.records[-1]
        self.assertEqual((record.key, record.code, record.attempts), (key, code, 0))

    def test_unknown(self) -> None:
        """A key that is not in the file."""
        self.know(KeyRules("k"))
        self.refused(self.ask(token=b"other"), 401, "unknown_key", None)

    def test_models(self) -> None:
        """A model that the key may not use; the record has the kind of selector."""
        self.know(KeyRules("k", models=(NamePattern.of("a"),), requests_per_minute=1))
        self.refused(self.ask("b", stream=False), 403, "model_not_allowed", "k")
        self.assertEqual((self.records[-1].mode, self.records[-1].stream), ("direct", False))
        self.refused(self.ask("a,b"), 403, "model_not_allowed", "k")
        client = self.ask(body=b"{")
        self.refused(client, 400, "invalid_json", "k")
        for each in (client, self.ask("b")):
            assert each.down.refusal is not None
            self.assertIn((b"x-ratelimit-remaining-requests", b"1"), each.down.refusal.fields)
        # What was refused does not count.
        self.answered(self.ask(stream=False))
        self.assertEqual(self.models, ["a"])

    def test_count_of_tokens(self) -> None:
        """A count goes to the first model that the key may use."""
        self.know(KeyRules("k", models=(NamePattern.of("c"),)))
        self.ask(stream=False, dialect=Dialect.MESSAGES, path=COUNT_TOKENS)
        self.assertEqual(self.models, ["c"])

    def test_rate(self) -> None:
        """The error says when to come back, and has the rest of the limits."""
        self.know(KeyRules("k", requests_per_minute=1))
        fields = self.answered(self.ask("a", stream=False))
        self.assertEqual(fields[b"x-ratelimit-limit-requests"], b"1")
        self.assertEqual(fields[b"x-ratelimit-remaining-requests"], b"0")
        client = self.ask("a", stream=False)
        self.assert_refused(client, 429, "key_rate_limited")
        assert client.down.refusal is not None
        self.assertEqual(client.down.refusal.retry_after, 60)
        self.assertIn((b"x-ratelimit-remaining-requests", b"0"), client.down.refusal.fields)
        self.assertEqual(len(self.upstreams.wires), 1)

    def test_without_keys(self) -> None:
        """Without keys of its own the router passes the upstream's limits on."""
        fields = self.answered(self.ask("a", stream=False))
        self.assertEqual(fields[b"x-ratelimit-limit-requests"], b"1")
        self.assertIsNone(self.record.key)


class CountingTests(KeyedTestCase):
    """What a request costs, and that it is released whatever happens."""

    def test_budget_raises(self) -> None:
        """If what was used cannot be counted, the request has its record and ends all the same."""
        self.know(KeyRules("k", tokens_per_day=12))

        def spend(name: str, tokens: int, cost: int) -> None:
            raise RuntimeError("a bug")

        self.patch(self.budgets, "spend", spend)
        self.answered(self.ask("a", stream=False))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual((self.record.key, self.record.status), ("k", 200))
        self.assertEqual((self.in_progress(), self.proxy.active), (0, 0))

    def test_budget(self) -> None:
        """What an answer has used counts from its end, so that the next request is refused."""
        self.know(KeyRules("k", tokens_per_day=12))
        first, second = self.ask("a", stream=False), self.ask("b", stream=False)
        fields = self.answered(second)
        self.assertEqual(fields[b"x-ratelimit-remaining-tokens"], b"12")
        self.assert_refused(self.ask("a"), 402, "key_budget_exhausted")
        self.assertEqual(self.budgets.spent()["k"].tokens_today, 12)
        first.leaves()
        first.exchange = None
        self.assertEqual(self.in_progress(), 0)

    def test_streams_are_asked_for_usage(self) -> None:
        """Only if the key has a budget, and once."""
        self.know(KeyRules("k", tokens_per_day=12))
        self.ask("a")
        self.assertIn(b'"include_usage":true', self.wire.value())
        self.know(KeyRules("k", requests_per_minute=12))
        self.ask("b")
        self.assertNotIn(b"include_usage", self.wire.value())

    def test_failures(self) -> None:
        """An error of the router's own has the rest of the limits, and frees the request."""
        self.know(KeyRules("k", concurrent_requests=1, requests_per_minute=9))
        client = self.ask("a", stream=False)
        self.assert_refused(self.ask("a"), 429, "key_rate_limited")
        self.wire.resets()
        self.assert_refused(client, 502, "upstream_connect_error")
        assert client.down.refusal is not None
        self.assertIn((b"x-ratelimit-remaining-requests", b"8"), client.down.refusal.fields)
        self.assertEqual(self.in_progress(), 0)
        self.assertEqual([each.key for each in self.records], ["k", "k"])

    def test_bug_while_planning(self) -> None:
        """Not even an exception leaves a request counted."""
        self.know(KeyRules("k", concurrent_requests=1))
        self.patch(self.proxy, "_make_target", lambda *_: 1 / 0)
        self.assert_refused(self.ask(ALIAS), 500, "internal_error")
        self.assertEqual(self.in_progress(), 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
