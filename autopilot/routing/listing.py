"""The candidates of a selector with routes, and the models that it leaves out (contract §3).

The selector is a route, or a list of which an item is one. A name in the list that no route has is
a model's, as in any list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from autopilot.routing.candidate import Candidate, candidate_of
from autopilot.routing.capability_errors import no_capable_model, no_passing_model
from autopilot.routing.catalog import EMPTY, Catalog
from autopilot.routing.eligible import NO_CANDIDATES_ERROR
from autopilot.routing.fallbacks import Fallbacks
from autopilot.routing.names import Named, resolve
from autopilot.routing.private_mode import PRIVATE_IS_OFF
from autopilot.routing.requirements import NOTHING, Needs, lacks
from autopilot.routing.router_error import RouterError
from autopilot.routing.routes import Route
from autopilot.routing.selector import Mode, Selector
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.suggest import echo, unknown_model
from autopilot.routing.tee import TEE_REQUIRED, is_confidential


class Cause(StrEnum):
    """The rule that excludes a model."""

    UNKNOWN = "unknown"
    NOT_CONFIDENTIAL = "not_confidential"
    LACKS = "lacks"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A model that is no candidate; ``lacks`` names the needs, or the filters, not met."""

    name: str
    cause: Cause
    lacks: tuple[str, ...] = ()


@dataclass(slots=True)
class Listing:
    """The result: the candidates in order, those that only an alias adds, and the models left out.

    ``error`` is what the client gets if there is no candidate, or if a name is rejected.
    """

    candidates: list[Candidate] = field(default_factory=list)
    added: set[str] = field(default_factory=set)
    dropped: list[Dropped] = field(default_factory=list)
    error: RouterError | None = None


def listing(
    selector: Selector,
    needs: Needs,
    tee_only: bool,
    snapshot: Snapshot,
    routes: Mapping[str, Route],
    aliases: frozenset[str],
    *,
    forwarded: bool,
    private: bool,
    fallbacks: Fallbacks,
) -> Listing:
    """Return the candidates of a selector that has ``routes``.

    ``forwarded``: a name that the catalog does not have is sent as it is. Otherwise one in the
    client's list is an error, and one in a route is left out: the catalog changes, and the client
    did not write it. ``private``: there is private mode, so that its routes have models.
    """
    builder = _Builder(needs, tee_only, snapshot, forwarded, fallbacks)
    unknown = []
    for name in selector.names:
        route = routes.get(name)
        if route is not None:
            builder.add_route(route if selector.mode is Mode.ROUTE else route.as_item)
        elif not builder.add_name(name, misplaced=name in selector.misplaced):
            unknown.append(name)
    if selector.alias_last:
        builder.add_alias(None)
    result = builder.result
    if unknown:
        known = (*routes, *fallbacks.candidates)
        result.error = unknown_model(unknown, builder.catalog, aliases, selector.mode, known)
    elif not private and any(routes[name].private for name in selector.routes):
        result.error = PRIVATE_IS_OFF
    elif not result.candidates:
        result.error = builder.error()
    return result


class _Builder:
    """Adds item after item; of a model that several items mean, the first counts."""

    def __init__(
        self,
        needs: Needs,
        tee_only: bool,
        snapshot: Snapshot,
        forwarded: bool,
        fallbacks: Fallbacks,
    ) -> None:
        self.catalog: Catalog = snapshot.catalog or EMPTY
        self.result = Listing()
        self._needs = needs
        self._tee_only = tee_only
        self._eligible = snapshot.eligible
        self._forwarded = forwarded
        self._fallbacks = fallbacks
        self._taken: set[tuple[str, str]] = set()
        self._routes: list[Route] = []
        self._alias_error: RouterError | None = None

    def add_name(self, name: str, *, misplaced: bool) -> bool:
        """Add a model by its name; return False if it is rejected."""
        if self._fallbacks.claims(name):
            return self._add_fallback(name)
        named = None if misplaced else resolve(name, self.catalog, Mode.LIST)
        if named is None and self._forwarded and not misplaced:
            named = Named(name, "", name)
        if named is None:
            self.result.dropped.append(Dropped(name, Cause.UNKNOWN))
            return False
        self._add(named, candidate_of(named.sent), NOTHING)
        return True

    def _add_fallback(self, name: str) -> bool:
        found = self._fallbacks.find(name)
        if found is None:
            self.result.dropped.append(Dropped(name, Cause.UNKNOWN))
            return False
        self._add(Named(found.model, "", found.model), found, NOTHING)
        return True

    def add_route(self, route: Route) -> None:
        """Add the models of a route that pass its filters."""
        self._routes.append(route)
        found = self._eligible.route_models(route, self._forwarded)
        dropped = self.result.dropped
        dropped += [Dropped(name, Cause.UNKNOWN) for name in found.unknown]
        dropped += [Dropped(name, Cause.FILTERED, failed) for name, failed in found.failing]
        for each in found.models:
            # What the router chooses must be capable; what the operator named stays.
            self._add(each.named, each.candidate, self._needs if each.by_pattern else NOTHING)
        if route.alias_last:
            self.add_alias(route)

    def _add(self, named: Named, candidate: Candidate, needs: Needs) -> None:
        key = named.model, named.suffix
        if key in self._taken:
            return
        if self._tee_only and not is_confidential(named.model, self.catalog):
            self.result.dropped.append(Dropped(named.model, Cause.NOT_CONFIDENTIAL))
            return
        model = self.catalog.models.get(named.model)
        if needs != NOTHING and model is not None and (missing := tuple(lacks(model, needs))):
            self.result.dropped.append(Dropped(named.model, Cause.LACKS, missing))
            return
        self._taken.add(key)
        self.result.candidates.append(candidate)

    def add_alias(self, route: Route | None) -> None:
        """Add what the alias adds at the end of a list, or of a route with its filters."""
        chosen = self._eligible.serving(self._needs, self._tee_only)
        if isinstance(chosen, RouterError):
            self._alias_error = chosen
            return
        taken = {model for model, _ in self._taken}
        for each in chosen:
            if each.model in taken:
                continue
            failed = () if route is None else route.failed(self.catalog.models.get(each.model))
            if failed:
                self.result.dropped.append(Dropped(each.model, Cause.FILTERED, failed))
            else:
                self._taken.add((each.model, ""))
                self.result.candidates.append(each)
                self.result.added.add(each.model)

    def error(self) -> RouterError:
        """Return the error if there is no candidate."""
        dropped = self.result.dropped
        if any(each.cause is Cause.NOT_CONFIDENTIAL for each in dropped):
            return TEE_REQUIRED
        if self._alias_error is not None:
            return self._alias_error
        incapable = [each.name for each in dropped if each.cause is Cause.LACKS]
        if incapable:
            models = [self.catalog.models[name] for name in incapable]
            return no_capable_model(models, self._needs, "that the route may use")
        failing = [(each.name, each.lacks) for each in dropped if each.cause is Cause.FILTERED]
        if failing:
            return no_passing_model([route.name for route in self._routes], failing)
        return _nothing_left([each.name for each in dropped])


def _nothing_left(unknown: Sequence[str]) -> RouterError:
    """Return the error of routes for whose models the catalog has nothing."""
    if not unknown:
        return NO_CANDIDATES_ERROR
    names = "; ".join(map(echo, unknown))
    message = f"The catalog has none of the models of this route: {names}."
    return RouterError(400, "unknown_model", message, param="model")
