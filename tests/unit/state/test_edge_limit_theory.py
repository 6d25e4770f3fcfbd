"""What the governor promises of a minute's traffic, beside the stub's edge."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.edge_account import Admission, EdgeConfig, EdgePermit
from autopilot.state.edge_limit import EdgeGovernor
from stub_backend.edge import Edge
from stub_backend.log import Received


def _call(key: str, at: float) -> Received:
    return Received(1, at, "POST", "/", (("authorization", f"Bearer {key}"),), b"", 0, "")


@dataclass
class Traffic:
    """Requests through the governor to the edge; each gives up after ``pace`` seconds."""

    pace: float = 2.0
    clock: Clock = field(default_factory=Clock)
    edge: Edge = field(default_factory=lambda: Edge(60))
    waits: dict[str, list[float]] = field(default_factory=dict)
    refused: int = 0
    pages: int = 0

    def __post_init__(self) -> None:
        """Make the governor."""
        self.governor = EdgeGovernor(self.clock, EdgeConfig())

    def request(self, conversation: str = "a", key: str = "k") -> None:
        """Let a request arrive."""
        arrived = self.clock.seconds()

        def sent() -> None:
            if timer.active():
                timer.cancel()
            self.waits.setdefault(conversation, []).append(self.clock.seconds() - arrived)
            if self.edge.admit(_call(key, self.clock.seconds())) is None:
                self.governor.answered(permit)
            else:
                self.pages += 1
                self.governor.page(permit, None)
            self.governor.close_permit(permit)

        def gave_up() -> None:
            self.refused += 1
            self.governor.give_up(permit)

        permit: EdgePermit = self.governor.permit(key.encode(), sent)
        timer = self.clock.callLater(self.pace, gave_up)
        if self.governor.begin(permit, conversation.encode) is Admission.SENT:
            sent()

    def run(self, seconds: float, step: float = 0.02) -> None:
        """Let time pass."""
        self.clock.pump([step] * round(seconds / step))


class MinuteTests(SynchronousTestCase):
    """Three hundred requests within a minute, at sixty a minute."""

    def arrive(self, traffic: Traffic) -> None:
        """Let five requests a second arrive."""
        for number in range(300):
            traffic.clock.callLater(number / 5, traffic.request)
        traffic.run(60.0)

    def test_patient(self) -> None:
        """With patience all are sent; each waits as theory says, within 1 %."""
        traffic = Traffic(pace=600.0)
        self.arrive(traffic)
        traffic.run(240.0)
        theory = [max(0.0, n - 59 - n / 5) for n in range(300)]
        waits = traffic.waits["a"]
        self.assertEqual((len(waits), traffic.pages, traffic.refused), (300, 0, 0))
        self.assertLess(abs(sum(waits) / sum(theory) - 1), 0.01)
        self.assertLess(max(abs(a - b) for a, b in zip(waits, theory, strict=True)), 0.1)
        self.assertEqual(traffic.edge.as_json()[0]["bans"], 0)

    def test_usual_patience(self) -> None:
        """With two seconds, as many are sent as the edge permits, and the others are refused."""
        traffic = Traffic()
        self.arrive(traffic)
        traffic.run(3.0)
        sent = len(traffic.waits["a"])
        self.assertEqual((sent + traffic.refused, traffic.pages), (300, 0))
        # A burst, and a token for each of the sixty-two seconds in which requests waited.
        self.assertTrue(120 <= sent <= 122, sent)
        self.assertLessEqual(max(traffic.waits["a"]), 2.0)

    def test_beside_it(self) -> None:
        """A client that sends the same by itself is banned, for longer each time."""
        edge = Edge(60)
        pages = [edge.admit(_call("k", number / 5)) for number in range(300)]
        self.assertEqual(pages.index(next(filter(None, pages))), 76)
        self.assertEqual(edge.as_json()[0]["ban_seconds"], 86_400.0)

    def test_two_keys(self) -> None:
        """A key is not delayed by what another one sends."""
        traffic = Traffic()
        for number in range(300):
            traffic.clock.callLater(number / 5, traffic.request)
        for number in range(50):
            traffic.clock.callLater(number, traffic.request, "b", "l")
        traffic.run(60.0)
        self.assertEqual((traffic.waits["b"], traffic.pages), ([0.0] * 50, 0))


class FairnessTests(SynchronousTestCase):
    """A flood and a single user with the same key."""

    def test_flood(self) -> None:
        """Each request of the single user is sent within two tokens, whatever the flood sends."""
        traffic = Traffic()
        for number in range(1200):
            traffic.clock.callLater(number / 10, traffic.request, "flood")
        for number in range(20):
            traffic.clock.callLater(20 + 5 * number + 0.03, traffic.request, "user")
        traffic.run(123.0, 0.05)
        self.assertEqual((len(traffic.waits["user"]), traffic.pages), (20, 0))
        self.assertLess(max(traffic.waits["user"]), 2.0)
        # The last of the flood gives up after 121.9 seconds.
        self.assertEqual(len(traffic.waits["user"]) + len(traffic.waits["flood"]), 60 + 121)

    def test_equal(self) -> None:
        """Conversations of equal demand get equally much."""
        traffic = Traffic(pace=30.0)
        traffic.governor.stated(b"k", 60.0)
        for number in range(600):
            traffic.clock.callLater(number / 10, traffic.request, f"c{number % 5}")
        traffic.run(60.0, 0.05)
        sent = sorted(len(each) for each in traffic.waits.values())
        self.assertEqual((len(sent), sent[-1] - sent[0]), (5, 1))


class _Machine(RuleBasedStateMachine):
    """Requests that arrive, fail over and leave, while time passes and the router restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.edge = Edge(60)
        self.governor = EdgeGovernor(self.clock, EdgeConfig(), max_keys=3)
        self.active: list[tuple[str, EdgePermit]] = []
        self.pages = 0

    def _send(self, key: str, permit: EdgePermit) -> None:
        if self.edge.admit(_call(key, self.clock.seconds())) is None:
            self.governor.answered(permit)
        else:
            self.pages += 1
            self.governor.page(permit, None)

    @rule(key=st.sampled_from("kl"), talk=st.sampled_from((b"a", b"b")), count=st.integers(1, 40))
    def arrive(self, key: str, talk: bytes, count: int) -> None:
        """Let requests arrive at once."""
        for _ in range(count):
            self._arrive(key, talk)

    def _arrive(self, key: str, talk: bytes) -> None:
        permit: EdgePermit = self.governor.permit(key.encode(), lambda: self._send(key, permit))
        if self.governor.begin(permit, lambda: talk) is Admission.SENT:
            self._send(key, permit)
        self.active.append((key, permit))

    @rule(index=st.integers(0, 99), calls=st.integers(1, 9))
    def fail_over(self, index: int, calls: int) -> None:
        """Let a request try to make further calls."""
        if not self.active:
            return
        key, permit = self.active[index % len(self.active)]
        for _ in range(calls):
            if permit.waits_since is None and self.governor.again(permit):
                self._send(key, permit)

    @rule(index=st.integers(0, 99))
    def leave(self, index: int) -> None:
        """Let a request end, whatever it does."""
        if self.active:
            self.governor.close_permit(self.active.pop(index % len(self.active))[1])

    @rule(seconds=st.sampled_from((0.0, 0.1, 0.5, 1.0, 7.0, 61.0)))
    def wait(self, seconds: float) -> None:
        """Let time pass, in one step, as on a machine that was held."""
        self.clock.advance(seconds)

    @rule(down=st.sampled_from((1.0, 5.0, 61.0)))
    def restart(self, down: float) -> None:
        """Let the router start anew, knowing nothing, after at least a second."""
        for _, permit in self.active:
            self.governor.close_permit(permit)
        self.active.clear()
        self.governor.close()
        self.clock.advance(down)
        now = self.clock.seconds()
        self.governor = EdgeGovernor(self.clock, EdgeConfig(), max_keys=3, started=now)

    @rule(key=st.sampled_from("kl"), limit=st.sampled_from((30.0, 60.0)))
    def state(self, key: str, limit: float) -> None:
        """Let the platform state a limit that is not above its own."""
        self.governor.stated(key.encode(), limit)

    @invariant()
    def never_banned(self) -> None:
        """The edge has nothing to say."""
        assert self.pages == 0

    @invariant()
    def nobody_forgotten(self) -> None:
        """Those that wait are those that wait; a call of the clock is due for each key of them."""
        waiting = [key for key, permit in self.active if permit.waits_since is not None]
        assert self.governor.waiting == len(waiting)
        assert len(self.clock.getDelayedCalls()) == len(set(waiting))


class MachineTests(SynchronousTestCase):
    """The governor under any traffic."""

    def test_machine(self) -> None:
        """No course of events gets a key banned, or leaves a request waiting without end."""
        run_state_machine_as_test(
            _Machine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
        )
