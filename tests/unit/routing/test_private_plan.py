"""Tests of the plan of a private request."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import Candidate
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.plan import Plan, Rules
from autopilot.routing.private_plan import private_plan
from autopilot.routing.private_standing import NOTHING_KNOWN, PrivateStanding
from autopilot.routing.ranking import Ranked
from autopilot.routing.requirements import NOTHING
from autopilot.routing.router_error import RouterError
from autopilot.routing.routes import Route
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import Mode, Selector, parse_selector
from autopilot.routing.snapshot import Snapshot

ALIASES = frozenset({"auto"})
RULES = Rules(ALIASES, 8, private=True)
UUID = "11111111-2222-3333-4444-555555555555"
NOBODY = "99999999-2222-3333-4444-555555555555"
CATALOG = Catalog.of(
    [
        Model("acme/A-TEE", UUID, True),
        Model("acme/B", "b", False),
        Model("acme/C", "c", True),
        Model("acme/D", None, True),
        Model("acme/E", "e", True),
        Model("acme/F", "f", None),
    ]
)


def ranked(name: str, score: float) -> Ranked:
    """Return a model with a score."""
    return Ranked(name, score, score, 0.0, 0.0, 0.0, 0.0, 1, 0.0, 0.0)


class PrivatePlanTests(SynchronousTestCase):
    """A catalog, and a ranking in which all models are equal."""

    def setUp(self) -> None:
        """Rank them in the catalog's order."""
        self.snapshot = Snapshot(CATALOG, tuple(ranked(name, 1.0) for name in CATALOG.models))
        self.rules = RULES

    def plan(
        self,
        text: str,
        standing: PrivateStanding = NOTHING_KNOWN,
        state: RoutingState | None = None,
    ) -> Plan | RouterError:
        """Plan a request."""
        chooses = {name: route.chooses for name, route in self.rules.routes.items()}
        selector = parse_selector(text, ALIASES, 8, routes=chooses)
        assert isinstance(selector, Selector)
        state = state or RoutingState()
        return private_plan(selector, NOTHING, self.snapshot, self.rules, state, standing)

    def models(self, text: str, **given: object) -> tuple[str, ...]:
        """Return the models of a plan."""
        planned = self.plan(text, **given)  # type: ignore[arg-type]
        assert isinstance(planned, Plan), planned
        return planned.models

    def code(self, text: str, **given: object) -> tuple[int, str]:
        """Return status and code of the error."""
        error = self.plan(text, **given)  # type: ignore[arg-type]
        assert isinstance(error, RouterError), error
        self.assertIn(error.param, ("model", None))
        return error.status, error.code

    def test_alias(self) -> None:
        """It stands for the confidential models of which a chute is known."""
        for text in ("auto", "chutesai/AutoPilot-Private"):
            self.assertEqual(self.models(text), ("acme/A-TEE", "acme/C", "acme/E"))

    def test_engines_name(self) -> None:
        """Whatever the client writes, the instance gets the catalog's name."""
        for text in (
            "acme/A-TEE",
            "ACME/a-tee",
            "acme/A",
            UUID,
            f" {UUID}:latency",
            "acme/A,acme/B",
        ):
            planned = self.plan(text)
            assert isinstance(planned, Plan)
            self.assertEqual(planned.candidates, (Candidate("acme/A-TEE"),))

    def test_thinking(self) -> None:
        """The suffix stays in what is sent, for the template; the model has none."""
        for text in ("acme/A:THINKING", f"{UUID}:THINKING", "acme/A-TEE:THINKING:latency"):
            planned = self.plan(text)
            assert isinstance(planned, Plan), text
            sent = "acme/A-TEE:THINKING"
            self.assertEqual(planned.candidates, (Candidate("acme/A-TEE", sent=sent),), text)
        planned = self.plan("acme/C:THINKING,acme/C,acme/A,acme/A:THINKING:throughput")
        assert isinstance(planned, Plan)
        self.assertEqual(
            planned.candidates,
            (Candidate("acme/C", sent="acme/C:THINKING"), Candidate("acme/A-TEE")),
        )

    def test_not_confidential(self) -> None:
        """A model that the catalog does not mark is an error, alone or with its like."""
        for text in ("acme/B", "acme/F", "acme/B,acme/F", "acme/B:THINKING"):
            self.assertEqual(self.code(text), (400, "tee_required"), text)

    def test_unlisted(self) -> None:
        """What is not in the catalog is never sent on unchecked."""
        self.assertEqual(self.code("nobody"), (400, "unknown_model"))
        self.rules = replace(RULES, unknown_models="forward")
        for text in ("nobody", NOBODY):
            self.assertEqual(self.code(text), (400, "private_unsupported"))
        self.assertEqual(self.code("nobody,acme/B"), (400, "tee_required"))
        self.assertEqual(self.models("nobody,acme/C"), ("acme/C",))

    def test_no_chute(self) -> None:
        """Without a chute there is nothing to ask for instances."""
        self.assertEqual(self.code("acme/D"), (400, "private_unsupported"))
        self.assertEqual(self.models("acme/D,acme/C"), ("acme/C",))

    def test_before_the_feeds(self) -> None:
        """Before the first catalog nothing is known to be confidential, which is temporary."""
        self.rules = replace(RULES, unknown_models="forward")
        for empty in (Snapshot(), Snapshot(Catalog.of([]))):
            self.snapshot = empty
            for text in ("auto", "acme/C", "acme/C,auto"):
                self.assertEqual(self.code(text), (503, "no_candidates"))

    def test_unattestable(self) -> None:
        """Models known to have no evidence are left out; if none is left, that is temporary."""
        known = PrivateStanding(unattestable=frozenset({"acme/A-TEE", "acme/E"}))
        self.assertEqual(self.models("auto", standing=known), ("acme/C",))
        self.assertEqual(self.models("acme/A,acme/C", standing=known), ("acme/C",))
        error = self.plan("acme/A,acme/E", standing=known)
        assert isinstance(error, RouterError)
        self.assertEqual(
            (error.status, error.code, error.retry_after), (503, "private_unavailable", 60)
        )
        self.assertEqual(
            error.message,
            "No instance is available to which the request may be encrypted: models not attestable"
            " 2. Nothing was sent.",
        )
        self.assertEqual(self.code("acme/A", standing=known), (503, "private_unavailable"))

    def test_ready_first(self) -> None:
        """Of equal scores those that are ready go first, and no others change their place."""
        ready = PrivateStanding(ready=frozenset({"acme/E"}))
        self.assertEqual(self.models("auto", standing=ready), ("acme/E", "acme/A-TEE", "acme/C"))
        self.assertEqual(self.models("acme/A,acme/E", standing=ready), ("acme/A-TEE", "acme/E"))
        self.assertEqual(
            self.models("acme/A,auto", standing=ready), ("acme/A-TEE", "acme/E", "acme/C")
        )
        scores = {"acme/A-TEE": 2.0, "acme/C": 1.0, "acme/E": 1.0}
        self.snapshot = Snapshot(CATALOG, tuple(ranked(*each) for each in scores.items()))
        self.assertEqual(self.models("auto", standing=ready), ("acme/A-TEE", "acme/E", "acme/C"))
        self.assertEqual(
            self.models(
                "auto:latency", standing=ready, state=RoutingState(first_byte={"acme/C": 1})
            ),
            ("acme/C", "acme/A-TEE", "acme/E"),
        )

    def test_asked_order(self) -> None:
        """An order that the client asks for counts more than what is ready."""
        ready = PrivateStanding(ready=frozenset({"acme/E"}))
        state = RoutingState(first_byte={"acme/C": 1, "acme/A-TEE": 2, "acme/E": 3})
        self.assertEqual(
            self.models("auto:latency", standing=ready, state=state),
            ("acme/C", "acme/A-TEE", "acme/E"),
        )

    def test_plans_kind(self) -> None:
        """The plan tells which way it was made, and what the router added to a list."""
        planned = self.plan("acme/A,auto")
        assert isinstance(planned, Plan)
        self.assertIs(planned.mode, Mode.LIST)
        self.assertEqual(planned.added & {"acme/C", "acme/E"}, {"acme/C", "acme/E"})
        self.assertNotIn("acme/A-TEE", planned.added)

    def test_cooling(self) -> None:
        """A model that is cooling down does not go first for being ready."""
        ready = PrivateStanding(ready=frozenset({"acme/E"}))
        state = RoutingState(cooling=frozenset({"acme/E"}))
        self.assertEqual(
            self.models("auto", standing=ready, state=state), ("acme/A-TEE", "acme/C", "acme/E")
        )

    def test_sticky(self) -> None:
        """A conversation stays with its model, even if others are ready, unless it is left out."""
        ready = PrivateStanding(ready=frozenset({"acme/E"}))
        planned = self.plan("auto", ready, RoutingState(remembered="acme/C"))
        assert isinstance(planned, Plan)
        self.assertTrue(planned.sticky)
        self.assertEqual(planned.models, ("acme/C", "acme/E", "acme/A-TEE"))
        known = PrivateStanding(unattestable=frozenset({"acme/C"}))
        planned = self.plan("auto", known, RoutingState(remembered="acme/C"))
        assert isinstance(planned, Plan)
        self.assertFalse(planned.sticky)
        self.assertEqual(planned.models, ("acme/A-TEE", "acme/E"))

    def test_routes(self) -> None:
        """A private route has its models in its order; without private mode it has none."""
        routes = {"r": Route("r", ("acme/E", "acme/A", "acme/B"), tee=True, private=True)}
        self.rules = replace(RULES, routes=routes)
        ready = PrivateStanding(ready=frozenset({"acme/A-TEE"}))
        self.assertEqual(self.models("r", standing=ready), ("acme/E", "acme/A-TEE"))
        self.rules = replace(self.rules, private=False)
        self.assertEqual(self.code("r"), (400, "private_unsupported"))
        self.assertEqual(self.code("acme/C,r"), (400, "private_unsupported"))
