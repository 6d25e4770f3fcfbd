"""A control plane that reads an invented platform's feeds, and the plans made from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from autopilot.feeds.model_list import models_document
from autopilot.feeds.readiness import readiness
from autopilot.routing.plan import Plan, Rules, plan
from autopilot.routing.requirements import NOTHING, Needs
from autopilot.routing.router_error import RouterError
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import Selector, parse_selector
from stub_backend.feed_bodies import catalog, utilization
from stub_backend.population import Population, populate
from tests.unit.feeds.planes import MODELS_EVERY, UTILIZATION_EVERY, PlaneTestCase

ALIAS = "chutesai/AutoPilot"
RULES = Rules(aliases=frozenset({ALIAS}), max_list_items=8)

PRIVATE = "[private chute]"

Records = list[dict[str, Any]]


def copied(records: Records) -> Records:
    """Return a deep copy, to be changed."""
    copies: Records = json.loads(json.dumps(records))
    return copies


class DriftTestCase(PlaneTestCase):
    """A platform of the real one's size: 61 models, 96 public chutes, 442 private ones."""

    def setUp(self) -> None:
        """Fetch both feeds once in their usual form."""
        super().setUp()
        self.population: Population = populate(7, 61, 36, 442)
        self.entries: Records = json.loads(catalog(self.population))["data"]
        self.records: Records = json.loads(utilization(self.population))
        self.fetched(self.entries, self.records)
        self.plane.start()

    def fetched(self, entries: Records, records: Records) -> None:
        """Serve these feeds from now on."""
        self.models.gives(json.dumps({"object": "list", "data": entries}).encode())
        self.utilization.gives(json.dumps(records).encode())

    def refresh(self, *, catalog_too: bool = True) -> None:
        """Let the next refresh of the utilization feed pass, and of the catalog as well."""
        self.clock.advance(MODELS_EVERY if catalog_too else UTILIZATION_EVERY)

    def changed(self, entry: Callable[[dict[str, Any], int], object]) -> Records:
        """Return copies of the catalog's entries, each changed by a function of its number."""
        copies = [dict(each) for each in self.entries]
        for number, each in enumerate(copies):
            entry(each, number)
        return copies

    @property
    def names(self) -> list[str]:
        """Return the ranking, best first."""
        return [ranked.name for ranked in self.plane.snapshot.ranking]

    @property
    def code(self) -> str | None:
        """Return why the router is not ready; None if it is."""
        now = self.clock.seconds()
        judged = readiness(self.plane.snapshot, self.plane.statuses, now, 60.0, 900.0, False)
        return judged.code

    @property
    def listing(self) -> Records:
        """Return the ids in `GET /v1/models`, without the alias."""
        known = self.plane.snapshot.catalog
        assert known is not None
        data: Records = json.loads(models_document(known, (ALIAS,), 0))["data"]
        return data[1:]

    def plan(self, model: str, needs: Needs = NOTHING, recall: RoutingState | None = None) -> Any:
        """Return the candidates for a request, or the code of its error."""
        selector = parse_selector(model, RULES.aliases, RULES.max_list_items)
        assert isinstance(selector, Selector)
        made = plan(selector, needs, False, self.plane.snapshot, RULES, recall or RoutingState())
        if isinstance(made, RouterError):
            return made.code
        assert isinstance(made, Plan)
        return list(made.models)
