"""Tests of requests that go elsewhere as the platform's account may make no call."""

from __future__ import annotations

from autopilot.state.edge_account import EdgeConfig
from autopilot.upstream.key_pool import KeyPool, PlatformKey
from tests.unit.relay.fallbacks import (
    EDGE_PAGE,
    KEY,
    NAMED,
    PLATFORM,
    TO_LAST,
    TO_NAMED,
    FallbackTestCase,
)
from tests.unit.relay.routers import ALIAS, WALL_TIME
from tests.unit.relay.upstreams import JSON, whole


class AccountTests(FallbackTestCase):
    """An account that may make no call."""

    def test_payment(self) -> None:
        """After a 402 no other model of the platform is tried, and none is blamed."""
        for model, where in ((ALIAS, TO_LAST), ("a,b", TO_LAST), (f"a,b,{NAMED}", TO_NAMED)):
            self.build(threshold=1)
            self.ask(model, stream=False)
            self.wire.says(whole(402, b'{"detail":{"message":"Quota exceeded"}}'))
            self.answer()
            self.assertEqual(self.went, [(PLATFORM, "a"), where])
            self.assertEqual(self.reasons, ("status_402",))
            self.assertFalse(self.tables.breaker.opened or self.tables.breaker.opened_for)

    def test_edge_page(self) -> None:
        """Likewise after the edge's page."""
        self.ask(ALIAS, stream=False)
        self.wire.says(whole(429, EDGE_PAGE, b"text/html"))
        self.answer()
        self.assertEqual(self.went, [(PLATFORM, "a"), TO_LAST])
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
        self.assertEqual(self.went[1:], [TO_LAST, TO_NAMED])
        self.assert_refused(self.ask("a", stream=False), 429, "edge_limited")

    def test_out_of_tokens(self) -> None:
        """A request that has waited in vain goes there, and so does one that banned meanwhile."""
        self.build(edge=EdgeConfig(1.0, 1.0))
        self.ask("a", stream=False)
        self.answer()
        self.ask("a,b", stream=False)
        self.assertEqual(len(self.went), 1)
        self.clock.advance(2.0)
        self.assertEqual(self.went[1:], [TO_LAST])
        self.answer()
        self.assertEqual(self.records[-1].waited_ms, 2000.0)
        self.assertEqual(self.records[-1].status, 200)

    def test_no_token_left(self) -> None:
        """Without a token for a failover the platform's other models are left out."""
        self.build(edge=EdgeConfig(1.0, 1.0))
        self.ask("a,b", stream=False)
        self.fails()
        self.answer()
        self.assertEqual(self.went, [(PLATFORM, "a"), TO_LAST])

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
        self.assertEqual(hosts[-3:], ["named.test", PLATFORM, "last.test"])
        self.assertEqual(hosts.count(PLATFORM), 1)

    def test_token_of_later(self) -> None:
        """Without another service a token that comes during an attempt serves the next one."""
        self.resorts = False
        self.build(edge=EdgeConfig(30.0, 30.0, burst=1 / 30))
        self.ask("a,b", stream=False)
        self.clock.advance(10)
        self.fails()
        self.answer()
        self.assertEqual(self.went, [(PLATFORM, "a"), (PLATFORM, "b")])

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
        self.assertEqual(self.went[0], (PLATFORM, "b"))
        self.assertNotEqual(self.went[1][0], PLATFORM)

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
        self.assertEqual(self.went[1:], [TO_LAST, TO_LAST, TO_NAMED])
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
