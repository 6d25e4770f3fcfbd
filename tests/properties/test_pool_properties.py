"""Properties of the pool of the platform's keys: who refuses rests, and nothing is counted twice.

The model is a platform whose keys have a quota and bans of their own.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.task import Clock

from autopilot.routing.retry_policy import Reply
from autopilot.upstream.key_pool import FIRST_BAN, NO_QUOTA, KeyLease, KeyPool, PlatformKey

_NAMES = "abc"
_EDGE, _PAYMENT = Reply(429, "text/html"), Reply(402, "application/json")
_WALL = 1_800_000_000.0


class PoolMachine(RuleBasedStateMachine):
    """Requests that come, are refused, get another key and end, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.offset = _WALL
        self.start()

    def start(self) -> None:
        """Start the router: nothing is known of the keys."""
        self.pool = KeyPool(
            (PlatformKey(name, name.encode() * 9, name.encode()) for name in _NAMES),
            self.clock.seconds,
            lambda: self.offset + self.clock.seconds(),
            most=4,
        )
        self.leases: list[tuple[KeyLease, bool]] = []
        self.until = dict.fromkeys(_NAMES, -1.0)
        self.banned = dict.fromkeys(_NAMES, False)
        self.doubled = dict.fromkeys(_NAMES, FIRST_BAN)

    def rests(self, name: str) -> bool:
        """Return whether a key must not be sent now, as the platform has said."""
        return self.until[name] > self.clock.seconds()

    @rule(conversation=st.none() | st.sampled_from([b"1", b"2", b"3", b"4", b"5", b"6"]))
    def lend(self, conversation: bytes | None) -> None:
        """A request comes."""
        lease = self.pool.lend(conversation)
        serving = [name for name in _NAMES if not self.rests(name)]
        if lease is None:
            assert not serving
            assert all(self.banned.values())
            return
        if serving:
            assert lease.name in serving
        else:
            assert not self.banned[lease.name]
        self.leases.append((lease, False))

    @rule(edge=st.booleans(), data=st.data())
    def refuse(self, edge: bool, data: st.DataObject) -> None:
        """The platform refuses the key of a request, which may get another, once."""
        if not self.leases:
            return
        place = data.draw(st.integers(0, len(self.leases) - 1))
        lease, switched = self.leases[place]
        before, now = lease.name, self.clock.seconds()
        wait = self.doubled[before] if edge else NO_QUOTA
        was_banned = self.banned[before] and self.rests(before)
        # A page that arrives during a ban answers a call from before it.
        if not (edge and was_banned):
            self.until[before] = max(self.until[before], now + wait)
            self.banned[before] = edge or was_banned
            if edge:
                self.doubled[before] = min(2 * wait, 86_400.0)
        serving = [name for name in _NAMES if not self.rests(name)]
        moved = lease.refused(_EDGE if edge else _PAYMENT, b"")
        assert moved == (bool(serving) and not switched)
        if moved:
            assert lease.name in serving
        else:
            assert lease.name == before
        self.leases[place] = lease, switched or moved

    @rule(data=st.data(), serves=st.booleans())
    def end(self, data: st.DataObject, serves: bool) -> None:
        """A request ends, perhaps with an answer."""
        if self.leases:
            lease, _ = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
            if serves:
                lease.served()
                self.doubled[lease.name] = FIRST_BAN
            lease.end()
            lease.end()

    @rule(seconds=st.sampled_from([1.0, 59.0, 60.0, 300.0, 4000.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-90_000.0, -60.0, 60.0, 90_000.0]))
    def step(self, seconds: float) -> None:
        """The clock of the day is set, which ends no rest and prolongs none."""
        self.offset += seconds

    @rule()
    def restart(self) -> None:
        """The router starts anew; its requests have ended with it."""
        self.start()

    @invariant()
    def counted(self) -> None:
        """Each request in progress counts once, with the key that it has now."""
        held = [lease.name for lease, _ in self.leases]
        for each in self.pool.now():
            assert each.in_progress == held.count(each.name)
            assert (each.resting is not None) == self.rests(each.name)
        assert len(self.pool._sticky) <= 4


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
