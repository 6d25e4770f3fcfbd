"""Tests of the sums of what keys spend: several routers over one store in memory."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.key_policy import KeyRules
from autopilot.state.budgets import KeyBudgets
from autopilot.state.key_ledger import KeyLedger
from autopilot.state.sharing.key_totals import KeyTotals
from autopilot.state.sharing.store import Store, StoreAccess
from tests.unit.state.sharing.servers import Server

_RULES = KeyRules("k", requests_per_minute=9)


@dataclass
class Router:
    """A router with its accounts."""

    budgets: KeyBudgets
    ledger: KeyLedger
    totals: KeyTotals
    store: Store

    @property
    def tokens(self) -> tuple[int, int]:
        """What it counts of today and of this month."""
        (now,) = self.budgets.now(["k"])
        return now.tokens_today, now.tokens_this_month


class KeyTotalsTests(SynchronousTestCase):
    """Two routers, and what the store can do to them."""

    def setUp(self) -> None:
        """Start a server and two routers, on a day in the middle of a month."""
        self.clock = Clock()
        self.clock.advance(20_012 * 86_400 + 3600.0)
        self.server = Server(self.clock)
        self.one, self.two = self.router(), self.router()

    def router(self) -> Router:
        """Start a router."""
        budgets = KeyBudgets(self.clock.seconds, self.clock.seconds)
        ledger = KeyLedger(self.clock, budgets)
        store = Store(self.clock, self.server, StoreAccess(), lambda: 0.5, self.clock.seconds)
        totals = KeyTotals(self.clock, store, ledger, self.clock.seconds)
        ledger.keep_in(totals)
        totals.start()
        store.start()
        router = Router(budgets, ledger, totals, store)
        self.addCleanup(self.settle, router)
        self.pass_time(1)
        return router

    def settle(self, router: Router) -> None:
        """Stop, and see that nothing is left behind."""
        router.ledger.flush()
        router.totals.stop()
        self.pass_time(0.25)
        router.store.stop()
        self.pass_time(1)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(round(seconds / 0.125)):
            self.clock.advance(0.125)
            for _ in range(4):
                self.clock.advance(0)

    def test_at_once(self) -> None:
        """What one router counts counts at the other at once, requests of the minute too."""
        self.one.budgets.begin(_RULES)
        self.one.budgets.spend("k", 5, 7)
        self.pass_time(0.125)
        self.assertEqual(self.two.tokens, (5, 5))
        (now,) = self.two.budgets.now(["k"])
        self.assertEqual((now.requests_last_minute, now.in_progress), (1, 0))

    def test_a_later_router(self) -> None:
        """A router that starts later reads the sums, which expire after their month."""
        self.one.budgets.spend("k", 5, 7)
        self.two.budgets.spend("k", 2, 0)
        self.pass_time(0.25)
        self.assertEqual(self.router().tokens, (7, 7))
        days = {key.rpartition(b":")[2] for key in self.server.hashes}
        self.assertEqual(days, {b"2024-10-16", b"2024-10"})
        self.assertEqual(len(self.server.expiries), 2)
        self.clock.advance(86_400)
        self.pass_time(1)
        self.assertEqual(self.router().tokens, (0, 7))

    def test_without_the_store(self) -> None:
        """Meanwhile each router counts by itself, and the sums are those of all afterwards."""
        self.server.refused = True
        self.server.cut()
        self.pass_time(1)
        self.one.budgets.spend("k", 3, 0)
        self.two.budgets.spend("k", 4, 0)
        self.pass_time(1)
        self.assertEqual((self.one.tokens, self.two.tokens), ((3, 3), (4, 4)))
        self.server.refused = False
        self.pass_time(12)
        self.assertEqual((self.one.tokens, self.two.tokens), ((7, 7), (7, 7)))

    def test_a_store_that_refuses(self) -> None:
        """What it does not add is owed, and added later."""
        self.server.errors[b"HINCRBY"] = b"OOM"
        self.one.budgets.spend("k", 3, 0)
        self.pass_time(1)
        del self.server.errors[b"HINCRBY"]
        self.pass_time(6)
        self.assertEqual(self.router().tokens, (3, 3))

    def test_lost_data(self) -> None:
        """A store that has lost its data gives no budget back."""
        self.one.budgets.spend("k", 3, 0)
        self.pass_time(1)
        self.server.lose_data()
        self.pass_time(6)
        self.assertEqual((self.one.tokens, self.two.tokens), ((3, 3), (3, 3)))

    def test_what_is_malformed(self) -> None:
        """Neither a message nor a sum that makes no sense does harm."""
        key = b"chutes-autopilot:spent:2024-10-16"
        self.server.hashes[key] = {b"tokens:j": b"many", b"\xff": b"1", b"tokens:\xff": b"1"}
        self.server.publish(b"chutes-autopilot:keys", b"x" * 20)
        self.server.errors[b"PUBLISH"] = b"ERR no"
        self.one.budgets.spend("k", 1, 0)
        self.pass_time(6)
        self.assertEqual(self.one.tokens, (1, 1))
        self.server.errors[b"HGETALL"] = b"ERR no"
        self.pass_time(6)
        self.assertEqual(self.one.tokens, (1, 1))
