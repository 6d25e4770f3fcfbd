"""Planned requests that are counts of tokens."""

from __future__ import annotations

from autopilot.http.dialect import COUNT_TOKENS, Dialect
from tests.unit.relay.routers import ALIAS, Client, ServingTestCase
from tests.unit.relay.upstreams import whole


class CountTokensTests(ServingTestCase):
    """A count of tokens is for the model that the conversation's next request would try first."""

    def count(self, model: str, status: int = 200) -> Client:
        """Have the tokens of a request counted; the model tried answers with this status."""
        client = self.ask(model, dialect=Dialect.MESSAGES, stream=False, path=COUNT_TOKENS)
        self.wire.says(whole(status, b'{"input_tokens":7}', b"application/json"))
        return client

    def test_target(self) -> None:
        """It goes to the origin of messages; only the model differs from what the client sent."""
        client = self.count("b")
        sent = self.wire.value()
        self.assertIn(b"POST /v1/messages/count_tokens?q=1 HTTP/1.1\r\n", sent)
        self.assertIn(b"Host: claude.test:8080\r\n", sent)
        self.assertTrue(sent.endswith(b'\r\n\r\n{"model": "b"}'))
        self.assertEqual((client.down.status, client.down.body), (200, b'{"input_tokens":7}'))
        self.assertEqual(self.records[-1].endpoint, "/v1/messages/count_tokens")

    def test_model(self) -> None:
        """It is the remembered model, else the first candidate; a direct name is itself."""
        for selector, failing, expected in (
            (ALIAS, (), "a"),
            ("c,b", (), "c"),
            ("b", (), "b"),
            (ALIAS, ("a",), "b"),
            ("c,b,a", ("c",), "b"),
        ):
            if failing:
                self.serve(selector, *failing)
            self.count(selector)
            self.assertEqual(self.models[-1], expected, selector)

    def test_no_failover(self) -> None:
        """A failure is relayed as it came, though others are left."""
        for status in (503, 500, 429, 404):
            before = len(self.models)
            client = self.count(ALIAS, status)
            self.assertEqual(client.down.status, status)
            self.assertEqual(self.models[before:], ["a"])

    def test_leaves_nothing(self) -> None:
        """Whether it succeeds or fails, nothing is remembered of its client or its model."""
        for status in (200, 503, 503, 503):
            self.count(ALIAS, status)
        self.assertEqual(len(self.tables.affinity), 0)
        self.assertEqual(dict(self.tables.breaker.of_clients), {})
        self.assertIsNone(self.tables.latency.plain_p95("a"))
        self.assertEqual(self.serve(ALIAS, "a"), ["a", "b"])
        self.count(ALIAS)
        self.assertEqual(self.serve(ALIAS), ["b"])
