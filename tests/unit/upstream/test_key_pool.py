"""Tests of the pool of the platform's keys: which one is lent, when one rests, what is hidden."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.headers import read_request_headers
from autopilot.routing.retry_policy import Reply
from autopilot.upstream.key_pool import (
    CREDENTIALS,
    FIRST_BAN,
    NO_QUOTA,
    NOT_VALID,
    REMEMBERED,
    KeyLease,
    KeyPool,
    PlatformKey,
)

EDGE = Reply(429, "text/html")
_WALL = 1_800_000_000.0


def key(name: str) -> PlatformKey:
    """Return a key of the platform."""
    return PlatformKey(name, b"cpk_" + name.encode() * 4, b"account of " + name.encode())


class PoolTestCase(SynchronousTestCase):
    """A pool of three keys."""

    def setUp(self) -> None:
        """Make it."""
        self.clock = Clock()
        self.pool = KeyPool(
            map(key, "abc"), self.clock.seconds, lambda: _WALL + self.clock.seconds(), most=3
        )

    def lent(self, conversation: bytes | None = None) -> KeyLease:
        """Return the key that a request gets."""
        lease = self.pool.lend(conversation)
        assert lease is not None
        return lease

    def states(self, name: str, remaining: int) -> None:
        """The platform states that so many of a key's 100 requests remain."""
        fields = {b"x-chutes-quota-total": b"100", b"x-chutes-quota-remaining": b"%d" % remaining}
        for _ in range(99):
            lease = self.lent()
            if lease.name == name:
                lease.stated(fields, self.clock.seconds())
                lease.end()
                return
        self.fail("the key is never lent")

    def resting(self) -> dict[str, str]:
        """Return the keys that rest, with why."""
        return {each.name: each.why for each in self.pool.now() if each.resting is not None}


class ChoiceTests(PoolTestCase):
    """Which key a request gets."""

    def test_fewest_in_progress(self) -> None:
        """Without statements the keys take turns, by what is in progress and what was sent."""
        names = [self.lent().name for _ in range(6)]
        self.assertEqual(sorted(names), list("aabbcc"))
        self.assertEqual(sorted(names[:3]), list("abc"))

    def test_most_left(self) -> None:
        """By the quota; a statement counts for an hour."""
        for name, remaining in (("a", 50), ("b", 80), ("c", 20)):
            self.states(name, remaining)
        self.assertEqual({self.lent().name for _ in range(5)}, {"b"})
        self.states("b", 10)
        self.assertEqual(self.lent().name, "a")
        self.assertEqual([each.quota_left for each in self.pool.now()], [0.5, 0.1, 0.2])
        self.clock.advance(3600)
        self.assertEqual([each.quota_left for each in self.pool.now()], [None] * 3)

    def test_sticky(self) -> None:
        """A conversation stays with its key for half an hour, if that serves."""
        lease = self.lent(b"talk")
        first = lease.name
        self.lent(b"other")
        self.clock.advance(REMEMBERED - 1)
        self.assertEqual(self.lent(b"talk").name, first)
        self.clock.advance(REMEMBERED - 1)
        self.assertEqual(self.lent(b"talk").name, first)
        lease.refused(Reply(402, "application/json"), b"")
        second = self.lent(b"talk")
        self.assertNotEqual(second.name, first)
        self.clock.advance(NO_QUOTA)
        self.assertEqual(self.lent(b"talk").name, second.name)

    def test_bounded(self) -> None:
        """Only so many conversations are remembered."""
        for number in range(9):
            self.lent(b"%d" % number)
        self.assertEqual(len(self.pool._sticky), 3)


class RestTests(PoolTestCase):
    """What happens to a key that the platform refuses."""

    def test_next_key_once(self) -> None:
        """A request gets another key once; afterwards its error is the answer."""
        lease = self.lent(b"talk")
        first = lease.name
        self.assertTrue(lease.refused(Reply(402, "application/json"), b"{}"))
        second = lease.name
        self.assertNotEqual(first, second)
        self.assertFalse(lease.refused(EDGE, b""))
        self.assertEqual(lease.name, second)
        self.assertEqual(self.resting(), {first: "quota", second: "edge"})
        lease.end()
        lease.end()
        self.assertEqual(sum(each.in_progress for each in self.pool.now()), 0)

    def test_other_errors(self) -> None:
        """An error that is not about the key changes nothing."""
        lease = self.lent()
        for reply in (Reply(429, "application/json"), Reply(403, ""), Reply(500, "text/html")):
            self.assertFalse(lease.refused(reply, b"{}"))
        self.assertEqual(self.resting(), {})

    def test_how_long(self) -> None:
        """As long as the platform says, else by the kind; bans double until a request is served."""
        lease = self.lent()
        for expected in (FIRST_BAN, 2 * FIRST_BAN, 4 * FIRST_BAN):
            lease.refused(EDGE, b"", switches=False)
            self.clock.advance(expected - 1)
            self.assertEqual(len(self.resting()), 1)
            self.clock.advance(1)
            self.assertEqual(self.resting(), {})
        lease.served()
        lease.refused(Reply(429, "text/html", "7"), b"", switches=False)
        self.clock.advance(7)
        self.assertEqual(self.resting(), {})
        body = b'{"detail":{"quota_reset_timestamp":"2027-01-15T09:00:00+00:00"}}'
        lease.refused(Reply(402, "application/json"), body, switches=False)
        (rest,) = (each.resting for each in self.pool.now() if each.resting is not None)
        self.assertAlmostEqual(rest, 3600 - self.clock.seconds(), places=3)
        self.clock.advance(3600)
        lease.refused(Reply(401, "application/json"), b"", switches=False)
        self.clock.advance(NOT_VALID)
        self.assertEqual(self.resting(), {})

    def test_past_reset(self) -> None:
        """After a reset in the past the key is not tried again at once."""
        body = b'{"detail":{"quota_reset_timestamp":"2020-01-01T00:00:00+00:00"}}'
        self.lent(b"talk").refused(Reply(402, "application/json"), body, switches=False)
        (rest,) = (each.resting for each in self.pool.now() if each.resting is not None)
        self.assertEqual(rest, NO_QUOTA)

    def test_late_pages(self) -> None:
        """Pages that answer calls from before a ban prolong neither this one nor the next."""
        leases = [self.lent(b"talk") for _ in range(4)]
        for lease in leases:
            lease.refused(EDGE, b"", switches=False)
        self.clock.advance(FIRST_BAN)
        self.assertEqual(self.resting(), {})
        leases[0].refused(EDGE, b"", switches=False)
        self.clock.advance(2 * FIRST_BAN)
        self.assertEqual(self.resting(), {})

    def test_ban_stays_a_ban(self) -> None:
        """A refusal for another reason makes no key eligible that the edge has banned."""
        self.pool.configure([key("a")])
        lease = self.lent()
        lease.refused(Reply(429, "text/html", "3600"), b"")
        lease.refused(Reply(402, "application/json"), b"{}")
        self.assertEqual(self.resting(), {"a": "edge"})
        self.assertIsNone(self.pool.lend(None))

    def test_all_refused(self) -> None:
        """Where all are banned none is lent; without a quota one is tried all the same."""
        leases = [self.lent() for _ in "abc"]
        for lease in leases[:2]:
            lease.refused(EDGE, b"", switches=False)
        self.assertFalse(self.lent().refused(EDGE, b""))
        self.assertIsNone(self.pool.lend(None))
        self.assertEqual(self.pool.retry_after(), FIRST_BAN)
        self.clock.advance(FIRST_BAN)
        for lease, wait in zip(leases, (30, 20, 10), strict=True):
            self.clock.advance(wait)
            lease.refused(Reply(402, "application/json"), b"", switches=False)
        self.assertEqual(self.lent().name, leases[0].name)

    def test_bans_of_the_governor(self) -> None:
        """A key that the governor holds back is not lent while another is, until it sends again."""
        bans = {b"account of a": 100.0}
        pool = KeyPool(
            map(key, "abc"),
            self.clock.seconds,
            lambda: _WALL,
            banned_for=lambda account: max(0.0, bans.get(account, 0.0) - self.clock.seconds()),
        )
        leases = [pool.lend(b"%d" % number) for number in range(9)]
        lent = {lease.name: lease for lease in leases if lease is not None}
        self.assertEqual(sorted(lent), ["b", "c"])
        self.assertEqual([each.resting for each in pool.now()], [100.0, None, None])
        # The governor takes the page first, and says for how long: not what the pool would say.
        bans[b"account of b"] = 30.0
        self.assertTrue(lent["b"].refused(EDGE, b""))
        self.assertEqual(lent["b"].name, "c")
        bans[b"account of c"] = 40.0
        self.assertFalse(lent["c"].refused(EDGE, b""))
        self.assertFalse(lent["c"].refused(EDGE, b""))
        self.assertIsNone(pool.lend(None))
        self.assertEqual([each.why for each in pool.now()], ["edge"] * 3)
        self.assertEqual(pool.retry_after(), 30)
        self.clock.advance(30)
        self.assertEqual(pool.resting(), ["a", "c"])
        self.assertEqual(getattr(pool.lend(None), "name", None), "b")
        self.clock.advance(70)
        self.assertEqual(pool.resting(), [])
        text = "".join(each.exposition() for each in pool._counts.instruments(pool.resting))
        self.assertIn('pool_key_rests_total{key="b",reason="edge"} 1.0', text)
        self.assertIn('pool_key_rests_total{key="c",reason="edge"} 1.0', text)

    def test_reload(self) -> None:
        """A key that stays keeps its rest; a changed one is new; a request in progress goes on."""
        leases = {lease.name: lease for lease in (self.lent(), self.lent(), self.lent())}
        for name in "ab":
            leases[name].refused(EDGE, b"", switches=False)
        self.pool.configure([key("a"), PlatformKey("b", b"cpk_changed", b"x"), key("d")])
        self.assertEqual(self.resting(), {"a": "edge"})
        leases["c"].end()
        self.assertIn(self.lent().name, ("b", "d"))
        self.pool.configure([])
        self.assertIsNone(self.pool.lend(b"talk"))
        self.assertEqual(self.pool.retry_after(), 1)

    def test_metrics(self) -> None:
        """They have the names of the keys, and no key."""
        lease = self.lent()
        lease.refused(EDGE, b"")
        found = self.pool._counts.instruments(self.pool.resting)
        text = "".join(each.exposition() for each in found)
        self.assertIn('pool_key_rests_total{key="a",reason="edge"} 1.0', text)
        self.assertIn('pool_key_resting{key="a"} 1.0', text)
        self.assertNotIn("cpk_", text + repr(lease) + repr(key("a")) + repr(self.pool.now()))


class HidingTests(PoolTestCase):
    """No client's key goes up, and no key of the pool comes down."""

    def test_up(self) -> None:
        """Every field that may hold a client's key gives way, in any spelling."""
        fields = [(name.title(), b"canary") for name in sorted(CREDENTIALS)]
        fields += [(b"X_Api_Key", b"canary"), (b"X-Mine", b"stays"), (b"Connection", b"x-b")]
        given = read_request_headers([*fields, (b"X-B", b"dropped")])
        lease = self.lent()
        headers = lease.headers(given)
        self.assertNotIn(b"canary", headers.upstream)
        self.assertNotIn(b"dropped", headers.upstream)
        self.assertIn(b"Authorization: Bearer cpk_aaaa\r\n", headers.upstream)
        self.assertIn(b"X-Mine: stays\r\n", headers.upstream)
        self.assertIs(headers.named, given.named)
        lease.refused(EDGE, b"")
        again = lease.headers(headers)
        self.assertEqual(again.upstream.count(b"cpk_"), 1)
        self.assertNotIn(b"cpk_aaaa", again.upstream)

    def test_repeated(self) -> None:
        """A client's key is not in another field either; a short word is not taken for one."""
        fields = [
            (b"Authorization", b"Bearer canary-1"),
            (b"X-Api-Key", b"canary-2"),
            (b"Api-Key", b"short"),
            (b"X-Token", b"is:canary-1"),
            (b"Cookie", b"key=canary-2"),
            (b"X-Mine", b"short"),
        ]
        headers = self.lent().headers(read_request_headers(fields))
        self.assertNotIn(b"canary", headers.upstream)
        self.assertIn(b"X-Mine: short\r\n", headers.upstream)

    def test_down(self) -> None:
        """Neither in a field nor in an error's body, whose length stays."""
        lease = self.lent()
        fields = [
            (b"X-Echo", b"key cpk_aaaa"),
            (b"X-Chutes-Quota-Used", b"1"),
            (b"X-RateLimit-Limit-Requests", b"9"),
            (b"Server", b"x"),
        ]
        self.assertEqual(lease.cleaned(fields), [(b"Server", b"x")])
        self.assertEqual(lease.masked(b"no cpk_aaaa here"), b"no ******** here")
        self.assertEqual(lease.masked(b"nothing"), b"nothing")
