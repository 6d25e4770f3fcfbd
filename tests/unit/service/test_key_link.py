"""Tests of the way of reports of keys between the parent and a worker."""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.key_policy import KeyRules
from autopilot.service.commands import Line, PoolReport
from autopilot.service.key_link import KeyLink
from autopilot.state.budgets import KeyBudgets
from autopilot.state.key_ledger import DELAY, KeyLedger
from autopilot.upstream.key_pool import KeyPool, PlatformKey
from autopilot.upstream.key_rests import KeyRests, Rest

_RULES = KeyRules("k", requests_per_minute=9, concurrent_requests=9)


class KeyLinkTests(SynchronousTestCase):
    """A parent and a worker over transports in memory."""

    def setUp(self) -> None:
        """Connect the two."""
        self.clock = Clock()
        self.ends: list[tuple[KeyBudgets, Line, StringTransport]] = []
        for _ in range(2):
            line, transport = Line(), StringTransport()
            line.makeConnection(transport)
            self.ends.append((KeyBudgets(self.clock.seconds, self.clock.seconds), line, transport))
        (self.here, line, _), (self.there, other, _) = self.ends
        self.here.spend("k", 3, 0)
        self.worker = KeyLink(KeyLedger(self.clock, self.there), other)
        self.parent = KeyLink(KeyLedger(self.clock, self.here), line, new=True)

    def carry(self) -> None:
        """Let each end read what the other has written."""
        self.clock.advance(DELAY)
        (_, line, one), (_, other, two) = self.ends
        for transport, reader in ((one, other), (two, line)):
            data = transport.value()
            transport.clear()
            if data:
                reader.dataReceived(data)

    def test_both_ways(self) -> None:
        """A worker knows what there was, and each hears of the other."""
        self.carry()
        self.there.begin(_RULES)
        self.carry()
        for budgets in (self.here, self.there):
            (now,) = budgets.now(["k"])
            self.assertEqual((now.in_progress, now.tokens_today), (1, 3))
        self.here.spend("k", 1, 0)
        self.carry()
        (now,) = self.there.now(["k"])
        self.assertEqual(now.tokens_today, 4)

    def test_rests(self) -> None:
        """Which keys of the pool rest goes both ways as well, at once to a worker that starts."""
        (_, line, _), (_, other, _) = self.ends
        pools = [
            KeyPool([PlatformKey("a", b"cpk_canary", b"account")], self.clock.seconds, lambda: 0.0)
            for _ in range(2)
        ]
        known = Rest(b"account", "quota", 9.0)
        pools[0].heard(known)
        here, there = (KeyRests(partial(lambda pool: pool, pool)) for pool in pools)
        KeyLink(there, other, PoolReport)
        parent = KeyLink(here, line, PoolReport, new=True)
        self.carry()
        self.assertEqual(pools[1].rests(), [Rest(b"account", "quota", 9.0)])
        there.told(Rest(b"account", "quota", 99.0))
        self.carry()
        (rest,) = pools[0].rests()
        self.assertGreater(rest.seconds, 98.0)
        parent.close()
        here.told(rest)
        self.assertNotIn(b"canary", self.ends[0][2].value() + self.ends[1][2].value())
        self.carry()

    def test_end(self) -> None:
        """What an ended worker had in progress has ended."""
        self.there.begin(_RULES)
        self.carry()
        self.parent.close()
        (now,) = self.here.now(["k"])
        self.assertEqual(now.in_progress, 0)
