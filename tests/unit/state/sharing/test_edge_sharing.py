"""Tests of limits that routers share over a store in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.edge_circuit import EdgeBan
from autopilot.routing.edge_shares import Report, SharedBucket, renewed
from autopilot.state.edge_account import ADDRESS, Admission, EdgeConfig, EdgePermit
from autopilot.state.edge_shares import SharingGovernor
from autopilot.state.sharing.edge_sharing import EdgeSharing, decode, encode
from autopilot.state.sharing.store import Store, StoreAccess
from stub_backend.edge import Edge
from stub_backend.log import Received
from tests.unit.state.sharing.servers import Server

K, L = b"k" * 16, b"l" * 16


@dataclass
class Router:
    """A router, and the calls that it made."""

    governor: SharingGovernor
    sharing: EdgeSharing
    store: Store
    sent: int = 0
    refused: int = 0
    banned: int = 0
    open: list[EdgePermit] = field(default_factory=list)


class Replicas:
    """Routers with one store, in front of one edge."""

    def __init__(self, number: int = 2) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.server = Server(self.clock)
        self.edge = Edge(60)
        self.pages = 0
        self.routers = [self.add() for _ in range(number)]

    def add(self) -> Router:
        """Start a router."""
        store = Store(self.clock, self.server, StoreAccess(), lambda: 0.5, self.clock.seconds)
        governor = SharingGovernor(self.clock, EdgeConfig(), started=self.clock.seconds())
        sharing = EdgeSharing(self.clock, store, governor)
        sharing.start()
        store.start()
        self.pass_time(1.0)
        return Router(governor, sharing, store)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        step = 0.05 if seconds < 3.0 else 0.25
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            for _ in range(4):
                self.clock.advance(0)

    def stop(self, router: Router) -> None:
        """Stop a router as asked."""
        router.sharing.stop()
        self.pass_time(0.1)
        self.crash(router)

    def crash(self, router: Router) -> None:
        """End a router, whose store learns nothing of it."""
        if router.sharing._ticking.running:
            router.sharing._ticking.stop()
        router.store.stop()
        router.governor.close()
        self.pass_time(0.1)

    def call(
        self, router: Router, key: bytes = K, pace: float = 2.0, *, open_: bool = False
    ) -> None:
        """Ask for a first call, which gives up after ``pace`` seconds."""

        def sent() -> None:
            if timer.active():
                timer.cancel()
            if permit.banned:
                router.banned += 1
                router.governor.close_permit(permit)
                return
            router.sent += 1
            if open_:
                router.open.append(permit)
                return
            head = (("authorization", f"Bearer {key.hex()}"),)
            call = Received(1, self.clock.seconds(), "POST", "/", head, b"", 0, "")
            if self.edge.admit(call) is None:
                router.governor.answered(permit)
            else:
                self.pages += 1
                router.governor.page(permit, None)
            router.governor.close_permit(permit)

        def gave_up() -> None:
            router.refused += 1
            router.governor.give_up(permit)

        permit: EdgePermit = router.governor.permit(key, sent)
        timer = self.clock.callLater(pace, gave_up)
        admission = router.governor.begin(permit, lambda: b"")
        if admission is Admission.SENT:
            sent()
        elif admission is Admission.BANNED:
            timer.cancel()
            router.banned += 1

    def shares(self, key: bytes = K) -> list[float]:
        """Return the share of each router."""
        return [each.governor.has(key) for each in self.routers]


class SharingTestCase(SynchronousTestCase):
    """Two routers, which leave nothing behind."""

    def setUp(self) -> None:
        """Start them."""
        self.replicas = Replicas()
        self.one, self.two = self.replicas.routers
        self.pass_time = self.replicas.pass_time
        self.call = self.replicas.call

    def tearDown(self) -> None:
        """Stop them."""
        for router in self.replicas.routers:
            self.replicas.stop(router)
        self.pass_time(3.0)
        self.assertEqual(self.replicas.clock.getDelayedCalls(), [])

    def calls(self, router: Router, number: int, key: bytes = K, pace: float = 2.0) -> int:
        """Ask for calls, and return how many are made within a moment."""
        before = router.sent
        for _ in range(number):
            self.call(router, key, pace)
        self.pass_time(0.1)
        return router.sent - before


class ShareTests(SharingTestCase):
    """Who gets how much."""

    def test_alone(self) -> None:
        """A router that alone uses a key has all of it, and its burst, after a reply."""
        self.assertEqual(self.one.governor.replicas, 2)
        self.call(self.one)
        self.assertEqual(self.one.sent, 0)
        self.pass_time(0.05)
        self.assertEqual((self.one.sent, self.replicas.shares()), (1, [1.0, 0.0]))
        self.assertEqual(self.calls(self.one, 70), 59)

    def test_both(self) -> None:
        """Another one gets half of it at once, and half of the tokens in the bucket."""
        self.assertEqual(self.calls(self.one, 20), 20)
        self.assertEqual(self.calls(self.two, 1), 1)
        self.assertEqual(self.replicas.shares(), [0.5, 0.5])
        self.assertEqual([self.calls(each, 30) for each in (self.two, self.one)], [19, 20])
        self.assertEqual(self.replicas.pages, 0)

    def test_idle(self) -> None:
        """What is not used for some seconds belongs to the other one again."""
        self.calls(self.one, 1)
        self.calls(self.two, 1)
        for _ in range(20):
            self.call(self.one)
            self.pass_time(0.5)
        self.assertEqual(self.replicas.shares(), [1.0, 0.0])
        self.pass_time(20.0)
        self.assertEqual(self.replicas.shares(), [0.0, 0.0])
        self.assertEqual(self.calls(self.two, 70), 60)

    def test_five(self) -> None:
        """Five routers have a fifth each, within a second."""
        for _ in range(3):
            self.replicas.routers.append(self.replicas.add())
        for router in self.replicas.routers:
            self.call(router)
        self.pass_time(1.0)
        for share in self.replicas.shares():
            self.assertAlmostEqual(share, 0.2)
        self.assertEqual([each.sent for each in self.replicas.routers], [1] * 5)

    def test_restart(self) -> None:
        """A router that is restarted gets what its predecessor has left, and no burst."""
        self.calls(self.one, 60)
        self.replicas.stop(self.one)
        self.replicas.routers[0] = self.one = self.replicas.add()
        self.assertLessEqual(self.calls(self.one, 60, pace=0.01), 3)
        self.replicas.crash(self.one)
        self.replicas.routers[0] = self.one = self.replicas.add()
        self.assertEqual(self.calls(self.one, 60, pace=0.01), 0)
        self.pass_time(6.0)
        self.call(self.one)
        self.pass_time(2.0)
        self.assertEqual(self.one.sent, 1)
        self.assertEqual(self.replicas.pages, 0)

    def test_minute(self) -> None:
        """Three hundred calls at two routers: as many as one may send are, and no page comes."""
        for number in range(300):
            self.call(self.one if number % 3 else self.two)
            self.pass_time(0.2)
        self.pass_time(3.0)
        sent = self.one.sent + self.two.sent
        self.assertEqual(self.replicas.pages, 0)
        self.assertEqual(sent + self.one.refused + self.two.refused, 300)
        # What one governor sends of the same: a burst, and a call for each of 62 seconds.
        self.assertTrue(113 <= sent <= 122, sent)

    def test_own_calls(self) -> None:
        """Calls of the router itself draw from its share of the address's."""
        self.assertEqual(self.replicas.shares(ADDRESS), [0.5, 0.5])
        drawn = [sum(each.governor.draw() for _ in range(70)) for each in (self.one, self.two)]
        self.assertLessEqual(sum(drawn), 60)
        self.assertGreater(min(drawn), 25)


class StoreTests(SharingTestCase):
    """What the store can do."""

    def down(self) -> None:
        """Let the store go."""
        self.replicas.server.refused = True
        self.replicas.server.cut()
        self.pass_time(0.1)

    def test_gone(self) -> None:
        """The last shares stay; of another key each has its part; later all is as before."""
        self.pass_time(60.0)  # what was sent before the start no longer counts
        self.calls(self.one, 1)
        self.calls(self.two, 1)
        self.down()
        self.pass_time(20.0)
        self.assertEqual(self.replicas.shares(), [0.5, 0.5])
        self.assertEqual(
            [self.calls(each, 60, pace=0.5) for each in (self.one, self.two)], [30] * 2
        )
        self.assertEqual(
            [self.calls(each, 60, L, 0.5) for each in (self.one, self.two)],
            [30] * 2,
        )
        self.replicas.server.refused = False
        self.pass_time(5.0)
        self.calls(self.one, 1)
        self.calls(self.two, 1)
        self.pass_time(1.0)
        self.assertEqual(self.replicas.shares(), [0.5, 0.5])
        self.assertEqual(self.replicas.pages, 0)

    def test_gone_while_waiting(self) -> None:
        """Those that wait for a share do not wait for the store."""
        self.calls(self.one, 1)
        self.replicas.server.paused = True
        self.call(self.two, pace=9.0)
        self.pass_time(1.0)
        self.assertEqual(self.two.sent, 0)
        self.down()
        self.assertEqual(self.two.sent, 1)
        self.replicas.server.paused = False
        self.replicas.server.waiting.clear()

    def test_refused(self) -> None:
        """A store that executes no script is as good as none, until it does."""
        self.pass_time(60.0)
        self.calls(self.one, 1)
        self.replicas.server.errors[b"EVAL"] = b"NOPERM no"
        self.assertEqual(self.calls(self.two, 40, pace=0.5), 30)
        del self.replicas.server.errors[b"EVAL"]
        self.pass_time(12.0)
        self.calls(self.two, 1)
        self.assertEqual(self.replicas.shares()[1], 1.0)

    def test_lost_data(self) -> None:
        """Shares survive the loss of the store's data, and no router gets a token by it."""
        self.calls(self.one, 60, pace=0.01)
        self.calls(self.two, 1, pace=0.01)
        self.replicas.server.lose_data()
        self.assertLessEqual(self.calls(self.one, 60, pace=0.01), 1)
        self.pass_time(2.5)
        self.assertEqual(self.replicas.shares(), [0.5, 0.5])
        self.assertEqual(self.replicas.pages, 0)

    def test_bytes(self) -> None:
        """A bucket is itself again; other bytes are none."""
        ban = EdgeBan(60.0, 60.0, 2)
        bucket, _ = renewed(SharedBucket(), Report("1", 0.0, 1.0, ban=ban), 3.0)
        self.assertEqual(decode(encode(bucket)), bucket)
        for data in (b"", b"nonsense", encode(bucket)[:-1]):
            self.assertRaises(ValueError, decode, data)

    def test_nonsense(self) -> None:
        """A value or a message that makes no sense does no harm."""
        name = b"chutes-autopilot:edge:" + K.hex().encode()
        self.replicas.server.values[name] = b"nonsense"
        self.replicas.server.publish(b"chutes-autopilot:edge", b"")
        self.call(self.one)
        self.pass_time(1.5)
        self.assertEqual(self.one.sent, 1)


class BanTests(SharingTestCase):
    """What one router learns of the edge, all know."""

    def ban(self) -> None:
        """Let the first router get the edge's page; both use the key."""
        self.calls(self.one, 1)
        self.calls(self.two, 1)
        self.call(self.one, open_=True)
        permit = self.one.open.pop()
        self.one.governor.page(permit, None)
        self.one.governor.close_permit(permit)
        self.pass_time(0.2)

    def test_all_know(self) -> None:
        """Nothing is sent by any router, not by one that starts either, until the ban is over."""
        self.ban()
        self.replicas.routers.append(self.replicas.add())
        for router in self.replicas.routers:
            self.call(router)
            self.pass_time(0.2)
            self.assertEqual(router.banned, 1)

    def test_one_probe(self) -> None:
        """One request of all routers finds out; its answer lets all send again."""
        self.ban()
        self.pass_time(60.0)
        for router in (self.two, self.one, self.two, self.one):
            self.call(router, pace=30.0, open_=True)
            self.pass_time(0.2)
        self.assertEqual([len(each.open) for each in (self.one, self.two)], [0, 1])
        self.pass_time(20.0)  # it may take its time
        self.assertEqual([len(each.open) for each in (self.one, self.two)], [0, 1])
        self.two.governor.answered(self.two.open[0])
        self.pass_time(0.5)
        self.assertEqual([len(each.open) for each in (self.one, self.two)], [2, 2])
        self.assertEqual([each.governor.banned for each in (self.one, self.two)], [0, 0])

    def test_lost_probe(self) -> None:
        """If it saw nothing, or its router is gone, another one is made."""
        self.ban()
        self.pass_time(60.0)
        self.call(self.two, open_=True)
        self.pass_time(0.2)
        self.call(self.one, pace=30.0, open_=True)
        self.pass_time(0.2)
        self.two.governor.close_permit(self.two.open.pop())
        self.pass_time(2.5)
        self.assertEqual(len(self.one.open), 1)
        self.call(self.two, pace=60.0, open_=True)
        self.replicas.crash(self.one)
        self.pass_time(15.0)
        self.assertEqual(len(self.two.open), 1)

    def test_banned_again(self) -> None:
        """A probe that gets the page begins a ban twice as long, for all."""
        self.ban()
        self.pass_time(60.0)
        self.call(self.two, open_=True)
        self.pass_time(0.2)
        self.two.governor.page(self.two.open[0], None)
        self.two.governor.close_permit(self.two.open.pop())
        self.calls(self.one, 1)
        for router in (self.two, self.one):
            self.assertAlmostEqual(router.governor.banned_for(K), 120.0, 0)

    def test_found_without_the_store(self) -> None:
        """A ban that is found meanwhile reaches the other when the store is back."""
        self.calls(self.one, 1)
        self.calls(self.two, 1)
        self.replicas.server.refused = True
        self.replicas.server.cut()
        self.pass_time(0.1)
        self.call(self.one, open_=True)
        self.one.governor.page(self.one.open[0], 300.0)
        self.one.governor.close_permit(self.one.open.pop())
        self.assertEqual(self.two.governor.banned_for(K), 0.0)
        self.replicas.server.refused = False
        self.pass_time(5.0)
        self.assertGreater(self.two.governor.banned_for(K), 290.0)


class Traffic(RuleBasedStateMachine):
    """Routers that come and go, and a store that does; the edge never sends its page."""

    @initialize(number=st.integers(1, 3))
    def start(self, number: int) -> None:
        """Start routers."""
        self.replicas = Replicas(number)

    @rule(router=st.integers(0, 2), calls=st.integers(1, 50), key=st.sampled_from([K, L]))
    def calls(self, router: int, calls: int, key: bytes) -> None:
        """Let requests arrive."""
        running = self.replicas.routers
        for _ in range(calls):
            self.replicas.call(running[router % len(running)], key)

    @rule(seconds=st.sampled_from([0.05, 0.2, 1.0, 3.0, 9.0]))
    def time(self, seconds: float) -> None:
        """Let time pass."""
        self.replicas.pass_time(seconds)

    @rule(router=st.integers(0, 2))
    def restarts(self, router: int) -> None:
        """Restart a router as asked."""
        number = router % len(self.replicas.routers)
        self.replicas.stop(self.replicas.routers[number])
        self.replicas.routers[number] = self.replicas.add()

    @invariant()
    def bounded(self) -> None:
        """The shares are no more than the whole, and the edge is content."""
        for key in (K, L):
            assert sum(self.replicas.shares(key)) <= 1.0 + 1e-6
        assert self.replicas.pages == 0

    def teardown(self) -> None:
        """With time, all who use a key have the same, and nothing is left behind."""
        for _ in range(4):
            for router in self.replicas.routers:
                self.replicas.call(router)
            self.replicas.pass_time(1.0)
        shares = self.replicas.shares()
        assert max(shares) - min(shares) < 1e-6
        assert abs(sum(shares) - 1.0) < 1e-6
        for router in self.replicas.routers:
            self.replicas.stop(router)
        self.replicas.pass_time(3.0)
        assert self.replicas.clock.getDelayedCalls() == []


class TrafficTests(SynchronousTestCase):
    """Any traffic, and any restarts."""

    def test_any(self) -> None:
        """Together the routers send no more than one would."""
        run_state_machine_as_test(
            Traffic, settings=settings(max_examples=30, stateful_step_count=15, deadline=None)
        )
