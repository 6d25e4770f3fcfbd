"""Tests of the last resort, which serves what no model of the platform does."""

from __future__ import annotations

from autopilot.http.dialect import Dialect
from tests.unit.relay.fallbacks import (
    BACKEND,
    LAST,
    NAMED,
    PLATFORM,
    SELECTED,
    TO_LAST,
    TO_NAMED,
    FallbackTestCase,
    fields_of,
)
from tests.unit.relay.routers import ALIAS
from tests.unit.relay.upstreams import DONE, STOP, TOKEN, chunk, head, whole


class ResortTests(FallbackTestCase):
    """When the last resort is tried, and when not."""

    def test_exhausted(self) -> None:
        """Behind every candidate of the alias, of a list and of a route."""
        for model, most in ((ALIAS, 3), ("b,a", 2), ("route", 2)):
            self.build()
            client = self.ask(model, stream=False)
            self.fails(most)
            self.answer()
            self.assertEqual(self.went[most:], [TO_LAST])
            self.assertEqual(fields_of(client)[SELECTED], LAST.encode())
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
        self.assertEqual(fields[BACKEND], b"last")

    def test_kept_attempt(self) -> None:
        """The last of the attempts is kept for it, but not the only one."""
        self.build(max_attempts=2)
        self.ask(ALIAS, stream=False)
        self.fails()
        self.answer()
        self.assertEqual(self.went, [(PLATFORM, "a"), TO_LAST])
        self.build(max_attempts=1)
        client = self.ask(ALIAS, stream=False)
        self.fails()
        self.assertEqual((self.went, client.down.status), ([(PLATFORM, "a")], 503))

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
        self.assertEqual((self.went, self.record.why), ([TO_LAST], "last_resort"))
        client = self.ask(ALIAS, dialect=Dialect.MESSAGES, path=b"/v1/messages")
        self.assert_refused(client, 503, "no_candidates")

    def test_direct(self) -> None:
        """Never behind a direct name."""
        client = self.ask("a", stream=False)
        self.fails()
        self.assertEqual((self.went, client.down.status), ([(PLATFORM, "a")], 503))

    def test_confidential(self) -> None:
        """Never for a request that needs confidential models: 503, and not one call elsewhere."""
        only = (b"X-TEE-Only", b"true")
        for model, *fields in ((ALIAS, only), ("a,b", only), ("confidential",)):
            self.build()
            client = self.ask(model, *fields, stream=False)
            self.fails({ALIAS: 3, "a,b": 2}.get(model, 1))
            self.assertEqual(client.down.status, 503)
            self.assertEqual({host for host, _ in self.went}, {PLATFORM})

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
        self.assertEqual(self.went[-1], TO_LAST)
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
        self.assertEqual(self.went, [TO_NAMED, (PLATFORM, "a"), (PLATFORM, "a")])
