"""Tests of what processes tell each other of their pools: all know of a refusal to one of them."""

from __future__ import annotations

from functools import partial

from msgspec import msgpack
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.retry_policy import Reply
from autopilot.upstream.key_pool import LONGEST_REST, NO_QUOTA, NOT_VALID, KeyPool
from autopilot.upstream.key_rests import KeyRests, Rest
from tests.unit.upstream.test_key_pool import key

_WALL = 1_800_000_000.0
_PAYMENT, _INVALID = Reply(402, "application/json"), Reply(401, "application/json")
_EDGE = Reply(429, "text/html")


class Process:
    """A process with a pool of two keys, and its peers."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.received = 0
        self.rests = KeyRests(lambda: self.pool)
        self.pool: KeyPool | None = KeyPool(
            map(key, "ab"), clock.seconds, lambda: _WALL, told=lambda rest: self.rests.told(rest)
        )

    def refused(self, reply: Reply, name: str = "a") -> None:
        """A request of this process is refused."""
        assert self.pool is not None
        leases = [self.pool.lend(None) for _ in "abab"]
        lease = next(each for each in leases if each is not None and each.name == name)
        lease.refused(reply, b"{}", switches=False)
        for each in leases:
            if each is not None:
                each.end()

    def resting(self) -> dict[str, tuple[str, float | None]]:
        """Return which keys rest, why, and for how long."""
        assert self.pool is not None
        return {each.name: (each.why, each.resting) for each in self.pool.now() if each.resting}


class End:
    """One end of a connection between two processes, as the one has it that owns it."""

    def __init__(self, owner: Process, other: Process) -> None:
        self._owner, self._other = owner, other
        self.back: End | None = None

    def send(self, report: bytes) -> None:
        """Let the other process receive it."""
        self._other.received += 1
        assert self.back is not None
        self._other.rests.received(report, self.back)


def connect(parent: Process, worker: Process) -> End:
    """Connect a worker that has just started, and return the parent's end."""
    here, there = End(parent, worker), End(worker, parent)
    here.back, there.back = there, here
    worker.rests.join(there)
    parent.rests.join(here, new=True)
    return here


class RestsTests(SynchronousTestCase):
    """A parent with two workers."""

    def setUp(self) -> None:
        """Connect them."""
        self.clock = Clock()
        self.parent, self.one, self.two = (Process(self.clock) for _ in range(3))
        self.ends = [connect(self.parent, each) for each in (self.one, self.two)]

    def test_all_know(self) -> None:
        """A key that one worker was refused with rests at all of them, and they lend another."""
        for reply, why, seconds in (
            (_PAYMENT, "quota", NO_QUOTA),
            (_INVALID, "invalid", NOT_VALID),
            (_EDGE, "edge", 60.0),
        ):
            self.setUp()
            self.one.refused(reply)
            for each in (self.one, self.parent, self.two):
                self.assertEqual(each.resting(), {"a": (why, seconds)})
            assert self.two.pool is not None
            names = [lease.name for _ in range(4) if (lease := self.two.pool.lend(None))]
            self.assertEqual(names, ["b"] * 4)
            self.clock.advance(seconds)
            for each in (self.one, self.parent, self.two):
                self.assertEqual(each.resting(), {})

    def test_once(self) -> None:
        """Requests that were under way tell nothing new, and nothing comes back to who told it."""
        assert self.one.pool is not None
        leases = [self.one.pool.lend(None) for _ in range(8)]
        for lease in leases:
            if lease is not None and lease.name == "a":
                self.clock.advance(0.1)
                lease.refused(_PAYMENT, b"{}", switches=False)
        self.assertEqual((self.one.received, self.parent.received, self.two.received), (0, 1, 1))
        self.clock.advance(10.0)
        self.two.pool = None  # a reload has taken the pool away
        self.one.refused(_INVALID, "b")
        self.assertEqual(self.parent.resting()["b"], ("invalid", NOT_VALID))

    def test_new_worker(self) -> None:
        """A worker that starts learns what stands; that one has ended changes nothing."""
        self.one.refused(_PAYMENT)
        self.clock.advance(100.0)
        self.parent.rests.leave(self.ends[0])
        late = Process(self.clock)
        connect(self.parent, late)
        self.assertEqual(late.resting(), {"a": ("quota", NO_QUOTA - 100.0)})
        self.two.refused(_EDGE, "b")
        self.assertEqual(late.resting()["b"], ("edge", 60.0))
        self.assertNotIn("b", self.one.resting())

    def test_other_keys(self) -> None:
        """A key is known by its account, so that a changed one under the same name serves."""
        assert self.one.pool is not None and self.two.pool is not None
        self.two.pool.configure([key("b"), key("c")])
        self.one.refused(_PAYMENT)
        self.assertEqual(self.two.resting(), {})
        secret = repr(list(self.one.pool.rests()))
        self.assertNotIn("cpk_", secret)

    def test_counted_once(self) -> None:
        """A refusal counts where it was, as metrics are summed over the workers."""
        self.one.refused(_PAYMENT)
        for each, count in ((self.one, 1), (self.two, 0)):
            assert each.pool is not None
            found = each.pool._counts.instruments(each.pool.resting)
            text = "".join(instrument.exposition() for instrument in found)
            self.assertEqual(text.count('pool_key_rests_total{key="a"'), count)
            self.assertIn('pool_key_resting{key="a"} 1.0', text)

    def test_reports(self) -> None:
        """Nonsense is refused as a whole; no rest is longer than the longest."""
        peer = self.ends[0]
        for data in (b"", b"nonsense", msgpack.encode([["x", "quota", 1.0]]), b"\x91" * 5000):
            self.assertRaises(ValueError, self.parent.rests.received, data, peer)
        wrong = msgpack.encode([[b"account of a", "other", 1.0]])
        self.assertRaises(ValueError, self.parent.rests.received, wrong, peer)
        endless = msgpack.encode([Rest(b"account of a", "quota", 1e12)])
        self.parent.rests.received(endless, peer)
        self.assertEqual(self.parent.resting(), {"a": ("quota", LONGEST_REST)})

    def test_many(self) -> None:
        """A thousand rests fit into AMP's values."""
        names = [f"{number:03}" for number in range(1000)]
        found: list[bytes] = []
        rests = KeyRests(partial(Many, names))
        rests.join(Listener(found), new=True)
        self.assertEqual(len(found), 5)
        self.assertLess(max(map(len, found)), 65_536)


class Many:
    """A pool of many keys, all of which rest."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def rests(self) -> list[Rest]:
        """See `Resting`."""
        return [Rest(name.encode() * 11, "invalid", 1.0) for name in self._names]

    def heard(self, rest: Rest) -> None:
        """See `Resting`."""


class Listener:
    """A peer that keeps what it is sent."""

    def __init__(self, found: list[bytes]) -> None:
        self.send = found.append
