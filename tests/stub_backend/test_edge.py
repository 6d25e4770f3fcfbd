"""The stub's edge: calls per key, and bans that double."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from stub_backend.edge import LONGEST_BAN
from tests.stub_backend.exchange import QUICK, Answer, Exchange


class EdgeTests(SynchronousTestCase):
    """An edge that lets sixty calls a minute pass."""

    def setUp(self) -> None:
        """Make a stub with the limit."""
        self.exchange = Exchange(replace(QUICK, edge_rate=60))

    def call(self, **fields: str) -> Answer:
        """Make a call that needs no model."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        exchange = self.exchange.another()
        exchange.send("GET", "/users/me", b"", named)
        exchange.run()
        answer = exchange.answer()
        assert answer is not None
        return answer

    def counts(self) -> list[dict[str, object]]:
        """Return what the control API says."""
        counted: list[dict[str, object]] = self.exchange.another().fetch("GET", "/stub/edge").json()
        return counted

    def spend(self, key: str) -> None:
        """Use up the burst of a key."""
        for _ in range(61):
            self.assertNotEqual(self.call(authorization=f"Bearer {key}").status, 429)

    def test_page(self) -> None:
        """The call beyond the burst gets the page of nginx, without Retry-After."""
        self.spend("cpk_a.b.c")
        answer = self.call(authorization="Bearer cpk_a.b.c")
        self.assertEqual((answer.status, answer.content_type), (429, "text/html"))
        self.assertIn(b"nginx", answer.body)
        self.assertIsNone(answer.header("retry-after"))

    def test_keys(self) -> None:
        """Each key has its own limit, whatever the scheme; those without one share theirs."""
        self.spend("cpk_a.b.c")
        self.assertEqual(self.call(authorization="cpk_a.b.c").status, 429)
        self.assertEqual(self.call(x_api_key="cpk_a.b.c").status, 429)
        self.assertNotEqual(self.call(authorization="Bearer cpk_d.e.f").status, 429)
        self.assertNotEqual(self.call().status, 429)
        keys = [(each["key"], each["calls"], each["refused"]) for each in self.counts()]
        self.assertEqual(keys, [("cpk_a.b.c", 63, 2), ("cpk_d.e.f", 1, 0), ("", 1, 0)])

    def test_doubles(self) -> None:
        """Each call during the ban doubles it, up to a day; then the key may call again."""
        self.spend("k")
        seconds = [60.0 * 2**each for each in range(3)]
        for ban in seconds:
            self.assertEqual(self.call(authorization="k").status, 429)
            self.assertEqual(self.counts()[0]["ban_seconds"], ban)
        self.exchange.clock.advance(239.0)
        self.assertEqual(self.call(authorization="k").status, 429)
        self.assertEqual(self.counts()[0]["bans"], 1)
        self.exchange.clock.advance(481.0)
        self.assertNotEqual(self.call(authorization="k").status, 429)
        self.spend_until_longest()

    def spend_until_longest(self) -> None:
        """Call until the ban does not grow any more."""
        for _ in range(80):
            self.call(authorization="k")
        self.assertEqual(self.counts()[0]["ban_seconds"], LONGEST_BAN)

    def test_feeds(self) -> None:
        """Fetches of the feeds are not counted, and without a limit nothing is refused."""
        for _ in range(100):
            self.assertEqual(self.exchange.fetch("GET", "/v1/models").status, 200)
        self.assertEqual(self.counts(), [])
        self.exchange.fetch("POST", "/stub/edge", {"rate": 0})
        for _ in range(100):
            self.assertNotEqual(self.call().status, 429)
        self.assertEqual(self.exchange.fetch("POST", "/stub/edge", {"rate": -1}).status, 400)
        self.exchange.fetch("POST", "/stub/reset")
        self.assertEqual((self.counts(), self.exchange.stub.edge.rate), ([], 60))
