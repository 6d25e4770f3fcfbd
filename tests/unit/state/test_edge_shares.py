"""Tests of a governor that has shares of limits; the store is in `sharing/test_edge_sharing`."""

from __future__ import annotations

from math import inf

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.edge_circuit import EdgeBan
from autopilot.state.edge_account import ADDRESS, Admission, EdgeConfig, EdgePermit
from autopilot.state.edge_shares import SharingGovernor

K = b"k"


class Asked:
    """A sharer that notes what it is asked for."""

    def __init__(self) -> None:
        self.available = True
        self.keys: set[bytes] = set()
        self.probes: list[bytes] = []
        self.ended: list[bool] = []
        self.bans: list[EdgeBan] = []

    def used(self, key: bytes) -> None:
        """See `Sharer`."""
        self.keys.add(key)

    def wants_probe(self, key: bytes) -> None:
        """See `Sharer`."""
        self.probes.append(key)

    def probed(self, key: bytes, *, is_over: bool) -> None:
        """See `Sharer`."""
        self.ended.append(is_over)

    def banned(self, key: bytes, ban: EdgeBan) -> None:
        """See `Sharer`."""
        self.bans.append(ban)


class SharingGovernorTests(SynchronousTestCase):
    """One router."""

    def setUp(self) -> None:
        """Make the governor."""
        self.clock = Clock()
        self.sharer = Asked()
        self.governor = SharingGovernor(self.clock, EdgeConfig())
        self.governor.sharer = self.sharer
        self.told: list[bytes] = []
        self.governor.ban_learned = self.told.append
        self.permits: list[EdgePermit] = []
        self.sent = 0
        self.addCleanup(self.close)

    def close(self) -> None:
        """Leave no call of the clock behind."""
        for permit in self.permits:
            self.governor.close_permit(permit)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def begin(self, key: bytes = K) -> Admission:
        """Ask for a first call."""

        def resolved() -> None:
            self.sent += not permit.banned

        permit = self.governor.permit(key, resolved)
        self.permits.append(permit)
        return self.governor.begin(permit, lambda: b"")

    def draw(self) -> int:
        """Draw whatever there is, and return how many calls."""
        return sum(self.governor.draw(K) for _ in range(100))

    def test_grant(self) -> None:
        """Without a share requests wait, and are sent once there is one, as far as it goes."""
        self.assertIs(self.begin(), Admission.WAITS)
        self.assertEqual((self.sharer.keys, self.governor.is_needed(K)), ({K}, True))
        self.assertFalse(self.governor.draw(K))
        self.governor.grant(K, 0.0, 0.0)
        self.assertEqual(self.sent, 0)
        self.governor.grant(K, 0.5, 0.25)
        self.assertEqual((self.sent, self.governor.has(K)), (1, 0.5))
        self.assertEqual(self.draw(), 14)
        self.clock.advance(10.0)
        self.assertEqual(self.draw(), 5)

    def test_grow_and_shrink(self) -> None:
        """Growing adds what comes with it; shrinking returns what is in the rest."""
        self.governor.grant(K, 0.5, 0.25)
        self.governor.grant(K, 1.0, 0.25)
        self.assertAlmostEqual(self.governor.lower(K, 0.25), 0.375)
        self.assertEqual(self.governor.lower(K, 0.25), 0.0)
        self.assertEqual(self.draw(), 7)
        self.governor.grant(K, 0.125, 0.0)
        self.assertAlmostEqual(self.governor.lower(K, 0.0), 0.5 / 60 / 2)
        self.assertEqual(self.governor.has(K), 0.0)

    def test_without(self) -> None:
        """With nowhere to ask, it has its part, of which nothing is added by a later share."""
        self.governor.replicas = 3
        self.sharer.available = False
        self.assertIs(self.begin(), Admission.SENT)
        self.assertEqual(self.draw(), 19)
        self.governor.replicas = 1
        self.assertEqual(self.draw(), 0)
        self.sharer.available = True
        self.governor.grant(K, 1.0, 1.0)
        self.assertEqual(self.draw(), 0)

    def test_retry(self) -> None:
        """Those that wait for a share are sent once there is nowhere to ask."""
        self.assertIs(self.begin(), Admission.WAITS)
        self.sharer.available = False
        self.governor.retry(K)
        self.assertEqual(self.sent, 1)

    def test_unlimited(self) -> None:
        """A key without a limit needs no share."""
        self.governor.stated(K, inf)
        self.assertIs(self.begin(), Admission.SENT)
        self.governor.grant(K, 0.5, 0.5)
        self.assertEqual((self.sharer.keys, self.governor.lower(K, 0.0)), (set(), 0.0))
        self.assertEqual(self.draw(), 100)

    def test_without_a_sharer(self) -> None:
        """It governs by itself."""
        self.governor.sharer = None
        self.assertEqual(self.draw(), 60)
        self.governor.page(self.governor.permit(K, lambda: None), 1.0)
        self.clock.advance(1.0)
        self.assertIs(self.begin(), Admission.SENT)
        self.governor.answered(self.permits[-1])
        self.assertEqual(self.governor.banned, 0)

    def test_ban_is_told(self) -> None:
        """It reports a ban of a key, but not one of the address, nor one known already."""
        self.governor.page(self.governor.permit(K, lambda: None), 300.0)
        self.governor.page(self.governor.permit(K, lambda: None), 400.0)
        self.governor.page(self.governor.permit(ADDRESS, lambda: None), 300.0)
        self.assertEqual([each.seconds for each in self.sharer.bans], [300.0])
        self.assertEqual(self.told, [])

    def test_ban_is_learned(self) -> None:
        """Requests that wait are refused, and workers learn of it, until another has ended it."""
        self.assertIs(self.begin(), Admission.WAITS)
        for _ in range(2):
            self.governor.learn(K, EdgeBan(60.0, 60.0))
        self.assertEqual((self.told, self.permits[0].banned), ([K], True))
        self.assertIs(self.begin(), Admission.BANNED)
        self.governor.grant(K, 1.0, 1.0)
        self.clock.advance(60.0)
        self.assertIs(self.begin(), Admission.WAITS)
        self.assertEqual(self.sharer.probes[-1], K)
        self.governor.clear(K)
        self.governor.clear(K)
        self.assertEqual((self.sent, self.governor.banned), (1, 0))

    def test_probe(self) -> None:
        """One may probe if this router may; it reports how that ended."""
        self.governor.grant(K, 1.0, 1.0)
        self.governor.learn(K, EdgeBan(0.0, 60.0))
        for is_over in (False, True):
            self.assertIs(self.begin(), Admission.WAITS)
            self.governor.may_probe(K, may=True)
            self.assertTrue(self.governor.is_needed(K))
            self.assertIs(self.begin(), Admission.WAITS)
            self.governor.close_permit(self.permits.pop())
            if is_over:
                self.governor.answered(self.permits[-1])
            self.governor.close_permit(self.permits[-1])
            self.governor.may_probe(K, may=False)
        self.assertEqual((self.sharer.ended, self.sent), ([False, True], 2))

    def test_probe_without_the_store(self) -> None:
        """Each router finds out for itself then."""
        self.sharer.available = False
        self.governor.learn(K, EdgeBan(0.0, 60.0))
        self.assertIs(self.begin(), Admission.SENT)
