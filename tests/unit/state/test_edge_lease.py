"""Tests of the calls that workers lease from their parent."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.edge_account import ADDRESS, Admission, EdgeConfig, EdgePermit
from autopilot.state.edge_lease import SPARE, Borrower, EdgeLender, LeasingGovernor, lending
from autopilot.state.edge_limit import EdgeGovernor
from autopilot.state.edge_notes import Note
from stub_backend.edge import Edge
from stub_backend.log import Received

K, L = b"k", b"l"


class Router:
    """A parent and its workers; messages arrive when `deliver` is called."""

    def __init__(self, workers: int = 2, rate: float = 60.0) -> None:
        self.clock = Clock()
        config = EdgeConfig(rate, rate)
        self.parent = EdgeGovernor(self.clock, lending(config))
        self.lender = EdgeLender(self.parent)
        self.workers: list[LeasingGovernor] = []
        self.borrowers: list[Borrower] = []
        self.mail: deque[tuple[int, bool, Note]] = deque()
        for _ in range(workers):
            self.add(config)

    def add(self, config: EdgeConfig) -> None:
        """Start a worker."""
        number, worker = len(self.workers), LeasingGovernor(self.clock, config)
        worker.send = lambda note: self.mail.append((number, True, note))
        self.workers.append(worker)
        self.borrowers.append(
            self.lender.join(lambda note: self.mail.append((number, False, note)))
        )

    def deliver(self) -> None:
        """Deliver all messages, and those that they cause."""
        while self.mail:
            number, up, note = self.mail.popleft()
            if up:
                self.lender.received(note, self.borrowers[number])
            else:
                self.workers[number].received(note)

    def pass_time(self, seconds: float, step: float = 0.1) -> None:
        """Let time pass."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.deliver()


class LeaseTests(SynchronousTestCase):
    """Two workers."""

    def setUp(self) -> None:
        """Start the router."""
        self.router = Router()
        self.resolved: list[str] = []

    def begin(
        self, worker: int = 0, key: bytes = K, name: str = "", talk: bytes = b""
    ) -> EdgePermit:
        """Ask for a first call."""
        governor = self.router.workers[worker]
        permit = governor.permit(key, lambda: self.resolved.append(name))
        if governor.begin(permit, lambda: talk) is Admission.SENT:
            self.resolved.append(name)
        return permit

    def spend(self, calls: int, worker: int = 0) -> None:
        """Make calls that need not wait for a token."""
        before = len(self.resolved)
        for _ in range(calls):
            permit = self.begin(worker)
            self.router.deliver()
            self.router.workers[worker].close_permit(permit)
        self.assertEqual(len(self.resolved) - before, calls)

    def test_first_and_spare(self) -> None:
        """The first call waits for the parent's word, the next ones do not."""
        self.begin()
        self.assertEqual(self.resolved, [])
        self.router.deliver()
        self.assertEqual(len(self.resolved), 1)
        self.begin()
        self.assertEqual(len(self.resolved), 2)

    def test_burst_of_all(self) -> None:
        """One worker may use the whole burst, and then both wait for the same tokens."""
        self.spend(59)
        self.begin(0, name="a")
        self.begin(1, name="b")
        self.router.deliver()
        self.router.pass_time(0.9)
        self.assertEqual(len(self.resolved), 59)
        self.router.pass_time(1.2)
        self.assertEqual(self.resolved[59:], ["a", "b"])

    def test_turns(self) -> None:
        """A flood on one worker does not delay a request on the other."""
        self.spend(59)
        for _ in range(20):
            self.begin(0, name="flood", talk=b"f")
        self.router.deliver()
        self.begin(1, name="user", talk=b"u")
        self.router.deliver()
        self.router.pass_time(2.1)
        self.assertIn("user", self.resolved[59:])

    def test_flood_on_all(self) -> None:
        """A conversation that floods all workers has one turn, not one at each of them."""
        self.spend(59)
        for number in range(80):
            self.begin(number % 2, name="flood", talk=b"f")
        self.router.pass_time(1.1)
        self.begin(0, name="user", talk=b"u")
        self.begin(1, name="other", talk=b"o")
        self.router.deliver()
        self.router.pass_time(3.1)
        self.assertEqual(sorted(self.resolved[-3:]), ["flood", "other", "user"])

    def test_given_back(self) -> None:
        """What a worker does not use for a second is the parent's again."""
        self.begin()
        self.router.deliver()
        self.assertEqual(self.router.parent.standing(1)[1].available, 59.0 - 1 - SPARE)
        self.router.pass_time(2.2)
        self.assertEqual(len(self.router.parent.standing(9)), 1)  # nothing is missing
        self.assertEqual([each.lent for each in self.router.borrowers], [{}, {}])
        self.assertEqual(self.router.clock.getDelayedCalls(), [])

    def test_gives_up(self) -> None:
        """Requests that leave the worker's queue leave the parent's."""
        self.spend(59)
        permits = [self.begin() for _ in range(5)]
        self.router.deliver()
        self.assertEqual(self.router.parent.waiting, 5)
        for permit in permits:
            self.router.workers[0].give_up(permit)
        self.router.deliver()
        self.assertEqual(self.router.parent.waiting, 0)

    def test_worker_ends(self) -> None:
        """A worker that ends waits for nothing, and takes along what it has."""
        self.spend(59)
        self.begin()
        self.router.deliver()
        self.router.lender.leave(self.router.borrowers[0])
        self.assertEqual(
            (self.router.parent.waiting, self.router.clock.getDelayedCalls()[1:]), (0, [])
        )

    def test_failover(self) -> None:
        """A further call is made with one that is ready, and else not at all."""
        permit = self.begin()
        self.router.deliver()
        self.assertTrue(self.router.workers[0].again(permit))
        self.spend(57)
        self.assertFalse(self.router.workers[0].again(permit))
        self.assertFalse(self.router.workers[0].may_follow(permit))

    def test_ban(self) -> None:
        """A page on one worker stops the other; one of them probes, and then both go on."""
        permit = self.begin(0)
        self.begin(1)
        self.router.deliver()
        self.router.workers[0].page(permit, None)
        self.router.workers[0].close_permit(permit)
        self.router.deliver()
        for worker in self.router.workers:
            banned = worker.permit(K, lambda: None)
            self.assertIs(worker.begin(banned, lambda: b""), Admission.BANNED)
        self.router.pass_time(60.2)
        self.resolved.clear()
        probe = self.begin(0, name="probe")
        self.begin(1, name="waits")
        self.router.deliver()
        self.assertEqual(self.resolved, ["probe"])
        self.router.workers[0].answered(probe)
        self.router.deliver()
        self.assertEqual(self.resolved, ["probe", "waits"])

    def test_probe_lost(self) -> None:
        """A probe that saw nothing leaves its place to the other worker's."""
        permit = self.begin(0)
        self.router.deliver()
        self.router.workers[0].page(permit, 1.0)
        self.router.deliver()
        self.router.pass_time(1.2)
        self.resolved.clear()
        probe = self.begin(0, name="probe")
        self.begin(1, name="next")
        self.router.deliver()
        self.assertEqual(self.resolved, ["probe"])
        self.router.workers[0].close_permit(probe)
        self.router.deliver()
        self.assertEqual(self.resolved, ["probe", "next"])

    def test_address(self) -> None:
        """A ban of the address is every worker's, also of one that starts during it."""
        permit = self.begin(0, ADDRESS)
        self.router.deliver()
        self.router.workers[0].page(permit, None)
        self.router.deliver()
        self.router.add(EdgeConfig())
        self.router.deliver()
        for worker in self.router.workers:
            banned = worker.permit(L, lambda: None)
            self.assertIs(worker.begin(banned, lambda: b""), Admission.BANNED)

    def test_stated(self) -> None:
        """What the platform states to one worker counts for all."""
        self.router.workers[0].stated(K, 600.0)
        self.router.workers[0].stated(K, 600.0)
        self.assertEqual(len(self.router.mail), 1)
        self.router.parent.configure(lending(EdgeConfig()))
        self.router.deliver()
        self.assertEqual(self.router.parent.standing(1)[0].per_minute, 60.0)
        self.spend(300, worker=1)


class _Machine(RuleBasedStateMachine):
    """Three workers under any traffic, with messages that are late."""

    def __init__(self) -> None:
        super().__init__()
        self.router = Router(3)
        self.edge = Edge(60)
        self.active: list[tuple[int, EdgePermit]] = []
        self.pages = 0

    def _send(self, worker: int, permit: EdgePermit) -> None:
        now = self.router.clock.seconds()
        call = Received(1, now, "POST", "/", (("authorization", "k"),), b"", 0, "")
        if self.edge.admit(call) is None:
            self.router.workers[worker].answered(permit)
        else:
            self.pages += 1

    def _arrive(self, worker: int, talk: int) -> None:
        governor = self.router.workers[worker]
        permit: EdgePermit = governor.permit(K, lambda: self._send(worker, permit))
        self.active.append((worker, permit))
        if governor.begin(permit, lambda: b"%d" % talk) is Admission.SENT:
            self._send(worker, permit)

    @rule(
        worker=st.integers(0, 2),
        count=st.integers(1, 30),
        talks=st.integers(1, 40),
        late=st.booleans(),
    )
    def arrive(self, worker: int, count: int, talks: int, late: bool) -> None:
        """Let requests of a few conversations arrive."""
        for number in range(count):
            self._arrive(worker, number % talks)
        if not late:
            self.router.deliver()

    @rule(index=st.integers(0, 99), calls=st.integers(1, 6))
    def fail_over(self, index: int, calls: int) -> None:
        """Let a request try to make further calls."""
        for _ in range(calls):
            if self.active:
                worker, permit = self.active[index % len(self.active)]
                if permit.waits_since is None and self.router.workers[worker].again(permit):
                    self._send(worker, permit)

    @rule(index=st.integers(0, 99), count=st.integers(1, 9))
    def leave(self, index: int, count: int) -> None:
        """Let requests end."""
        for _ in range(count):
            if self.active:
                worker, permit = self.active.pop(index % len(self.active))
                self.router.workers[worker].close_permit(permit)

    @rule(seconds=st.sampled_from((0.1, 0.5, 1.0, 3.0, 61.0)))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.router.clock.advance(seconds)
        self.router.deliver()

    @rule()
    def all_are_served(self) -> None:
        """With time, every request that waits is sent."""
        self.router.deliver()
        waiting = sum(each.waiting for each in self.router.workers)
        self.router.pass_time(waiting + 70.0, 1.0)
        assert sum(each.waiting for each in self.router.workers) == 0

    @invariant()
    def never_banned(self) -> None:
        """The edge has nothing to say."""
        assert self.pages == 0


class MachineTests(SynchronousTestCase):
    """Workers and parent under any traffic."""

    def test_machine(self) -> None:
        """No course of events gets a key banned, or leaves a request waiting without end."""
        run_state_machine_as_test(
            _Machine, settings=settings(max_examples=25, stateful_step_count=25, deadline=None)
        )
