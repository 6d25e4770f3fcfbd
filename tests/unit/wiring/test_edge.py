"""Tests of the governor of each process."""

from __future__ import annotations

from math import inf

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from autopilot.http.fetch import FetchedResponse
from autopilot.routing.identity import Hasher, upstream_key
from autopilot.settings import Settings
from autopilot.state.edge_account import EdgeConfig
from autopilot.state.edge_lease import LeasingGovernor
from autopilot.state.edge_limit import EdgeGovernor
from autopilot.web.status.edge import EdgeKeyNow, EdgeNow
from autopilot.wiring.edge import GovernedApi, edge_now, gauges_of, governor_of, rules_of
from autopilot.wiring.role import Place

KEY, OTHER = b"k" * 16, b"o" * 16


class EdgeTests(SynchronousTestCase):
    """The places of processes."""

    def test_places(self) -> None:
        """Workers lease from the parent, which keeps a second's calls out of its burst."""
        settings = Settings(edge_rate=120)
        for place, kind, burst in (
            (Place.SINGLE, EdgeGovernor, 120),
            (Place.PARENT, EdgeGovernor, 118),
            (Place.WORKER, LeasingGovernor, 120),
        ):
            self.assertIs(type(governor_of(place, settings, Clock())), kind)
            rules = rules_of(place, settings)
            self.assertAlmostEqual(rules.most * rules.burst, burst)


class GovernedApiTests(SynchronousTestCase):
    """The router's own calls."""

    def setUp(self) -> None:
        """Permit two calls a minute."""
        self.governor = EdgeGovernor(Clock(), EdgeConfig(2.0, 2.0))
        self.governed = True
        self.api = GovernedApi(self.governor, lambda: self.governed, Hasher(b"k"))
        self.asked: list[tuple[str, str]] = []
        self.answer = FetchedResponse(200, b"{}")
        self.ask = self.api.paced(self.fetch)

    def fetch(self, url: str, authorization: str) -> Deferred[FetchedResponse]:
        """Answer a call."""
        self.asked.append((url, authorization))
        return succeed(self.answer)

    def test_without_a_key(self) -> None:
        """Evidence counts to the address, and waits without a token."""
        self.assertEqual([self.api.may_fetch() for _ in range(3)], [True, True, False])
        self.governed = False
        self.assertTrue(self.api.may_fetch())

    def test_with_a_key(self) -> None:
        """A discovery counts to the key of its request, whose own calls it leaves fewer of."""
        for status in (200, 200, 429):
            response = self.successResultOf(self.ask("u", "Bearer x"))
            self.assertEqual(response.status, status)
        self.assertEqual(self.asked, [("u", "Bearer x")] * 2)
        key = upstream_key("x", None, None, Hasher(b"k"))
        self.assertFalse(self.governor.draw(key))
        self.assertTrue(self.api.may_fetch())
        self.governed = False
        self.assertEqual(self.successResultOf(self.ask("u", "Bearer x")).status, 200)

    def test_page(self) -> None:
        """The edge's page bans the key; another 429 does not."""
        self.answer = FetchedResponse(429, b'{"detail":"Rate limit exceeded"}')
        self.successResultOf(self.ask("u", "x"))
        self.assertEqual(self.governor.banned, 0)
        self.answer = FetchedResponse(429, b"<html>", Headers({"Content-Type": ["text/html"]}))
        self.successResultOf(self.ask("u", "x"))
        self.assertEqual(self.governor.banned, 1)
        self.assertEqual(self.successResultOf(self.ask("u", "x")).body, b"")


class EdgeNowTests(SynchronousTestCase):
    """What the page shows."""

    def test_off(self) -> None:
        """Nothing, where nothing is governed."""
        settings = Settings(edge_rate="off")
        governor = governor_of(Place.SINGLE, settings, Clock())
        self.assertIsNone(edge_now(governor, settings))

    def test_state(self) -> None:
        """Those that wait, the bans, and the key with fewest calls left."""
        settings = Settings(edge_rate=2)
        clock = Clock()
        governor = governor_of(Place.SINGLE, settings, clock)
        clock.advance(60.0)  # what was sent before the start no longer counts
        self.assertEqual(edge_now(governor, settings), EdgeNow(0, 0, 0.0, 0.0, None))
        for _ in range(3):
            governor.begin(governor.permit(KEY, lambda: None), lambda: b"")
        governor.page(governor.permit(OTHER, lambda: None), 300.0)
        k, other = KEY[:6].hex(), OTHER[:6].hex()
        keys = EdgeKeyNow(k, 2, 1.0, 0, 1, 0.0), EdgeKeyNow(other, 2, 1.0, 2, 0, 300.0)
        self.assertEqual(edge_now(governor, settings), EdgeNow(1, 1, 300.0, 0.0, 0, keys))
        read = gauges_of(governor, lambda: settings)
        self.assertEqual([each.samples() for each in read], [[({}, 1)], [({}, 1)], [({}, 0)]])
        governor.close()

    def test_unlimited(self) -> None:
        """A key without a limit has no number of calls left, and comes last."""
        settings = Settings(edge_rate="auto")
        governor = governor_of(Place.SINGLE, settings, Clock())
        governor.stated(KEY, inf)
        governor.page(governor.permit(KEY, lambda: None), 300.0)
        governor.draw(OTHER)
        now = edge_now(governor, settings)
        assert now is not None
        self.assertEqual(now.fewest_left, 0)
        self.assertEqual(
            [(each.per_minute, each.left) for each in now.keys], [(60, 0), (None, None)]
        )

    def test_gauges_of_nothing(self) -> None:
        """Where nothing is governed, no request waits, and no key is short."""
        settings = Settings(edge_rate="off")
        governor = governor_of(Place.SINGLE, settings, Clock())
        read = gauges_of(governor, lambda: settings)
        self.assertEqual([each.samples() for each in read], [[({}, 0)], [({}, 0)], []])
