"""Tests of the use of a key by one request."""

from __future__ import annotations

from msgspec import structs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.records import DroppedCall, Failover, Outcome, RequestRecord
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.key_policy import KeyRules
from autopilot.routing.router_error import RouterError
from autopilot.routing.usage import Usage
from autopilot.state.budgets import KeyBudgets
from autopilot.state.key_use import KeyUse

_RECORD = RequestRecord(
    "r", "list", 2, "a", 2, (), 200, None, None, None, 1.0, 1, Outcome.COMPLETED
)


class KeyUseTests(SynchronousTestCase):
    """What a request costs its key, and what its response says."""

    def setUp(self) -> None:
        """Begin a request."""
        clock = Clock()
        self.budgets = KeyBudgets(clock.seconds, clock.seconds)
        self.rules = KeyRules("k", concurrent_requests=1, tokens_per_day=100)
        self.use = KeyUse(self.budgets, self.rules)

    def test_spend(self) -> None:
        """Failed and dropped attempts cost too; what was not reported costs nothing."""
        failed = Failover("b", FailureReason.CUT, 200, 1.0, Usage(1, 0, 2), 30)
        nothing = Failover("c", FailureReason.CUT, 200, 1.0)
        dropped = DroppedCall("d", 200, 1.0, Usage(100, 0, 3), 5000)
        record = structs.replace(
            _RECORD,
            failovers=(failed, nothing),
            dropped=dropped,
            usage=Usage(10, 5, None),
            cost_picodollars=400,
        )
        self.use.spend(_RECORD)
        self.assertEqual(self.budgets.spent(), {})
        self.use.spend(record)
        spent = self.budgets.spent()["k"]
        self.assertEqual((spent.tokens_today, spent.picodollars_today), (116, 5430))

    def test_end(self) -> None:
        """A request ends once."""
        self.assertIsNotNone(self.budgets.refusal(self.rules))
        self.use.end()
        self.use.end()
        self.assertIsNone(self.budgets.refusal(self.rules))
        KeyUse(self.budgets, self.rules)
        self.assertIsNotNone(self.budgets.refusal(self.rules))

    def test_marked(self) -> None:
        """The upstream's limits give way to the key's own, if it has any."""
        theirs = [(b"X-RateLimit-Remaining-Requests", b"9"), (b"A", b"b")]
        marked = self.use.marked(theirs)
        self.assertIn((b"x-ratelimit-remaining-tokens", b"100"), marked)
        self.assertEqual([each for each in marked if each in theirs], [(b"A", b"b")])
        free = KeyUse(self.budgets, KeyRules("free"))
        self.assertEqual(free.marked(theirs), theirs)
        error = self.use.explained(RouterError(502, "x", "y"))
        self.assertIn((b"x-ratelimit-limit-tokens", b"100"), error.fields)
