"""Tests of the governor of each process."""

from __future__ import annotations

from math import inf

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from autopilot.http.fetch import FetchedResponse
from autopilot.routing.identity import Hasher, upstream_key
from autopilot.settings import Settings
from autopilot.state.edge_account import Admission, EdgeConfig
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
        """Permit two calls a minute, for which a call waits ten seconds."""
        self.clock = Clock()
        self.governor = EdgeGovernor(self.clock, EdgeConfig(2.0, 2.0))
        self.governed = True
        self.api = GovernedApi(
            self.clock, self.governor, lambda: self.governed, Hasher(b"k"), lambda: 10.0
        )
        self.key = upstream_key("Bearer x", None, None, Hasher(b"k"))
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

    def bans(self, **fields: str) -> None:
        """Answer with the edge's page from now on."""
        types = {"Content-Type": "text/html", **fields}
        headers = Headers({name: [value] for name, value in types.items()})
        self.answer = FetchedResponse(429, b"<html>", headers)

    def test_with_a_key(self) -> None:
        """A discovery counts to the key of its request, whose own calls it leaves fewer of."""
        for _ in range(2):
            self.assertEqual(self.successResultOf(self.ask("u", "Bearer x")).status, 200)
        self.assertEqual(self.asked, [("u", "Bearer x")] * 2)
        self.assertFalse(self.governor.draw(self.key))
        self.assertTrue(self.api.may_fetch())
        self.governed = False
        self.assertEqual(self.successResultOf(self.ask("u", "Bearer x")).status, 200)

    def test_turn(self) -> None:
        """Without a token it waits for its turn, for as long as a request may."""
        for _ in range(2):
            self.governor.draw(self.key)
        self.clock.advance(15.0)
        early = self.ask("u", "Bearer x")
        self.clock.advance(9.9)
        self.assertNoResult(early)
        self.assertEqual(self.governor.waiting, 1)
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(early).status, 429)
        late = self.ask("u", "Bearer x")
        self.clock.advance(5.0)
        self.assertEqual(self.successResultOf(late).status, 200)
        self.assertEqual((self.governor.waiting, self.clock.getDelayedCalls()), (0, []))

    def test_cancelled_turn(self) -> None:
        """A call that is cancelled while it waits leaves nothing behind."""
        for _ in range(2):
            self.governor.draw(self.key)
        turn = self.ask("u", "Bearer x")
        turn.cancel()
        self.failureResultOf(turn, CancelledError)
        self.assertEqual((self.governor.waiting, self.clock.getDelayedCalls()), (0, []))

    def test_ban_of_a_turn(self) -> None:
        """A ban ends the wait."""
        for _ in range(2):
            self.governor.draw(self.key)
        turn = self.ask("u", "Bearer x")
        self.governor.page(self.governor.permit(self.key, lambda: None), 60.0)
        self.assertEqual(self.successResultOf(turn).status, 429)
        self.assertEqual((self.asked, self.clock.getDelayedCalls()), ([], []))

    def test_page(self) -> None:
        """The edge's page bans the key for as long as it says; another 429 does not."""
        learned: list[bytes] = []
        self.governor.ban_learned = learned.append
        self.answer = FetchedResponse(429, b'{"detail":"Rate limit exceeded"}')
        self.successResultOf(self.ask("u", "x"))
        self.assertEqual((self.governor.banned, learned), (0, []))
        self.bans(**{"Retry-After": "600"})
        self.successResultOf(self.ask("u", "Bearer x"))
        self.assertEqual(self.governor.banned, 1)
        self.assertAlmostEqual(self.governor.banned_for(self.key), 600.0, delta=60.0)
        self.assertIn(self.key, learned)
        self.assertEqual(self.successResultOf(self.ask("u", "Bearer x")).body, b"")

    def test_probe(self) -> None:
        """A request that probes gets its discovery, which shows whether the ban is over."""
        self.bans()
        self.successResultOf(self.ask("u", "Bearer x"))
        for ends in (False, True):
            self.clock.advance(self.governor.banned_for(self.key) + 30.0)
            request = self.governor.permit(self.key, lambda: None)
            self.assertIs(self.governor.begin(request, lambda: b""), Admission.SENT)
            other = self.governor.permit(self.key, lambda: None)
            self.governor.begin(other, lambda: b"")  # it waits for the probe
            if ends:
                self.answer = FetchedResponse(200, b"{}")
            self.assertEqual(len(self.asked), 1 + ends)
            self.successResultOf(self.ask("u", "Bearer x"))
            self.assertEqual(len(self.asked), 2 + ends)
            self.assertEqual(self.governor.banned, not ends)
            for permit in (request, other):
                self.governor.close_permit(permit)

    def test_probe_of_others(self) -> None:
        """The probe of another key for the address is none of its own."""
        for key in (b"1", b"2", b"3"):  # so many at a time ban the address
            self.governor.page(self.governor.permit(key * 16, lambda: None), 60.0)
        self.clock.advance(100.0)
        probe = self.governor.permit(OTHER, lambda: None)
        self.governor.begin(probe, lambda: b"")
        turn = self.ask("u", "Bearer x")
        self.assertNoResult(turn)
        self.governor.answered(probe)
        self.assertEqual(self.successResultOf(turn).status, 200)

    def test_ban_of_the_address_during_a_probe(self) -> None:
        """A discovery does not stand in for a probe while the address is banned."""
        self.bans()
        self.successResultOf(self.ask("u", "Bearer x"))
        self.clock.advance(self.governor.banned_for(self.key) + 60.0)
        self.governor.begin(self.governor.permit(self.key, lambda: None), lambda: b"")
        for key in (b"1", b"2", b"3"):
            self.governor.page(self.governor.permit(key * 16, lambda: None), 60.0)
        self.assertEqual(self.successResultOf(self.ask("u", "Bearer x")).status, 429)
        self.assertEqual(len(self.asked), 1)

    def test_probe_that_fails(self) -> None:
        """A discovery that got no response lets another request probe."""
        self.bans()
        self.successResultOf(self.ask("u", "Bearer x"))
        self.clock.advance(self.governor.banned_for(self.key) + 30.0)
        request = self.governor.permit(self.key, lambda: None)
        self.governor.begin(request, lambda: b"")
        ask = self.api.paced(lambda url, authorization: fail(OSError()))
        self.failureResultOf(ask("u", "Bearer x"), OSError)
        self.governor.close_permit(request)
        self.clock.advance(30.0)
        another = self.governor.permit(self.key, lambda: None)
        self.assertIs(self.governor.begin(another, lambda: b""), Admission.SENT)


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
