"""Tests of plans with the models of other services, and of what is made of such a plan."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import Candidate, candidates_of
from autopilot.routing.candidate_queue import CandidateQueue
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.eligible import NO_CANDIDATES_ERROR
from autopilot.routing.fallbacks import Fallbacks
from autopilot.routing.plan import Plan, Rules, at_platform, elsewhere, plan, settle
from autopilot.routing.pricing import MaxPrice, Prices
from autopilot.routing.ranking import Load, score
from autopilot.routing.requirements import NOTHING
from autopilot.routing.router_error import RouterError
from autopilot.routing.routes import Route
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import Mode, Selector, parse_selector
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.why import Why

_OTHERS = Fallbacks.of((("x", ("m", "n"), "n"), ("y", ("m",), "m")))
_M = _OTHERS.candidates["@x/m"]
_RESORT = _OTHERS.resort
_A, _B = candidates_of(("a", "b"))
_CATALOG = Catalog.of(
    [
        Model("a", tee=True, context_length=8, prices=Prices(Decimal(1), Decimal(2))),
        Model("b"),
    ]
)
_NONE: frozenset[str] = frozenset()


class PlanTests(SynchronousTestCase):
    """Plans under rules with other services (docs/fallbacks.md)."""

    RULES = Rules(frozenset({"auto"}), 8, fallbacks=_OTHERS)

    def plan(
        self,
        text: str,
        *ranked: str,
        tee_only: bool = False,
        routes: tuple[Route, ...] = (),
        rules: Rules = RULES,
    ) -> Plan | RouterError:
        """Return the plan of a selector where these models are ranked."""
        rules = replace(rules, routes={each.name: each for each in routes})
        chooses = {each.name: each.chooses for each in routes}
        selector = parse_selector(text, rules.aliases, 8, routes=chooses)
        assert isinstance(selector, Selector)
        snapshot = Snapshot(_CATALOG, tuple(score(Load(name, None, 1)) for name in ranked))
        return plan(selector, NOTHING, tee_only, snapshot, rules, RoutingState())

    def test_last_resort(self) -> None:
        """The default models stand behind the alias, a list and a route, never a direct name."""
        route = Route("r", ("b", "a"))
        for text, mode, candidates in (
            ("auto", Mode.ALIAS, (_A, _B)),
            ("b,a", Mode.LIST, (_B, _A)),
            ("r", Mode.ROUTE, (_B, _A)),
            ("r,", Mode.LIST, (_B, _A)),
        ):
            found = self.plan(text, "a", "b", routes=(route,))
            self.assertEqual(found, Plan(mode, candidates, resort=_RESORT), text)
        self.assertEqual(self.plan("a", "a", "b"), Plan(Mode.DIRECT, (_A,)))

    def test_confidential(self) -> None:
        """Nothing is known of them, so that they are not for who requires something."""
        self.assertEqual(self.plan("auto", "a", tee_only=True), Plan(Mode.ALIAS, (_A,)))
        strict = replace(self.RULES, require_tee=True)
        self.assertEqual(self.plan("auto", "a", rules=strict), Plan(Mode.ALIAS, (_A,)))
        self.assertEqual(self.plan("a,@x/m", "a", tee_only=True), Plan(Mode.LIST, (_A,)))
        for route in (
            Route("r", ("a",), tee=True),
            Route("r", ("a",), max_price=MaxPrice(Decimal(9))),
        ):
            for text, mode in (("r", Mode.ROUTE), ("r,a", Mode.LIST)):
                self.assertEqual(self.plan(text, "a", routes=(route,)), Plan(mode, (_A,)), text)
        short = Route("r", ("a",), min_context=1)
        self.assertEqual(
            self.plan("r", "a", routes=(short,)), Plan(Mode.ROUTE, (_A,), resort=_RESORT)
        )

    def test_named(self) -> None:
        """A list may name them in any place; one that it names is no last resort."""
        found = self.plan("@x/n,a,@x/m", "a", "b")
        self.assertEqual(found, Plan(Mode.LIST, (_RESORT[0], _A, _M), resort=_RESORT[1:]))
        found = self.plan("@y/m,auto", "a", "b")
        self.assertEqual(
            found,
            Plan(Mode.LIST, (_RESORT[1], _A, _B), False, frozenset("ab"), _RESORT[:1]),
        )
        for text in ("@x/m", "@x/m:latency"):
            self.assertEqual(self.plan(text), Plan(Mode.DIRECT, (_M,)), text)

    def test_unknown(self) -> None:
        """What the file does not have is an error, wherever unknown names go."""
        for unknown in ("reject", "forward", "alias"):
            rules = replace(self.RULES, unknown_models=unknown)
            for text in ("@x/z", "a,@x/z", "r,@nobody/z"):
                error = self.plan(text, "a", routes=(Route("r", ("a",)),), rules=rules)
                assert isinstance(error, RouterError), (text, error)
                self.assertEqual((error.status, error.code), (400, "unknown_model"))
        near = self.plan("@x/mm", "a")
        assert isinstance(near, RouterError)
        self.assertIn("did you mean '@x/m'", near.message)

    def test_nothing_else(self) -> None:
        """Where no model of the platform is available, they are all that there is."""
        alone = Plan(Mode.ALIAS, _RESORT, resorted=True)
        self.assertEqual(self.plan("auto"), alone)
        self.assertEqual(alone.why(_RESORT[1]), Why.LAST_RESORT)
        routes = (Route("r", (), alias_last=True), Route("t", (), alias_last=True, tee=True))
        self.assertEqual(self.plan("r", routes=routes), Plan(Mode.ROUTE, _RESORT, resorted=True))
        self.assertIs(self.plan("t", routes=routes), NO_CANDIDATES_ERROR)
        self.assertIs(self.plan("auto", tee_only=True), NO_CANDIDATES_ERROR)
        # A name that is wrong does not lead there.
        error = self.plan("nope,auto")
        assert isinstance(error, RouterError)
        self.assertEqual(error.code, "unknown_model")

    def test_in_a_list_with_a_route(self) -> None:
        """Beside a route a list may name them, too, each once."""
        route = Route("r", ("a", "@x/m"), fallbacks=_OTHERS)
        found = self.plan("@x/m,r,b", "a", routes=(route,))
        self.assertEqual(found, Plan(Mode.LIST, (_M, _A, _B), resort=_RESORT))

    def test_settle(self) -> None:
        """A name with the mark of other services never means the alias, other unknown names may."""
        rules = replace(self.RULES, unknown_models="alias")
        for text, mode in (("@x/m", Mode.DIRECT), ("@nobody/z", Mode.DIRECT), ("z", Mode.ALIAS)):
            selector = parse_selector(text, rules.aliases, 8)
            assert isinstance(selector, Selector)
            self.assertIs(settle(selector, _CATALOG, rules).mode, mode)

    def test_names(self) -> None:
        """The rules know the names of routes, and then those of other services."""
        rules = replace(self.RULES, routes={"r": Route("r")})
        self.assertEqual(rules.names, ("r", "@x/m", "@x/n", "@y/m"))


class SideTests(SynchronousTestCase):
    """A plan without one of its sides."""

    def test_elsewhere(self) -> None:
        """What the list names comes first, then the last resort; without both there is nothing."""
        planned = Plan(Mode.LIST, (_A, _M, _B), True, resort=_RESORT)
        self.assertEqual(elsewhere(planned), Plan(Mode.LIST, (_M,), resort=_RESORT))
        only = elsewhere(Plan(Mode.LIST, (_A, _B), True, resort=_RESORT))
        self.assertEqual(only, Plan(Mode.LIST, _RESORT, resorted=True))
        assert only is not None
        self.assertEqual(only.why(_RESORT[0]), Why.LAST_RESORT)
        self.assertIsNone(elsewhere(Plan(Mode.LIST, (_A, _B))))

    def test_elsewhere_already(self) -> None:
        """A plan that has no other candidates stays as it is."""
        planned = Plan(Mode.DIRECT, (_M,))
        self.assertIs(elsewhere(planned), planned)
        sticky = Plan(Mode.LIST, (_M, _A), True)
        self.assertEqual(elsewhere(sticky), Plan(Mode.LIST, (_M,), True))

    def test_at_platform(self) -> None:
        """The others are left out, with the last resort; an error stays."""
        planned = Plan(Mode.LIST, (_A, _M, _B), True, resort=_RESORT)
        self.assertEqual(at_platform(planned), Plan(Mode.LIST, (_A, _B), True))
        moved = Plan(Mode.LIST, (_M, _A), True)
        self.assertEqual(at_platform(moved), Plan(Mode.LIST, (_A,)))
        self.assertIs(at_platform(NO_CANDIDATES_ERROR), NO_CANDIDATES_ERROR)
        resorted = Plan(Mode.ALIAS, _RESORT, resorted=True)
        self.assertIs(at_platform(resorted), NO_CANDIDATES_ERROR)
        error = at_platform(Plan(Mode.DIRECT, (_M,)))
        assert isinstance(error, RouterError)
        self.assertEqual((error.status, error.code), (400, "unknown_model"))
        self.assertIn("@x/m", error.message)


class QueueTests(SynchronousTestCase):
    """The last resort in the queue of candidates."""

    def taken(self, queue: CandidateQueue) -> list[Candidate]:
        """Take all."""
        found = []
        while not queue.exhausted:
            found.append(queue.take(_NONE))
        return found

    def test_order(self) -> None:
        """Behind all others, and behind those that are cooling."""
        self.assertEqual(self.taken(CandidateQueue((_A, _B), 8, _RESORT)), [_A, _B, *_RESORT])
        queue = CandidateQueue((_A, _B), 8, _RESORT)
        cooling = frozenset({"a", "b"})
        self.assertEqual([queue.take(cooling).model for _ in range(3)], ["a", "b", "@x/n"])

    def test_attempts(self) -> None:
        """The last attempts are kept for it, but not the first."""
        for most, expected in (
            (1, [_A]),
            (2, [_A, _RESORT[0]]),
            (3, [_A, *_RESORT]),
            (4, [_A, _B, *_RESORT]),
        ):
            self.assertEqual(self.taken(CandidateQueue((_A, _B), most, _RESORT)), expected)

    def test_leaves_the_platform(self) -> None:
        """Only if there is somewhere else to go; if not, nothing is lost."""
        queue = CandidateQueue((_A, _M, _B), 8, _RESORT)
        self.assertFalse(queue.next_elsewhere)
        self.assertTrue(queue.leave_platform())
        self.assertTrue(queue.next_elsewhere)
        self.assertEqual(self.taken(queue), [_M, *_RESORT])
        self.assertFalse(queue.leave_platform())
        queue = CandidateQueue((_A, _B), 8)
        self.assertFalse(queue.leave_platform())
        self.assertEqual(self.taken(queue), [_A, _B])
        self.assertFalse(queue.next_elsewhere)

    def test_pause(self) -> None:
        """A pause takes no attempt that is kept."""
        queue = CandidateQueue((_A, _B), 3, _RESORT[:1])
        queue.take(_NONE)
        self.assertTrue(queue.pause_on("a"))
        self.assertEqual(self.taken(queue), [_RESORT[0]])
        queue = CandidateQueue((_A, _B), 2, _RESORT[:1])
        queue.take(_NONE)
        self.assertFalse(queue.pause_on("a"))
