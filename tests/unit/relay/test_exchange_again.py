"""Errors of an engine's own, after which the same model is tried once more (contract §6)."""

from __future__ import annotations

from autopilot.routing.retry_policy import Policy
from tests.unit.relay.routers import ALIAS, RouterTestCase
from tests.unit.relay.upstreams import JSON, whole

CLOSE = b"Connection: close"
BUSY = b'{"error":{"message":"busy"}}'
LIMITED = whole(429, BUSY, JSON, CLOSE)
BROKEN = whole(500, BUSY, JSON, CLOSE)


class AgainTests(RouterTestCase):
    """The second try of a model."""

    def test_success(self) -> None:
        """If it succeeds, the first try is neither an attempt nor a failure."""
        for first, seconds in ((LIMITED, 1.0), (BROKEN, 0.25)):
            for selector, attempts in (("a", None), ("a,b", b"1"), (ALIAS, b"1")):
                self.build()
                client = self.ask(selector)
                self.wire.says(first)
                self.clock.advance(seconds - 0.01)
                self.assertEqual(self.models, ["a"])
                self.clock.advance(0.01)
                self.assertEqual(self.models, ["a", "a"])
                self.wire.says(whole(200, b"{}", JSON))
                self.assertEqual(client.down.status, 200)
                self.assertEqual((self.record.attempts, self.reasons), (1, ()))
                self.assertEqual(client.down.field(b"x-chutes-autopilot-attempts"), attempts)
                self.assertEqual(dict(self.tables.breaker.of_clients), {})

    def test_failure(self) -> None:
        """If it fails as well, that is one failure, and the next model's turn."""
        client = self.ask("a,b")
        for _ in range(2):
            self.wire.says(LIMITED)
            self.clock.advance(1)
        self.assertEqual(self.models, ["a", "a", "b"])
        self.wire.says(whole(200, b"{}", JSON))
        self.assertEqual(client.down.status, 200)
        self.assertEqual((self.record.attempts, self.reasons), (2, ("status_429",)))

    def test_twice_a_request(self) -> None:
        """Two models at most are tried again."""
        client = self.ask("a,b,c")
        for _ in range(5):
            self.wire.says(BROKEN)
            self.clock.advance(0.25)
        self.assertEqual(self.models, ["a", "a", "b", "b", "c"])
        self.assertEqual((client.down.status, client.down.body), (500, BUSY))
        self.assertEqual(self.reasons, ("status_500",) * 3)

    def test_not_counted(self) -> None:
        """`MAX_ATTEMPTS` does not limit it."""
        self.build(max_attempts=1)
        client = self.ask("a,b")
        for _ in range(2):
            self.wire.says(BROKEN)
            self.clock.advance(0.25)
        self.assertEqual((self.models, client.down.status), (["a", "a"], 500))

    def test_long_retry_after(self) -> None:
        """A long Retry-After is not waited for; with no candidate left it is relayed."""
        long = whole(429, BUSY, JSON, CLOSE, b"Retry-After: 6")
        client = self.ask("a,b")
        self.wire.says(long)
        self.assertEqual(self.models, ["a", "b"])
        self.wire.says(long)
        self.assertEqual((client.down.status, client.down.field(b"retry-after")), (429, b"6"))

    def test_short_retry_after(self) -> None:
        """A short one is."""
        self.ask("a,b")
        self.wire.says(whole(429, BUSY, JSON, CLOSE, b"Retry-After: 3"))
        self.clock.advance(2.9)
        self.assertEqual(self.models, ["a"])
        self.clock.advance(0.1)
        self.assertEqual(self.models, ["a", "a"])

    def test_strict(self) -> None:
        """Under strict the response is the client's."""
        self.build(policy=Policy.STRICT)
        client = self.ask("a,b")
        self.wire.says(LIMITED)
        self.assertEqual((self.models, client.down.status), (["a"], 429))

    def test_client_leaves(self) -> None:
        """A client that leaves during the pause ends the request."""
        client = self.ask("a,b")
        self.wire.says(LIMITED)
        client.leaves()
        self.clock.advance(5)
        self.assertEqual((self.models, self.record.outcome), (["a"], "client_gone"))
        self.assertEqual((self.record.attempts, self.reasons), (1, ()))

    def test_total_deadline(self) -> None:
        """The pause ends with the time."""
        self.build(total=0.5)
        client = self.ask("a,b")
        self.wire.says(LIMITED)
        self.clock.advance(0.5)
        self.assert_refused(client, 504, "upstream_total_timeout")
        self.assertEqual(self.record.attempts, 1)
