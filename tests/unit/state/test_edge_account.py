"""Tests of the values of the account's governor."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.edge_circuit import EdgeBan
from autopilot.state.edge_account import EdgeAccount, EdgePermit


class EdgeAccountTests(SynchronousTestCase):
    """One key."""

    def test_ban(self) -> None:
        """A ban holds until its time; after that one request at a time is free."""
        account = EdgeAccount(b"k")
        one, two = (EdgePermit(account, lambda: None) for _ in range(2))
        self.assertLess(account.banned_until(0.0), 0.0)
        self.assertTrue(account.is_free_for(None))
        account.ban, account.is_banned = EdgeBan(60.0, 60.0), True
        self.assertEqual(account.banned_until(59.0), 60.0)
        self.assertLess(account.banned_until(60.0), 0.0)
        account.prober = one
        self.assertTrue(account.is_free_for(one))
        self.assertFalse(account.is_free_for(two))
        self.assertFalse(account.is_free_for(None))
