"""Routes: an operator's names for ordered models, with conditions that these must meet.

A route names models and patterns such as ``*-TEE``, which stand for the catalog's models in its
order, and may end with the alias (contract §3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from autopilot.routing.candidate import Candidate, candidate_of
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.commit import Commit
from autopilot.routing.fallbacks import NO_FALLBACKS, Fallbacks
from autopilot.routing.names import Named, resolve
from autopilot.routing.patterns import NamePattern, is_pattern
from autopilot.routing.pricing import NO_LIMIT, NO_PRICES, MaxPrice
from autopilot.routing.requirements import NOTHING, Needs, lacks
from autopilot.routing.selector import Mode

_NEEDS = {"json_schema": "response_format", "json_mode": "response_format"}


@dataclass(frozen=True, slots=True)
class Route:
    """One route. ``models`` are its names and patterns; the alias as their last is ``alias_last``.

    ``tee``, ``max_price``, ``needs`` and ``min_context`` are filters of its models. ``commit`` is
    its own commit point, None for the router's.
    """

    name: str
    models: tuple[str, ...] = ()
    alias_last: bool = False
    commit: Commit | None = None
    tee: bool = False
    max_price: MaxPrice = NO_LIMIT
    needs: Needs = NOTHING
    min_context: int | None = None
    private: bool = False
    fallbacks: Fallbacks = NO_FALLBACKS
    """The other services of which its ``models`` may name some."""

    @property
    def chooses(self) -> bool:
        """Whether it leaves models to the router's choice, so that a request's needs count."""
        return self.alias_last or any(map(is_pattern, self.models))

    @property
    def as_item(self) -> Route:
        """The route as an item of a list, to which it brings only some of its filters."""
        return self if self.min_context is None else replace(self, min_context=None)

    def failed(self, model: Model | None) -> tuple[str, ...]:
        """Return the filters that a model does not pass, as the route's file spells them.

        None is a model of which nothing is known. What is not known of a model fails ``tee`` and
        ``max_price``, and no other filter.
        """
        return tuple(dict.fromkeys(self._failed(model)))

    def _failed(self, model: Model | None) -> Iterator[str]:
        if self.tee and (model is None or model.tee is not True):
            yield "tee"
        if not self.max_price.allows(NO_PRICES if model is None else model.prices):
            yield "max_price"
        if model is None:
            return
        for need in lacks(model, self.needs):
            yield f"needs {_NEEDS.get(need, need)}"
        least, context = self.min_context, model.context_length
        if least is not None and context is not None and context < least:
            yield "min_context"

    @property
    def filters(self) -> tuple[str, ...]:
        """The filters that it has, with their values, for people."""
        price, found = self.max_price, ["tee"] if self.tee else []
        limits = (("prompt", price.prompt), ("completion", price.completion))
        found += [f"{kind} up to ${limit:f}" for kind, limit in limits if limit is not None]
        wanted = (need for need in self.needs.__struct_fields__ if getattr(self.needs, need))
        found += [f"needs {need}" for need in dict.fromkeys(_NEEDS.get(w, w) for w in wanted)]
        if self.min_context is not None:
            found.append(f"context of at least {self.min_context}")
        return (*found, "private") if self.private else tuple(found)


class RouteModel(NamedTuple):
    """A model of a route: its candidate, and whether a pattern brings it, not its name."""

    named: Named
    candidate: Candidate
    by_pattern: bool


class RouteModels(NamedTuple):
    """What a route's names and patterns stand for in one catalog, in the route's order.

    ``models`` pass its filters. ``failing`` do not: each with the filters that it fails.
    ``unknown`` are the names that the catalog does not have, and the patterns that nothing matches.
    """

    models: tuple[RouteModel, ...]
    failing: tuple[tuple[str, tuple[str, ...]], ...]
    unknown: tuple[str, ...]


def models_of(route: Route, catalog: Catalog, *, forwarded: bool) -> RouteModels:
    """Return the models of a route, each once; ``forwarded``: unknown names are sent as they are.

    The name of a route means the model here.
    """
    found: dict[tuple[str, str], RouteModel] = {}
    unknown = []
    for item in route.models:
        if route.fallbacks.claims(item):
            other = route.fallbacks.candidates.get(item)
            if other is None:
                unknown.append(item)
            else:
                found.setdefault((item, ""), RouteModel(Named(item, "", item), other, False))
            continue
        if is_pattern(item):
            matching = tuple(_matching(item, catalog))
            if not matching and catalog.models:  # before the first fetch nothing is known
                unknown.append(item)
            for each in matching:
                found.setdefault((each.model, each.suffix), _route_model(each, True))
            continue
        named = resolve(item, catalog, Mode.LIST)
        if named is None and not forwarded:
            unknown.append(item)
            continue
        named = named or Named(item, "", item)
        found.setdefault((named.model, named.suffix), _route_model(named, False))
    passing, failing = [], []
    for each_model in found.values():
        name = each_model.named.model
        failed = route.failed(catalog.models.get(name))
        if failed:
            failing.append((name, failed))
        else:
            passing.append(each_model)
    return RouteModels(tuple(passing), tuple(failing), tuple(unknown))


def _matching(item: str, catalog: Catalog) -> Iterator[Named]:
    """Yield the models whose names match a pattern, in the catalog's order."""
    pattern = NamePattern.of(item)
    for name in catalog.models:
        if pattern.matches(name.lower()):
            yield Named(name, "", name)


def _route_model(named: Named, by_pattern: bool) -> RouteModel:
    return RouteModel(named, candidate_of(named.sent), by_pattern)
