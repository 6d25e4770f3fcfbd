"""Tests of requests in progress at several routers, over one store in memory."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.key_policy import KeyRules
from autopilot.state.budgets import KeyBudgets
from autopilot.state.key_ledger import KeyLedger
from autopilot.state.sharing.key_totals import KeyTotals
from autopilot.state.sharing.keys_in_progress import (
    BETWEEN_MESSAGES,
    FORGOTTEN_AFTER,
    KeysInProgress,
)
from autopilot.state.sharing.store import Store, StoreAccess
from tests.unit.state.sharing.servers import Server

_RULES = KeyRules("k", concurrent_requests=2)
_CHANNEL = b"chutes-autopilot:in-progress"


@dataclass
class Router:
    """A router with its accounts."""

    budgets: KeyBudgets
    ledger: KeyLedger
    shared: KeysInProgress
    store: Store

    @property
    def counts(self) -> int:
        """The requests in progress that it counts."""
        return self.budgets.in_progress().get("k", 0)

    @property
    def refuses(self) -> bool:
        """Whether it would refuse a request."""
        return self.budgets.refusal(_RULES) is not None


class KeysInProgressTests(SynchronousTestCase):
    """Two routers, and what may happen to them."""

    def setUp(self) -> None:
        """Start a server and two routers."""
        self.clock = Clock()
        self.clock.advance(20_012 * 86_400.0)
        self.server = Server(self.clock)
        self.one, self.two = self.router(), self.router()

    def router(self) -> Router:
        """Start a router."""
        budgets = KeyBudgets(self.clock.seconds, self.clock.seconds)
        ledger = KeyLedger(self.clock, budgets)
        store = Store(self.clock, self.server, StoreAccess(), lambda: 0.5, self.clock.seconds)
        ledger.keep_in(KeyTotals(self.clock, store, ledger, self.clock.seconds))
        shared = KeysInProgress(self.clock, store, ledger, budgets.in_progress)
        shared.start()
        store.start()
        router = Router(budgets, ledger, shared, store)
        self.addCleanup(self.end, router)
        self.pass_time(1)
        return router

    def end(self, router: Router) -> None:
        """Stop, and see that nothing is left behind."""
        router.ledger.flush()
        router.shared.stop()
        self.pass_time(0.25)
        router.store.stop()
        self.pass_time(1)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(round(seconds / 0.125)):
            self.clock.advance(0.125)
            for _ in range(4):
                self.clock.advance(0)

    def test_one_limit(self) -> None:
        """What is in progress at one router counts at the other at once, until it ends."""
        self.one.budgets.begin(_RULES)
        self.two.budgets.begin(_RULES)
        self.assertFalse(self.one.refuses)
        self.pass_time(0.125)
        self.assertEqual((self.one.counts, self.two.counts), (2, 2))
        self.assertTrue(self.one.refuses)
        self.pass_time(2 * FORGOTTEN_AFTER)
        self.assertEqual((self.one.counts, self.two.counts), (2, 2))
        self.one.budgets.end("k")
        self.pass_time(0.125)
        self.assertEqual((self.one.counts, self.two.counts), (1, 1))
        self.assertFalse(self.two.refuses)
        self.two.budgets.end("k")
        self.pass_time(0.125)
        self.assertEqual((self.one.counts, self.two.counts), (0, 0))

    def test_a_later_router(self) -> None:
        """It learns of the others with their next message, and tells of none of theirs."""
        self.one.budgets.begin(_RULES)
        self.two.budgets.begin(_RULES)
        third = self.router()
        self.pass_time(BETWEEN_MESSAGES)
        self.assertEqual(third.counts, 2)
        self.pass_time(2 * BETWEEN_MESSAGES)
        self.assertEqual([each.counts for each in (self.one, self.two, third)], [2, 2, 2])

    def test_stopped(self) -> None:
        """What a router had that stops is forgotten at once."""
        self.one.budgets.begin(_RULES)
        self.pass_time(0.125)
        self.assertEqual(self.two.counts, 1)
        self.one.shared.stop()
        self.pass_time(0.125)
        self.assertEqual(self.two.counts, 0)

    def test_crashed(self) -> None:
        """What a router had that says nothing any more is forgotten after a while."""
        self.one.budgets.begin(_RULES)
        self.two.budgets.begin(_RULES)
        self.pass_time(0.125)
        self.one.store.stop()
        self.pass_time(FORGOTTEN_AFTER - BETWEEN_MESSAGES - 1)
        self.assertEqual(self.two.counts, 2)
        self.pass_time(2 * BETWEEN_MESSAGES + 1)
        self.assertEqual(self.two.counts, 1)
        self.assertFalse(self.two.refuses)

    def test_without_the_store(self) -> None:
        """Meanwhile each counts its own after a while, and afterwards those of all."""
        self.one.budgets.begin(_RULES)
        self.pass_time(0.125)
        self.server.refused = True
        self.server.cut()
        self.two.budgets.begin(_RULES)
        self.pass_time(FORGOTTEN_AFTER + BETWEEN_MESSAGES)
        self.assertEqual((self.one.counts, self.two.counts), (1, 1))
        self.server.refused = False
        self.pass_time(20)
        self.assertEqual((self.one.counts, self.two.counts), (2, 2))

    def test_what_is_malformed(self) -> None:
        """A message that makes no sense does no harm."""
        for message in (b"", b"x" * 20, b"x" * 8 + b"\x92\xc3\x81\xa1k\xff"):
            self.server.publish(_CHANNEL, message)
        self.pass_time(1)
        self.assertEqual((self.one.counts, self.two.counts), (0, 0))
        self.server.errors[b"PUBLISH"] = b"ERR no"
        self.one.budgets.begin(_RULES)
        self.pass_time(1)
        self.assertEqual((self.one.counts, self.two.counts), (1, 0))
