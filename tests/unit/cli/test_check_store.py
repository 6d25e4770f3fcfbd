"""Tests of the check of the store: a result for each thing that a server can do."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot import Settings
from autopilot.cli import check_store as module
from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.cli.check_store import check_store
from autopilot.state.sharing.store import Store, StoreAccess
from tests.unit.state.sharing.servers import Server


class CheckStoreTests(SynchronousTestCase):
    """A server in memory."""

    def setUp(self) -> None:
        """Make the server, and let the check connect to it."""
        self.clock = Clock()
        self.server = Server(self.clock)
        self.patch(module, "store_of", self.store_of)

    def store_of(self, *_: object) -> Store:
        """Return a store over the server."""
        return Store(self.clock, self.server, StoreAccess(), lambda: 0.0, lambda: 0.0)

    def check(self, **given: Any) -> list[CheckResult]:
        """Run the check, and let up to ten seconds pass."""
        settings = Settings(
            **({"state_url": "redis://:hunter2@store.test", "sticky_hash_key": b"k" * 32} | given)
        )
        found: Deferred[Any] = Deferred.fromCoroutine(check_store(self.clock, settings, 10.0))
        for _ in range(1100):
            if found.called:
                break
            self.clock.advance(0.01)
            self.clock.advance(0)
        results = list(self.successResultOf(found))
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNotIn("hunter2", repr(results))
        return results

    def test_without_a_store(self) -> None:
        """There is nothing to say."""
        self.assertEqual(self.check(state_url=None), [])

    def test_good(self) -> None:
        """The server accepts connections and a write."""
        (result,) = self.check()
        self.assertEqual((result.state, result.subject), (CheckState.OK, "store.test:6379"))
        self.assertIn("written", result.detail)

    def test_bad(self) -> None:
        """Each fault has a detail and a remedy; one of writes alone is a warning."""
        for fault, value, state, word in (
            ("refused", True, CheckState.FAIL, "host and port"),
            ("hanging", True, CheckState.FAIL, "in time"),
            ("paused", True, CheckState.FAIL, "in time"),
            ("password", b"x", CheckState.FAIL, "password"),
            ("errors", {b"PING": b"LOADING later"}, CheckState.FAIL, "Wait"),
            ("errors", {b"SET": b"NOPERM no"}, CheckState.WARN, "rights"),
            ("full", True, CheckState.WARN, "memory"),
            ("read_only", True, CheckState.WARN, "primary"),
        ):
            self.server = Server(self.clock)
            setattr(self.server, fault, value)
            (result,) = self.check()
            self.assertIs(result.state, state, fault)
            self.assertIn(word, result.remedy)
            self.assertRegex(result.remedy, r"\A[A-Z].+\.\Z")
            self.assertTrue(result.detail)
