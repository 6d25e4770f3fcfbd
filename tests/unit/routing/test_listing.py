"""Tests of the plans of routes and of lists with routes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Literal

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import candidates_of
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.eligible import NO_CANDIDATES_ERROR
from autopilot.routing.exclusions import dropped
from autopilot.routing.fallbacks import Fallbacks
from autopilot.routing.listing import Cause, Dropped
from autopilot.routing.plan import Plan, Rules, plan
from autopilot.routing.pricing import MaxPrice, Prices
from autopilot.routing.private_mode import PRIVATE_IS_OFF
from autopilot.routing.ranking import Load, score
from autopilot.routing.requirements import NOTHING, Needs
from autopilot.routing.router_error import RouterError
from autopilot.routing.routes import Route
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import Mode, Selector, parse_selector
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.tee import TEE_REQUIRED
from autopilot.routing.why import Why

A = Model(
    "acme/A-TEE",
    "id-a",
    tee=True,
    input_modalities=frozenset({"text"}),
    context_length=100,
    prices=Prices(Decimal("0.1"), Decimal("0.4")),
)
B = Model("acme/B", "id-b", tee=False, features=frozenset({"tools"}), context_length=50)
C = Model("acme/C", "id-c")
CATALOG = Catalog.of([A, B, C])
PICTURES = Needs(images=True)


def _snapshot(*ranked: str, catalog: Catalog | None = CATALOG) -> Snapshot:
    return Snapshot(catalog, tuple(score(Load(name, None, 1)) for name in ranked))


ALL = _snapshot("acme/B", "acme/A-TEE", "acme/C")


class RoutesTestCase(SynchronousTestCase):
    """Rules with the routes of a test."""

    def rules(
        self,
        *routes: Route,
        unknown: Literal["reject", "forward", "alias"] = "reject",
        require_tee: bool = False,
    ) -> None:
        """Set the rules."""
        self.set = Rules(
            frozenset({"auto"}),
            8,
            unknown,
            require_tee,
            routes={each.name: each for each in routes},
        )

    def selector(self, text: str) -> Selector:
        """Return the parsed selector."""
        chooses = {name: route.chooses for name, route in self.set.routes.items()}
        selector = parse_selector(text, self.set.aliases, 8, routes=chooses)
        assert isinstance(selector, Selector)
        return selector

    def plan(
        self,
        text: str = "r",
        *,
        needs: Needs = NOTHING,
        tee_only: bool = False,
        snapshot: Snapshot = ALL,
        state: RoutingState = RoutingState(),  # noqa: B008  frozen
    ) -> Plan | RouterError:
        """Return the plan, or the error."""
        return plan(self.selector(text), needs, tee_only, snapshot, self.set, state)

    def models(self, text: str = "r", **given: object) -> list[str]:
        """Return the models of a plan."""
        planned = self.plan(text, **given)  # type: ignore[arg-type]
        assert isinstance(planned, Plan), planned
        return list(planned.models)

    def dropped(
        self, text: str = "r", needs: Needs = NOTHING, *, tee_only: bool = False
    ) -> tuple[Dropped, ...]:
        """Return the models that are left out."""
        return dropped(self.selector(text), needs, tee_only, ALL, self.set)

    def check_refused(self, answer: Plan | RouterError, code: str, *words: str) -> None:
        """Check that the answer is this error, and says these words."""
        assert isinstance(answer, RouterError), answer
        self.assertEqual((answer.status, answer.code, answer.param), (400, code, "model"))
        for each in words:
            self.assertIn(each, answer.message)


class RouteTests(RoutesTestCase):
    """A route as the selector."""

    def test_models_in_order(self) -> None:
        """Its names and patterns are the candidates; nothing else is."""
        self.rules(Route("r", ("acme/C", "*-tee")))
        expected = Plan(Mode.ROUTE, candidates_of(("acme/C", "acme/A-TEE")))
        self.assertEqual(self.plan(), expected)
        self.assertEqual(self.plan("\tr \n"), expected)
        assert isinstance(expected, Plan)
        self.assertEqual({expected.why(each) for each in expected.candidates}, {Why.ROUTE})

    def test_alias_last(self) -> None:
        """The alias adds its candidates, without those that the route has, as the best."""
        self.rules(Route("r", ("acme/C",), alias_last=True))
        planned = self.plan()
        assert isinstance(planned, Plan)
        self.assertEqual(planned.models, ("acme/C", "acme/B", "acme/A-TEE"))
        self.assertEqual(planned.added, {"acme/B", "acme/A-TEE"})
        whys = [planned.why(each) for each in planned.candidates]
        self.assertEqual(whys, [Why.ROUTE, Why.BEST, Why.BEST])

    def test_alias_alone(self) -> None:
        """A route may be the alias with filters."""
        self.rules(Route("r", (), alias_last=True, max_price=MaxPrice(Decimal("0.1"))))
        self.assertEqual(self.models(), ["acme/A-TEE"])

    def test_it_wins(self) -> None:
        """A route is preferred to the model of its name, which it may have."""
        self.rules(Route("acme/B", ("acme/C", "acme/B")))
        self.assertEqual(self.models("acme/B"), ["acme/C", "acme/B"])
        self.assertEqual(self.models("acme/b"), ["acme/B"])

    def test_orders(self) -> None:
        """A suffix orders a route by measurements, as it does a list."""
        self.rules(Route("r", ("acme/B", "acme/C")))
        fast = RoutingState(first_byte={"acme/C": 1.0}, throughput={"acme/B": 1.0, "acme/C": 2.0})
        for suffix in (":latency", ":THROUGHPUT"):
            self.assertEqual(self.models("r" + suffix, state=fast), ["acme/C", "acme/B"])
        self.assertEqual(self.models("r", state=fast), ["acme/B", "acme/C"])

    def test_stickiness(self) -> None:
        """A route sticks as a list does: its order rules, unless a model failed recently."""
        self.rules(Route("r", ("acme/B", "acme/C", "acme/A-TEE")))
        names = ["acme/B", "acme/C", "acme/A-TEE"]
        self.assertEqual(self.models(state=RoutingState("acme/C")), names)
        failed = RoutingState("acme/C", frozenset({"acme/B"}))
        planned = self.plan(state=failed)
        assert isinstance(planned, Plan)
        self.assertEqual(planned.models, ("acme/C", "acme/B", "acme/A-TEE"))
        self.assertTrue(planned.sticky)
        planned = self.plan(state=RoutingState("acme/B"))
        assert isinstance(planned, Plan)
        self.assertFalse(planned.sticky)
        broken = RoutingState(broken="acme/B")
        self.assertEqual(self.models(state=broken), ["acme/C", "acme/B", "acme/A-TEE"])
        cooling = RoutingState(cooling=frozenset({"acme/B"}))
        self.assertEqual(self.models(state=cooling), ["acme/C", "acme/A-TEE", "acme/B"])

    def test_needs_of_the_request(self) -> None:
        """What the request needs concerns what the router chooses, not what the route names."""
        self.rules(Route("r", ("acme/A-TEE",)), Route("p", ("*",)), Route("q", (), alias_last=True))
        self.assertEqual(self.models("r", needs=PICTURES), ["acme/A-TEE"])
        self.assertEqual(self.models("p", needs=PICTURES), ["acme/B", "acme/C"])
        self.assertEqual(self.models("q", needs=PICTURES), ["acme/B", "acme/C"])
        self.assertEqual(
            self.dropped("p", PICTURES), (Dropped("acme/A-TEE", Cause.LACKS, ("images",)),)
        )
        self.assertEqual(
            self.dropped("q", PICTURES), (Dropped("acme/A-TEE", Cause.LACKS, ("images",)),)
        )
        self.assertEqual(self.dropped("r", PICTURES), ())
        self.rules(Route("r", ("acme/C",)))
        self.assertEqual(self.dropped("r", PICTURES), ())  # no alias could have chosen A

    def test_parsed_needs(self) -> None:
        """The selector says whether needs count."""
        self.rules(Route("r", ("acme/A-TEE",)), Route("p", ("*",)), Route("q", (), alias_last=True))
        for text, chooses in (("r", False), ("p", True), ("q", True), ("r,p", True), ("r,", False)):
            self.assertIs(self.selector(text).chooses, chooses, text)

    def test_unknown_names(self) -> None:
        """A name that the catalog lacks costs the route nothing; if none is left it is an error."""
        self.rules(Route("r", ("nope", "acme/B")), Route("s", ("nope", "nix")), Route("t", ("z*",)))
        self.assertEqual(self.models(), ["acme/B"])
        self.assertEqual(self.dropped(), (Dropped("nope", Cause.UNKNOWN),))
        self.check_refused(
            self.plan("s"), "unknown_model", "none of the models of this route: 'nope'; 'nix'."
        )
        # It is the operator's mistake, so that the client must not wait for another answer.
        self.check_refused(self.plan("t"), "unknown_model", "models of this route: 'z*'.")
        self.assertEqual(self.dropped("t"), (Dropped("z*", Cause.UNKNOWN),))
        for empty in (None, Catalog.of([])):
            snapshot = _snapshot(catalog=empty)
            self.assertIs(self.plan("t", snapshot=snapshot), NO_CANDIDATES_ERROR)
        self.rules(Route("s", ("nope", "nix")), unknown="forward")
        self.assertEqual(self.models("s"), ["nope", "nix"])
        self.rules(Route("s", ("nope", "nix")))
        self.assertEqual(self.models("s", snapshot=_snapshot(catalog=None)), ["nope", "nix"])
        self.assertEqual(
            self.models("s", snapshot=_snapshot(catalog=Catalog.of([]))), ["nope", "nix"]
        )

    def test_no_alias_candidates(self) -> None:
        """Without a ranking only the names remain; without names it is the alias's error."""
        self.rules(Route("r", ("acme/B",), alias_last=True), Route("q", (), alias_last=True))
        self.assertEqual(self.models(snapshot=_snapshot()), ["acme/B"])
        self.assertIs(self.plan("q", snapshot=_snapshot()), NO_CANDIDATES_ERROR)
        self.rules(Route("r", ("acme/B",), alias_last=True, tee=True))
        self.assertIs(self.plan(snapshot=_snapshot()), NO_CANDIDATES_ERROR)
        # As in a list of the same names.
        self.rules(Route("r", ("acme/B",), alias_last=True))
        for text in ("r", "acme/B,auto"):
            self.assertIs(self.plan(text, tee_only=True, snapshot=_snapshot()), TEE_REQUIRED)

    def test_private(self) -> None:
        """Private mode is refused while there is none, in a list too, whatever else is wrong."""
        self.rules(Route("r", ("acme/B",), private=True), Route("s", ("nope",), private=True))
        for text in ("r", "s", "acme/C,r"):
            self.assertIs(self.plan(text), PRIVATE_IS_OFF)
        self.assertEqual((PRIVATE_IS_OFF.status, PRIVATE_IS_OFF.code), (400, "private_unsupported"))


class FilterTests(RoutesTestCase):
    """Filters of a route, and the errors if none of its models passes."""

    def test_each(self) -> None:
        """The models that pass remain, in order; the others are left out with what they fail."""
        for route, kept, failed in (
            (Route("r", ("*",), tee=True), ["acme/A-TEE"], "tee"),
            (Route("r", ("*",), max_price=MaxPrice(Decimal(1))), ["acme/A-TEE"], "max_price"),
        ):
            self.rules(route)
            self.assertEqual(self.models(), kept)
            names = ("acme/B", "acme/C")
            self.assertEqual(
                self.dropped(), tuple(Dropped(name, Cause.FILTERED, (failed,)) for name in names)
            )
        self.rules(Route("r", ("*",), min_context=100))
        self.assertEqual(self.models(), ["acme/A-TEE", "acme/C"])
        self.rules(Route("r", ("*",), needs=PICTURES))
        self.assertEqual(self.models(), ["acme/B", "acme/C"])

    def test_the_alias(self) -> None:
        """Filters concern what the alias adds, too, and each model is left out once."""
        self.rules(Route("r", ("acme/C",), alias_last=True, tee=True))
        self.assertEqual(self.models(), ["acme/A-TEE"])
        self.assertEqual(
            self.dropped(),
            (
                Dropped("acme/C", Cause.FILTERED, ("tee",)),
                Dropped("acme/B", Cause.FILTERED, ("tee",)),
            ),
        )

    def test_none_left(self) -> None:
        """The error names the filter, and what comes closest."""
        self.rules(
            Route("r", ("acme/B", "acme/C"), tee=True), Route("q", (), True, min_context=500)
        )
        self.check_refused(
            self.plan(),
            "no_capable_model",
            "No model of the route 'r' passes its filter: tee. Closest: 'acme/B' (fails tee);"
            " 'acme/C' (fails tee).",
        )
        self.rules(Route("q", (), True, tee=True))
        only = _snapshot("acme/B")
        self.check_refused(
            self.plan("q", snapshot=only), "no_capable_model", "filter: tee. Closest"
        )

    def test_tee_only(self) -> None:
        """What a request or the operator requires is an error of its own."""
        self.rules(Route("r", ("acme/B", "acme/C")), Route("q", ("*",)), Route("p", (), True))
        self.assertIs(self.plan(tee_only=True), TEE_REQUIRED)
        self.assertEqual(self.models("q", tee_only=True), ["acme/A-TEE"])
        self.assertEqual(self.models("p", tee_only=True), ["acme/A-TEE"])
        expected = tuple(Dropped(name, Cause.NOT_CONFIDENTIAL) for name in ("acme/B", "acme/C"))
        for text in "rqp":
            self.assertEqual(self.dropped(text, tee_only=True), expected)
        self.rules(Route("r", ("acme/B", "acme/C"), alias_last=True), require_tee=True)
        self.assertEqual(self.models(), ["acme/A-TEE"])
        for ranked in (_snapshot("acme/C"), _snapshot()):
            self.assertIs(self.plan(snapshot=ranked), TEE_REQUIRED)

    def test_needs_left(self) -> None:
        """Where the request's needs leave none, the error names them."""
        self.rules(Route("r", ("*-TEE",)), Route("q", (), True, tee=True))
        self.check_refused(
            self.plan(needs=PICTURES),
            "no_capable_model",
            "No model that the route may use supports what this request needs: images.",
            "'acme/A-TEE' (no images)",
        )
        only = _snapshot("acme/A-TEE")
        self.check_refused(
            self.plan("q", needs=PICTURES, snapshot=only), "no_capable_model", "images"
        )
        self.rules(Route("q", ("*-TEE",), alias_last=True))
        self.assertIs(self.plan("q", needs=PICTURES, snapshot=_snapshot()), NO_CANDIDATES_ERROR)
        self.rules(Route("q", (), True, tee=True))
        # What remains for the alias fails the route's filter.
        self.check_refused(self.plan("q", needs=PICTURES), "no_capable_model", "filter: tee.")


class ListTests(RoutesTestCase):
    """A route as an item of a list."""

    def test_in_its_place(self) -> None:
        """Its models stand where it does; each model counts once."""
        self.rules(Route("r", ("acme/B", "*")))
        planned = self.plan("acme/C,r")
        self.assertEqual(
            planned, Plan(Mode.LIST, candidates_of(("acme/C", "acme/B", "acme/A-TEE")))
        )
        assert isinstance(planned, Plan)
        self.assertEqual(planned.why(planned.candidates[-1]), Why.LISTED)
        self.assertEqual(self.models("r,acme/C"), ["acme/B", "acme/A-TEE", "acme/C"])
        self.assertEqual(self.models("r,"), ["acme/B", "acme/A-TEE", "acme/C"])

    def test_over_a_model(self) -> None:
        """In the client's list, too, the name is the route's."""
        self.rules(Route("acme/B", ("acme/C",)))
        self.assertEqual(self.models("acme/A-TEE,acme/B"), ["acme/A-TEE", "acme/C"])

    def test_before_the_alias(self) -> None:
        """The alias at the end of the list adds the rest, which the route's filters spare."""
        self.rules(Route("r", ("*",), tee=True))
        planned = self.plan("r,auto")
        assert isinstance(planned, Plan)
        self.assertEqual(planned.models, ("acme/A-TEE", "acme/B", "acme/C"))
        self.assertEqual(planned.added, {"acme/B", "acme/C"})
        self.assertEqual(self.dropped("r,auto"), ())

    def test_its_own_alias(self) -> None:
        """The alias at the end of a route adds where the route stands."""
        self.rules(Route("r", ("acme/C",), alias_last=True))
        self.assertEqual(self.models("r,acme/A-TEE"), ["acme/C", "acme/B", "acme/A-TEE"])

    def test_its_filters(self) -> None:
        """A route's filters concern its own models; `min_context` is none of a list's."""
        self.rules(
            Route("r", ("acme/B", "acme/A-TEE"), tee=True), Route("m", ("*",), min_context=500)
        )
        self.assertEqual(self.models("r,acme/B"), ["acme/A-TEE", "acme/B"])
        self.assertEqual(self.models("m,"), ["acme/A-TEE", "acme/B", "acme/C"])
        self.rules(
            Route("r", ("acme/B",), tee=True),
            Route("s", ("acme/C",), max_price=MaxPrice(Decimal(0))),
        )
        self.check_refused(
            self.plan("r,s"),
            "no_capable_model",
            "No model of the routes 'r', 's' passes their filters: tee, max_price, all at once.",
        )

    def test_unknown_names(self) -> None:
        """What the client lists itself must be known; the route's names need not be."""
        self.rules(Route("r", ("gone", "acme/B")))
        self.assertEqual(self.models("r,acme/C"), ["acme/B", "acme/C"])
        self.check_refused(self.plan("r,nope,auto"), "unknown_model", "Unknown model: 'nope'")
        answer = self.plan("auto,r")
        self.check_refused(answer, "unknown_model", "'auto' (an alias can only be the last item")
        self.assertEqual(
            self.dropped("r,nope"), (Dropped("gone", Cause.UNKNOWN), Dropped("nope", Cause.UNKNOWN))
        )
        self.check_refused(self.plan("acme/B:latency,r"), "unknown_model", "'acme/B:latency'")
        odd = _snapshot(catalog=Catalog.of([Model("auto"), B]))
        self.check_refused(self.plan("auto,r", snapshot=odd), "unknown_model", "'auto'")
        self.rules(Route("r", ("gone",)), unknown="forward")
        self.assertEqual(self.models("nope,r"), ["nope", "gone"])
        self.assertEqual(self.models("nope,nix,r,gone"), ["nope", "nix", "gone"])
        self.assertEqual(self.models("gone,r"), ["gone"])
        self.assertEqual(self.dropped("nope,r"), ())
        self.check_refused(self.plan("auto,r"), "unknown_model", "'auto'")

    def test_unknown_models_of_other_services(self) -> None:
        """Nor is a name with their mark sent anywhere, even where unknown names are."""
        self.rules(Route("r", ("acme/B",)), unknown="forward")
        self.set = replace(self.set, fallbacks=Fallbacks.of((("x", ("m",), None),)))
        self.assertEqual(self.models("r,@x/m"), ["acme/B", "@x/m"])
        self.check_refused(self.plan("r,@x/z"), "unknown_model", "'@x/z'")
        self.assertEqual(self.dropped("r,@x/z"), (Dropped("@x/z", Cause.UNKNOWN),))

    def test_suggestions(self) -> None:
        """Routes are among the names that an unknown one may have meant."""
        self.rules(Route("coder", ("acme/B",)))
        near = "Unknown model: 'Coder' (did you mean 'coder'?)."
        for text in ("Coder", "coder,Coder", "acme/B,Coder"):
            self.check_refused(self.plan(text), "unknown_model", near)

    def test_tee_only(self) -> None:
        """TEE concerns names and routes alike."""
        self.rules(Route("r", ("acme/B",)))
        self.assertEqual(self.models("acme/C,r,acme/a", tee_only=True), ["acme/A-TEE"])
        self.assertIs(self.plan("acme/C,r", tee_only=True), TEE_REQUIRED)

    def test_needs(self) -> None:
        """What the client names stays, also behind a pattern that dropped it."""
        self.rules(Route("r", ("*",)))
        self.assertEqual(
            self.models("r,acme/A-TEE", needs=PICTURES), ["acme/B", "acme/C", "acme/A-TEE"]
        )
        self.assertEqual(self.dropped("r,acme/A-TEE", PICTURES), ())
