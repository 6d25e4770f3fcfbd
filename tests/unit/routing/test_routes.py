"""Tests of routes: their models in a catalog, and their filters."""

from __future__ import annotations

from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import Candidate, candidate_of
from autopilot.routing.catalog import EMPTY, Catalog, Model
from autopilot.routing.fallbacks import Fallbacks
from autopilot.routing.names import Named
from autopilot.routing.pricing import MaxPrice, Prices
from autopilot.routing.requirements import NOTHING, Needs
from autopilot.routing.routes import Route, models_of

CATALOG = Catalog.of(
    [
        Model(
            "acme/A-TEE",
            "id-a",
            tee=True,
            context_length=100,
            input_modalities=frozenset({"text"}),
            features=frozenset({"tools", "json_mode"}),
            prices=Prices(Decimal("0.1"), Decimal("0.4")),
        ),
        Model("acme/B", "id-b", tee=False, context_length=200, features=frozenset()),
        Model("zai-org/C-TEE", "id-c"),
    ]
)
EVERY = ("acme/A-TEE", "acme/B", "zai-org/C-TEE")


def _names(route: Route, catalog: Catalog = CATALOG, *, forwarded: bool = False) -> list[str]:
    found = models_of(route, catalog, forwarded=forwarded)
    return [each.candidate.model for each in found.models]


class RouteTests(SynchronousTestCase):
    """The value."""

    def test_defaults(self) -> None:
        """Without members a route filters nothing, and has nothing of its own."""
        expected = Route("r", (), False, None, False, MaxPrice(None, None), NOTHING, None, False)
        self.assertEqual(Route("r"), expected)
        self.assertEqual(Route("r").filters, ())
        for model in (None, *CATALOG.models.values()):
            self.assertEqual(Route("r").failed(model), ())

    def test_chooses(self) -> None:
        """The router chooses what a pattern or the alias brings."""
        self.assertFalse(Route("r").chooses)
        self.assertFalse(Route("r", ("a", "b")).chooses)
        self.assertTrue(Route("r", ("a", "*-TEE")).chooses)
        self.assertTrue(Route("r", ("a",), alias_last=True).chooses)

    def test_as_item(self) -> None:
        """In a list a route keeps its models, `tee`, `max_price` and `needs`."""
        route = Route(
            "r",
            ("a",),
            alias_last=True,
            tee=True,
            max_price=MaxPrice(Decimal(1)),
            needs=Needs(tools=True),
            min_context=5,
        )
        expected = Route("r", ("a",), True, None, True, MaxPrice(Decimal(1)), Needs(tools=True))
        self.assertEqual(route.as_item, expected)
        self.assertIs(expected.as_item, expected)

    def test_filters(self) -> None:
        """The filters that are set, with their values."""
        for route, expected in (
            (Route("r", tee=True), ("tee",)),
            (Route("r", max_price=MaxPrice(prompt=Decimal("0.50"))), ("prompt up to $0.50",)),
            (
                Route("r", max_price=MaxPrice(completion=Decimal("1E+2"))),
                ("completion up to $100",),
            ),
            (Route("r", needs=Needs(images=True, tools=True)), ("needs images", "needs tools")),
            (Route("r", needs=Needs(json_schema=True, json_mode=True)), ("needs response_format",)),
            (Route("r", min_context=9), ("context of at least 9",)),
            (Route("r", private=True), ("private",)),
            (Route("r", tee=True, min_context=9), ("tee", "context of at least 9")),
        ):
            self.assertEqual(route.filters, expected)


class FailedTests(SynchronousTestCase):
    """One filter at a time."""

    def check(self, route: Route, *expected: tuple[str, ...]) -> None:
        """Check what each model of the catalog fails, and an unknown one."""
        models = (*CATALOG.models.values(), None)
        self.assertEqual(tuple(map(route.failed, models)), expected)

    def test_tee(self) -> None:
        """A model must be marked as confidential."""
        self.check(Route("r", tee=True), (), ("tee",), ("tee",), ("tee",))

    def test_max_price(self) -> None:
        """A price must be known, and at most the limit."""
        too_high = ("max_price",)
        for limit, failed in (
            (MaxPrice(Decimal("0.1"), Decimal("0.4")), ()),
            (MaxPrice(Decimal("0.09")), too_high),
            (MaxPrice(None, Decimal("0.39")), too_high),
        ):
            self.check(Route("r", max_price=limit), failed, too_high, too_high, too_high)

    def test_needs(self) -> None:
        """A model that is known to lack something fails; what is unknown does not."""
        for needs, failed in (
            (Needs(tools=True), ((), ("needs tools",))),
            (Needs(images=True), (("needs images",), ())),
            (Needs(json_schema=True, json_mode=True), (("needs response_format",),) * 2),
            (Needs(json_mode=True), ((), ("needs response_format",))),
            (
                Needs(images=True, json_schema=True, json_mode=True, tools=True),
                (
                    ("needs images", "needs response_format"),
                    ("needs tools", "needs response_format"),
                ),
            ),
        ):
            self.check(Route("r", needs=needs), *failed, (), ())

    def test_min_context(self) -> None:
        """A context that is known must be as long."""
        short = ("min_context",)
        for least, failed in ((100, ((), ())), (101, (short, ())), (201, (short, short))):
            self.check(Route("r", min_context=least), *failed, (), ())

    def test_all(self) -> None:
        """Every filter that a model fails is named."""
        route = Route(
            "r", tee=True, max_price=MaxPrice(Decimal(0)), needs=Needs(tools=True), min_context=500
        )
        self.check(
            route,
            ("max_price", "min_context"),
            ("tee", "max_price", "needs tools", "min_context"),
            ("tee", "max_price"),
            ("tee", "max_price"),
        )


class ModelsTests(SynchronousTestCase):
    """What the names and patterns stand for."""

    def test_names(self) -> None:
        """Names keep the route's order and may have any of their spellings."""
        self.assertEqual(_names(Route("r", ("acme/B", "acme/a"))), ["acme/B", "acme/A-TEE"])
        found = models_of(Route("r", ("id-b", "thudm/c:THINKING")), CATALOG, forwarded=False)
        self.assertEqual(
            [(each.candidate, each.named.model, each.by_pattern) for each in found.models],
            [
                (Candidate("id-b"), "acme/B", False),
                (Candidate("zai-org/C-TEE:THINKING"), "zai-org/C-TEE", False),
            ],
        )
        self.assertEqual((found.failing, found.unknown), ((), ()))

    def test_each_once(self) -> None:
        """Of several spellings the first stays; with a suffix it is another candidate."""
        route = Route("r", ("acme/b", "id-b", "acme/B:THINKING", "ACME/B"))
        self.assertEqual(_names(route), ["acme/B", "acme/B:THINKING"])

    def test_patterns(self) -> None:
        """A pattern stands for the models that match, in the catalog's order and in any case."""
        for item, expected in (
            ("*", EVERY),
            ("*-tee", ("acme/A-TEE", "zai-org/C-TEE")),
            ("ACME/*", ("acme/A-TEE", "acme/B")),
            ("*/C*", ("zai-org/C-TEE",)),
            ("none*", ()),
        ):
            self.assertEqual(_names(Route("r", (item,))), list(expected), item)
        found = models_of(Route("r", ("acme/B", "*")), CATALOG, forwarded=False)
        self.assertEqual(
            [(each.named.model, each.by_pattern) for each in found.models],
            [("acme/B", False), ("acme/A-TEE", True), ("zai-org/C-TEE", True)],
        )

    def test_a_pattern_first(self) -> None:
        """A model that a pattern brought before its name keeps its place."""
        self.assertEqual(
            _names(Route("r", ("*-TEE", "acme/A-TEE"))), ["acme/A-TEE", "zai-org/C-TEE"]
        )
        self.assertEqual(
            _names(Route("r", ("*-TEE", "acme/B"))), ["acme/A-TEE", "zai-org/C-TEE", "acme/B"]
        )

    def test_an_order_is_no_part_of_a_name(self) -> None:
        """Only a whole selector has an order, so that a name in a route with one is unknown."""
        found = models_of(Route("r", ("acme/B:latency",)), CATALOG, forwarded=False)
        self.assertEqual((found.models, found.unknown), ((), ("acme/B:latency",)))

    def test_unknown(self) -> None:
        """A name that the catalog does not have is left out, or sent as it is; a pattern is not."""
        route = Route("r", ("nope", "acme/B", "nix*"))
        found = models_of(route, CATALOG, forwarded=False)
        self.assertEqual((len(found.models), found.unknown), (1, ("nope", "nix*")))
        found = models_of(route, CATALOG, forwarded=True)
        self.assertEqual((len(found.models), found.unknown), (2, ("nix*",)))
        self.assertEqual(models_of(route, EMPTY, forwarded=True).unknown, ())
        self.assertEqual(_names(route, forwarded=True), ["nope", "acme/B"])
        self.assertEqual(_names(route, EMPTY, forwarded=True), ["nope", "acme/B"])
        long = "x" * 300
        self.assertEqual(
            models_of(Route("r", (long,)), EMPTY, forwarded=True).models[0].candidate,
            candidate_of(long),
        )

    def test_filters(self) -> None:
        """A model that fails a filter is kept apart with it, whatever brings it."""
        route = Route("r", ("acme/B", "*"), tee=True)
        found = models_of(route, CATALOG, forwarded=False)
        self.assertEqual([each.named.model for each in found.models], ["acme/A-TEE"])
        self.assertEqual(found.failing, (("acme/B", ("tee",)), ("zai-org/C-TEE", ("tee",))))
        stranger = models_of(Route("r", ("nope",), tee=True), CATALOG, forwarded=True)
        self.assertEqual(stranger.failing, (("nope", ("tee",)),))

    def test_the_name_of_a_route(self) -> None:
        """In a route its own name is the model's."""
        self.assertEqual(
            _names(Route("acme/B", ("acme/B", "*-TEE"))), ["acme/B", EVERY[0], EVERY[2]]
        )


class FallbackTests(SynchronousTestCase):
    """Models of other services among those of a route (docs/fallbacks.md)."""

    OTHERS = Fallbacks.of((("x", ("m", "n"), None),))

    def test_in_order(self) -> None:
        """Each stands in its place, once, and is not the router's choice."""
        route = Route("r", ("acme/B", "@x/m", "*-TEE", "@x/m", "@x/n"), fallbacks=self.OTHERS)
        for forwarded in (False, True):
            found = models_of(route, CATALOG, forwarded=forwarded)
            self.assertEqual(
                [(each.candidate.model, each.by_pattern) for each in found.models],
                [
                    *(("acme/B", False), ("@x/m", False)),
                    *(("acme/A-TEE", True), ("zai-org/C-TEE", True)),
                    ("@x/n", False),
                ],
            )
            other = found.models[1]
            self.assertEqual(other.candidate, Candidate("@x/m", origin="x", sent="m"))
            self.assertEqual(other.named, Named("@x/m", "", "@x/m"))
            self.assertEqual((found.failing, found.unknown), ((), ()))

    def test_unknown(self) -> None:
        """One that the file does not have is left out, and never sent anywhere."""
        route = Route("r", ("@x/z", "@x/*", "acme/B"), fallbacks=self.OTHERS)
        for forwarded in (False, True):
            found = models_of(route, CATALOG, forwarded=forwarded)
            self.assertEqual([each.candidate.model for each in found.models], ["acme/B"])
            self.assertEqual(found.unknown, ("@x/z", "@x/*"))

    def test_filters(self) -> None:
        """Nothing is known of them, which `tee` and `max_price` do not let pass."""
        names = ("@x/m", "acme/A-TEE")
        for route, failed in (
            (Route("r", names, tee=True, fallbacks=self.OTHERS), ("tee",)),
            (
                Route("r", names, max_price=MaxPrice(Decimal(1)), fallbacks=self.OTHERS),
                ("max_price",),
            ),
        ):
            found = models_of(route, CATALOG, forwarded=False)
            self.assertEqual([each.candidate.model for each in found.models], ["acme/A-TEE"])
            self.assertEqual(found.failing, (("@x/m", failed),))
