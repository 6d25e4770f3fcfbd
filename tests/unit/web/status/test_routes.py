"""Tests of the routes on the status page and in /status.json."""

from __future__ import annotations

import json
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.plan import Rules
from autopilot.routing.pricing import MaxPrice
from autopilot.routing.ranking import Load, rank
from autopilot.routing.routes import Route
from autopilot.routing.snapshot import Snapshot
from autopilot.web.status.routes import RouteNow, routes, routes_now
from autopilot.web.status.sections import sections
from tests.unit.web.status.values import facts


def _snapshot() -> Snapshot:
    catalog = Catalog.of([Model("acme/A", tee=True), Model("acme/B")])
    return Snapshot(catalog, rank([Load("acme/B", None, 9), Load("acme/A", None, 1)], catalog))


class RoutesNowTests(SynchronousTestCase):
    """What a route stands for."""

    def now(self, *given: Route, require_tee: bool = False) -> tuple[RouteNow, ...]:
        """Return what these routes stand for."""
        named = {each.name: each for each in given}
        return routes_now(Rules(frozenset(), 8, require_tee=require_tee, routes=named), _snapshot())

    def test_models(self) -> None:
        """Each has its models in order, as a plain request would get them, and its filters."""
        self.assertEqual(
            self.now(
                Route("r", ("acme/A",), alias_last=True),
                Route("tee", ("*",), tee=True),
                Route("free", ("*",), max_price=MaxPrice(Decimal(0))),
                Route("later", ("*",), private=True),
                Route("all", (), alias_last=True),
            ),
            (
                RouteNow("r", ("acme/A", "acme/B"), None, ()),
                RouteNow("tee", ("acme/A",), None, ("tee",)),
                RouteNow("free", (), "no_capable_model", ("prompt up to $0",)),
                RouteNow("later", (), "private_unsupported", ("private",)),
                RouteNow("all", ("acme/B", "acme/A"), None, ()),
            ),
        )

    def test_rules(self) -> None:
        """What the operator requires of all models counts."""
        (found,) = self.now(Route("r", ("*",)), require_tee=True)
        self.assertEqual(found.models, ("acme/A",))


class SectionTests(SynchronousTestCase):
    """The section of the page, and the member of the JSON."""

    def test_none(self) -> None:
        """Without routes the section is hidden, and the list empty."""
        section = sections(facts("acme/A"))["routes"]
        self.assertEqual(section, '<section id="routes" hidden></section>')
        self.assertEqual(json.loads(b"".join(facts("acme/A").slices()))["routes"], [])

    def test_rows(self) -> None:
        """A row has the route, its first models and the filters, escaped."""
        many = tuple(f"m{number}" for number in range(10))
        section = routes(
            [
                RouteNow("team/r", many, None, ("tee", "prompt up to $1")),
                RouteNow("s", (), "<no>", ()),
            ]
        )
        self.assertIn("team/<wbr>r", section)
        shown = "".join(f"<li>m{number}</li>" for number in range(8))
        self.assertIn(f'<ul class="listed">{shown}<li>2 more</li></ul>', section)
        self.assertIn("<li>tee</li><li>prompt up to $1</li>", section)
        self.assertIn("none: &lt;no&gt;", section)
        self.assertIn("2 routes", section)
        self.assertNotIn("hidden", section)
        eight = routes([RouteNow("r", many[:8], None, ())])
        self.assertIn(f"{shown}</ul>", eight)
        self.assertIn("1 route<", eight)

    def test_json(self) -> None:
        """The JSON has every model."""
        known = (RouteNow("r", ("a", "b"), None, ("tee",)), RouteNow("s", (), "no_candidates", ()))
        report = json.loads(b"".join(facts("acme/A", routes=known).slices()))
        self.assertEqual(
            report["routes"],
            [
                {"name": "r", "models": ["a", "b"], "error": None, "filters": ["tee"]},
                {"name": "s", "models": [], "error": "no_candidates", "filters": []},
            ],
        )

    def test_limit(self) -> None:
        """A page has at most two hundred routes, and says where the others are."""
        section = routes([RouteNow(f"r{number}", ("a",), None, ()) for number in range(201)])
        self.assertIn("and 1 more routes, which are in", section)
