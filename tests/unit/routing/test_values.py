"""Tests of the values of routing: immutability, defaults and names."""

from __future__ import annotations

from enum import StrEnum

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import Candidate
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.edge_circuit import EdgeBan
from autopilot.routing.identity import Trust
from autopilot.routing.plan import Plan, Rules
from autopilot.routing.pricing import MaxPrice, Prices
from autopilot.routing.ranking import Load, score
from autopilot.routing.requirements import Needs
from autopilot.routing.retry_policy import Policy, Reply, RetryAction, RetryDecision
from autopilot.routing.router_error import RouterError
from autopilot.routing.routes import Route
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import Mode, Order, Selector
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.token_bucket import Rate, TokenBucket


class ValueTests(SynchronousTestCase):
    """Properties of every value."""

    def test_nothing_can_be_changed(self) -> None:
        """Values are immutable, so that a request keeps those that it started with."""
        load = Load("m", None, 1)
        for value, member in (
            (RouterError(400, "c", "m"), "status"),
            (Model("m"), "name"),
            (Catalog.of([]), "models"),
            (load, "name"),
            (score(load), "score"),
            (Snapshot(), "catalog"),
            (Selector("t", Mode.ALIAS, (), Order.GIVEN), "text"),
            (Needs(), "images"),
            (Rules(frozenset(), 1), "aliases"),
            (RoutingState(), "cooling"),
            (Candidate("m"), "model"),
            (Plan(Mode.ALIAS, (Candidate("m"),)), "mode"),
            (RetryDecision(RetryAction.NEXT), "verdict"),
            (Reply(200, ""), "status"),
            (Trust(), "enabled"),
            (Route("r"), "models"),
            (Prices(), "prompt"),
            (MaxPrice(), "prompt"),
            (TokenBucket(), "missing"),
            (Rate(60, 60), "burst"),
            (EdgeBan(60.0, 60.0), "until"),
        ):
            self.assertFalse(hasattr(value, "__dict__"), value)
            with self.assertRaises(AttributeError):
                setattr(value, member, None)

    def test_defaults(self) -> None:
        """By default a fact is unknown, a need is absent and a proxy is untrusted."""
        self.assertEqual(
            Snapshot(), Snapshot(catalog=None, ranking=(), catalog_at=None, utilization_at=None)
        )
        self.assertEqual(RoutingState(), RoutingState(None, frozenset(), frozenset(), {}, {}))
        self.assertEqual(Rules(frozenset(), 1), Rules(frozenset(), 1, "reject", False))
        self.assertEqual(Rules(frozenset(), 1), Rules(frozenset(), 1, patterns=(), routes={}))
        self.assertEqual(Trust(), Trust(False, ()))
        self.assertEqual(Load("m", None, 1).scalable, False)
        self.assertEqual(Reply(200, ""), Reply(200, "", None))
        self.assertEqual(Model("m").raw, b"")

    def test_words(self) -> None:
        """The words that settings, logs and metrics use."""
        for words, kind in (
            ("alias list direct route", Mode),
            ("given latency throughput", Order),
            ("strict standard open", Policy),
            ("commit next read repeat", RetryAction),
        ):
            assert issubclass(kind, StrEnum)
            self.assertEqual(" ".join(kind), words)
