"""Tests of the account's governor."""

from __future__ import annotations

from math import inf

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.edge_circuit import LONGEST_BAN
from autopilot.state.edge_account import ADDRESS, Admission, EdgeConfig, EdgePermit
from autopilot.state.edge_counts import BANNED, PASSED, REFUSED, WAITED, WITHHELD
from autopilot.state.edge_limit import EdgeGovernor
from stub_backend.edge import Edge
from stub_backend.log import Received

SENT, WAITS, IS_BANNED = Admission.SENT, Admission.WAITS, Admission.BANNED
K, L, M = b"k", b"l", b"m"


class Governed(SynchronousTestCase):
    """A governor on a clock, and what it resolved."""

    config = EdgeConfig()

    def setUp(self) -> None:
        """Make the governor."""
        self.clock = Clock()
        self.governor = EdgeGovernor(self.clock, self.config)
        self.resolved: list[str] = []

    def tearDown(self) -> None:
        """Leave no call of the clock behind once nothing waits."""
        self.governor.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def permit(self, key: bytes = K, name: str = "a") -> EdgePermit:
        """Return a permit."""
        return self.governor.permit(key, lambda: self.resolved.append(name))

    def begin(self, key: bytes = K, name: str = "a") -> tuple[EdgePermit, Admission]:
        """Ask for a first call; the first letter of its name is its conversation."""
        permit = self.permit(key, name)
        return permit, self.governor.begin(permit, name[:1].encode)

    def spend(self, key: bytes = K, calls: int = 60) -> None:
        """Use up a burst."""
        for _ in range(calls):
            permit, admission = self.begin(key)
            self.assertIs(admission, SENT)
            self.governor.close_permit(permit)

    def count(self, outcome: str) -> int:
        """Return how many calls had this outcome."""
        return self.governor.counts.calls.values[outcome,]


class LentTests(Governed):
    """Calls that are kept for workers."""

    def lend(self, calls: int) -> None:
        """Draw calls and keep them."""
        for _ in range(calls):
            self.assertTrue(self.governor.draw(K))
            self.governor.lend(K)

    def left(self) -> float:
        """Return the calls that others may make."""
        return self.governor.standing(1)[1].available

    def test_no_gain(self) -> None:
        """A full bucket does not fill while calls of it are lent, however often."""
        self.lend(4)
        self.assertEqual(self.left(), 56.0)
        for _ in range(8):
            self.clock.advance(0.5)
            self.lend(4)
            self.governor.give_back(K, 4)
            self.assertEqual(self.left(), 56.0)
        self.governor.give_back(K, 4)
        self.assertEqual(len(self.governor.standing(1)), 1)

    def test_made(self) -> None:
        """A call that was made fills up again, from then on."""
        self.lend(2)
        self.clock.advance(5.0)
        self.governor.made(K, 1)
        self.assertEqual(self.left(), 58.0)
        self.clock.advance(1.0)
        self.assertEqual(self.left(), 59.0)

    def test_given_back_to_those_who_wait(self) -> None:
        """A call that comes back is the next one's."""
        self.lend(60)
        self.assertIs(self.begin()[1], WAITS)
        self.governor.give_back(K, 1)
        self.assertEqual(self.resolved, ["a"])


class FirstTryTests(Governed):
    """First tries wait for their token."""

    def test_burst_and_wait(self) -> None:
        """A burst passes at once; what comes then waits a second each, in order."""
        self.spend()
        for name in ("a1", "a2"):
            self.assertIs(self.begin(name=name)[1], WAITS)
        self.assertEqual(self.governor.waiting, 2)
        self.clock.advance(0.999)
        self.assertEqual(self.resolved, [])
        self.clock.advance(0.001)
        self.assertEqual(self.resolved, ["a1"])
        self.clock.advance(1.0)
        self.assertEqual((self.resolved, self.governor.waiting), (["a1", "a2"], 0))
        self.assertEqual((self.count(PASSED), self.count(WAITED)), (60, 2))
        self.assertAlmostEqual(self.governor.counts.waits.sum, 3.0)

    def test_keys(self) -> None:
        """One key does not use the tokens of another; calls without a key share theirs."""
        self.spend(K)
        self.spend(L)
        self.spend(ADDRESS)
        self.assertIs(self.begin(ADDRESS)[1], WAITS)

    def test_behind_others(self) -> None:
        """A new request does not pass those that wait, even if a token comes in the same turn."""
        self.spend()
        self.begin(name="a1")
        self.clock.rightNow += 1.0  # the clock's calls have not run yet
        self.assertIs(self.begin(name="b1")[1], WAITS)
        self.clock.advance(0)
        self.assertEqual(self.resolved, ["a1"])

    def test_turns(self) -> None:
        """Conversations take turns."""
        self.spend()
        for name in ("a1", "a2", "a3", "b1"):
            self.begin(name=name)
        self.clock.pump([1.0] * 4)
        self.assertEqual(self.resolved, ["a1", "b1", "a2", "a3"])

    def test_refused(self) -> None:
        """One that gives up takes no token; its Retry-After is when those before it are through."""
        self.spend()
        first, second = self.begin(name="a1")[0], self.begin(name="a2")[0]
        self.assertEqual(self.governor.retry_after(second), 3)
        self.governor.give_up(first)
        self.clock.advance(1.0)
        self.assertEqual((self.resolved, self.count(REFUSED)), (["a2"], 1))

    def test_client_gone(self) -> None:
        """The last one that leaves takes the clock's call with it."""
        self.spend()
        permit, _ = self.begin()
        self.governor.close_permit(permit)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.governor.waiting, 0)

    def test_reload(self) -> None:
        """A higher limit lets those pass at once that wait."""
        self.spend()
        self.begin(name="a1")
        self.governor.configure(EdgeConfig(usual=inf))
        self.assertEqual(self.resolved, ["a1"])


class FurtherCallTests(Governed):
    """Failovers, repetitions, and calls of the router's own."""

    def test_without_a_token(self) -> None:
        """A further call is made with a token, or not at all."""
        self.spend(calls=58)
        permit, _ = self.begin()
        self.assertTrue(self.governor.may_follow(permit))
        self.assertTrue(self.governor.again(permit))
        self.assertFalse(self.governor.may_follow(permit))
        self.assertFalse(self.governor.again(permit))
        self.clock.advance(1.0)
        self.assertTrue(self.governor.again(permit))
        self.assertEqual(self.count(WITHHELD), 1)

    def test_looking_is_free(self) -> None:
        """To ask whether a call could follow takes no token."""
        permit, _ = self.begin()
        for _ in range(100):
            self.assertTrue(self.governor.may_follow(permit))
        self.spend(calls=59)

    def test_own_calls(self) -> None:
        """The router's own calls count to a key, by default to its address."""
        for _ in range(60):
            self.assertTrue(self.governor.draw())
        self.assertFalse(self.governor.draw())
        self.assertTrue(self.governor.draw(K))

    def test_first_tries_first(self) -> None:
        """While first tries wait, no token is left for others."""
        self.spend(calls=59)
        permit, _ = self.begin()
        self.begin(name="b1")
        self.clock.rightNow += 1.0
        self.assertFalse(self.governor.again(permit))
        self.clock.advance(0)
        self.assertEqual(self.resolved, ["b1"])


class StatedTests(Governed):
    """The limit that the platform states."""

    def test_number(self) -> None:
        """A stated number replaces the usual one, bursts included."""
        self.governor.stated(K, 3.0)
        self.spend(calls=3)
        self.assertIs(self.begin(name="a1")[1], WAITS)
        self.clock.advance(20.0)
        self.assertEqual(self.resolved, ["a1"])

    def test_none(self) -> None:
        """For a key without a limit nothing is counted, and those that wait are sent."""
        self.spend()
        self.begin(name="a1")
        self.governor.stated(K, inf)
        self.assertEqual(self.resolved, ["a1"])
        self.spend(calls=500)

    def test_number_before_none(self) -> None:
        """A number counts for an hour: a private chute's calls have no limit, the others do."""
        self.governor.stated(K, 60.0)
        self.governor.stated(K, inf)
        self.spend()
        self.assertIs(self.begin()[1], WAITS)
        self.clock.advance(3600.0)
        self.governor.stated(K, inf)
        self.spend(calls=500)

    def test_nonsense(self) -> None:
        """A limit of zero is no statement."""
        self.governor.stated(K, 0.0)
        self.spend()

    def test_cap(self) -> None:
        """A number of the operator caps what is stated."""
        self.governor.configure(EdgeConfig(most=10.0))
        self.governor.stated(K, 600.0)
        self.spend(calls=10)
        self.assertIs(self.begin()[1], WAITS)
        self.governor.stated(L, 5.0)
        self.spend(L, calls=5)
        self.assertIs(self.begin(L)[1], WAITS)


class BanTests(Governed):
    """The edge's page."""

    def page(self, key: bytes = K, told: float | None = None) -> None:
        """Let a call be answered with the page."""
        permit, admission = self.begin(key)
        self.assertIs(admission, SENT)
        self.governor.page(permit, told)
        self.governor.close_permit(permit)

    def test_not_one_call(self) -> None:
        """During the ban nothing is sent with the key; others are not affected."""
        self.page()
        permit = self.permit()
        for seconds in (0.0, 30.0, 29.9):
            self.clock.advance(seconds)
            permit, admission = self.begin()
            self.assertIs(admission, IS_BANNED)
            self.assertFalse(self.governor.again(permit))
            self.assertFalse(self.governor.draw(K))
        self.assertEqual(self.governor.retry_after(permit), 1)
        self.assertEqual((self.count(BANNED), self.governor.banned), (3, 1))
        self.assertIs(self.begin(L)[1], SENT)

    def test_those_that_wait(self) -> None:
        """Those that wait are refused at once, with the time that is left."""
        self.spend()
        waiting, _ = self.begin(name="a1")
        sent = self.permit()
        self.governor.page(sent, 300.0)
        self.assertEqual((self.resolved, waiting.banned), (["a1"], True))
        self.assertEqual(self.governor.retry_after(waiting), 300)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_probe(self) -> None:
        """After the ban one request is sent; when it is answered, those that waited are."""
        self.page()
        self.clock.advance(60.0)
        probe, admission = self.begin()
        self.assertIs(admission, SENT)
        self.assertIs(self.begin(name="a1")[1], WAITS)
        self.assertFalse(self.governor.draw(K))
        self.clock.advance(1.0)
        self.assertEqual(self.resolved, [])
        self.governor.answered(probe)
        self.assertEqual((self.resolved, self.governor.banned), (["a1"], 0))
        self.governor.answered(probe)
        self.assertIs(self.begin()[1], SENT)

    def test_probe_banned(self) -> None:
        """A page for the probe doubles the ban, up to a day."""
        self.page()
        for seconds in (60.0, 120.0, 240.0):
            self.clock.advance(seconds - 0.1)
            self.assertIs(self.begin()[1], IS_BANNED)
            self.clock.advance(0.2)
            self.page()
        seconds = 0
        for _ in range(10):
            self.clock.advance(seconds)
            permit, admission = self.begin()
            if seconds:
                self.assertIs(admission, SENT)
                self.governor.page(permit, None)
            seconds = self.governor.retry_after(permit)
        self.assertEqual(seconds, LONGEST_BAN)

    def test_probe_without_result(self) -> None:
        """A probe that saw nothing of the edge leaves its place to the next one."""
        self.page()
        self.clock.advance(60.0)
        probe, _ = self.begin()
        self.assertTrue(self.governor.again(probe))  # its own failover, which has seen nothing yet
        second, admission = self.begin(name="a1")
        self.assertIs(admission, WAITS)
        self.governor.close_permit(probe)
        self.assertEqual(self.resolved, ["a1"])
        self.assertIs(self.begin(name="a2")[1], WAITS)
        self.governor.answered(second)
        self.assertEqual(self.resolved, ["a1", "a2"])

    def test_late_pages(self) -> None:
        """Pages that answer calls from before the ban do not prolong it."""
        sent = [self.begin()[0] for _ in range(5)]
        for permit in sent:
            self.governor.page(permit, None)
            self.clock.advance(1.0)
        self.assertEqual(self.governor.retry_after(sent[0]), 55)
        self.governor.answered(sent[0])
        self.assertIs(self.begin()[1], IS_BANNED)

    def test_told(self) -> None:
        """The time that the page tells is the ban's."""
        self.page(told=7.0)
        self.clock.advance(6.9)
        self.assertIs(self.begin()[1], IS_BANNED)
        self.clock.advance(0.2)
        self.assertIs(self.begin()[1], SENT)

    def test_address(self) -> None:
        """A page for a call without a key bans the address, and so every key."""
        self.spend(M)
        self.begin(M, "m1")
        self.page(ADDRESS)
        self.assertEqual(self.resolved, ["m1"])
        self.assertIs(self.begin(K)[1], IS_BANNED)
        self.assertFalse(self.governor.draw())
        self.clock.advance(60.0)
        probe, admission = self.begin(K)
        self.assertIs(admission, SENT)
        self.assertIs(self.begin(L, "l1")[1], WAITS)
        self.governor.answered(probe)
        self.assertEqual(self.resolved, ["m1", "l1"])

    def test_several_keys(self) -> None:
        """Pages for three keys within a minute are the address's; two, or later ones, are not."""
        self.page(K)
        self.page(L)
        self.clock.advance(60.1)
        self.page(M)
        self.assertIs(self.begin(b"n")[1], SENT)
        self.page(K)
        self.assertIs(self.begin(b"n")[1], SENT)
        self.page(L)
        self.assertIs(self.begin(b"n")[1], IS_BANNED)

    def test_address_again(self) -> None:
        """A page for the request that probes the address bans it again."""
        self.page(ADDRESS)
        self.clock.advance(60.0)
        self.page(K)
        self.assertIs(self.begin(L)[1], IS_BANNED)
        self.clock.advance(60.0)
        self.assertIs(self.begin(L)[1], IS_BANNED)
        self.clock.advance(60.0)
        self.assertIs(self.begin(L)[1], SENT)

    def test_no_token_for_a_probe(self) -> None:
        """A probe needs a token, too."""
        self.governor.configure(EdgeConfig(most=1.0))
        self.page(told=30.0)
        self.clock.advance(30.0)
        self.assertIs(self.begin(name="a1")[1], WAITS)
        self.clock.advance(30.0)
        self.assertEqual(self.resolved, ["a1"])


class StartTests(SynchronousTestCase):
    """A router that starts, while the edge remembers what its predecessor sent."""

    def test_restarts(self) -> None:
        """However often it is restarted, a key sends no more than the edge permits."""
        clock, edge = Clock(), Edge(60)
        sent = 0
        for _ in range(5):
            governor = EdgeGovernor(clock, EdgeConfig(), started=clock.seconds())
            clock.advance(1.0)  # a router that starts has no request at once
            for _ in range(400):
                permit = governor.permit(K, lambda: None)
                if governor.begin(permit, lambda: b"") is SENT:
                    sent += 1
                    call = Received(1, clock.seconds(), "POST", "/", (), b"", 0, "")
                    self.assertIsNone(edge.admit(call))
                governor.close_permit(permit)
                clock.advance(0.1)
            governor.close()
            self.assertEqual(clock.getDelayedCalls(), [])
        self.assertGreater(sent, 200)

    def test_first_minute(self) -> None:
        """A key begins with one call, and a limit that is stated meanwhile adds none at once."""
        clock = Clock()
        governor = EdgeGovernor(clock, EdgeConfig(), started=0.0)
        self.assertTrue(governor.draw(K))
        self.assertFalse(governor.draw(K))
        governor.stated(K, 120.0)
        self.assertFalse(governor.draw(K))
        clock.advance(59.0)
        self.assertEqual(governor.standing(9)[1].available, 118.0)
        clock.advance(2.0)
        governor.stated(L, 120.0)
        self.assertEqual([governor.draw(L) for _ in range(121)].count(True), 120)


class BoundTests(Governed):
    """What is kept."""

    def test_keys(self) -> None:
        """The key used least recently makes room, but not one that waits or is banned."""
        self.governor = EdgeGovernor(self.clock, EdgeConfig(usual=1.0), max_keys=3)
        banned, _ = self.begin(K)
        self.governor.page(banned, None)
        self.begin(L)
        self.begin(L, "l1")
        for number in range(50):
            self.assertIs(self.begin(b"%d" % number)[1], SENT)
        self.assertIs(self.begin(K)[1], IS_BANNED)
        self.assertIs(self.begin(L)[1], WAITS)
        self.assertLessEqual(len(self.governor.standing(100)), 4)

    def test_all_pinned(self) -> None:
        """If all are banned, the oldest goes all the same."""
        self.governor = EdgeGovernor(self.clock, self.config, max_keys=9)
        for number in range(12):
            permit, _ = self.begin(b"%d" % number)
            self.governor.page(permit, None)
            self.governor.answered(self.begin(ADDRESS)[0])
        self.assertLessEqual(len(self.governor.standing(100)), 10)

    def test_standing(self) -> None:
        """The address and the keys that are short are shown, with what they have."""
        self.spend(K)
        self.begin(K)
        self.begin(M)
        self.clock.advance(0.5)
        address, last, first = self.governor.standing(10)
        self.assertEqual(address, (ADDRESS, 60.0, 60.0, 0, 0.0, 1.0))
        self.assertEqual((last.key, last.available, last.waiting), (M, 59.5, 0))
        self.assertEqual((first.key, first.available, first.waiting), (K, 0.5, 1))
        self.assertEqual(len(self.governor.standing(1)), 2)
        self.clock.pump([0.5, 100.0])
        self.assertEqual(len(self.governor.standing(10)), 1)
