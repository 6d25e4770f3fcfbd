"""The plan of a request: its candidate models, best first.

All inputs are values: the parsed selector and needs, the feeds' snapshot, the operator's rules and
the router's own observations. Each rule is one small function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from msgspec import Struct, structs

from autopilot.routing.candidate import Candidate, candidate_of, candidates_of
from autopilot.routing.candidate_order import ordered
from autopilot.routing.catalog import EMPTY, Catalog
from autopilot.routing.eligible import NO_CANDIDATES_ERROR
from autopilot.routing.fallbacks import NO_FALLBACKS, Fallbacks
from autopilot.routing.listing import Listing, listing
from autopilot.routing.names import Named, resolve
from autopilot.routing.patterns import NamePattern
from autopilot.routing.requirements import Needs
from autopilot.routing.router_error import RouterError
from autopilot.routing.routes import Route
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import ALIAS, DIRECT, Mode, Selector, as_alias
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.suggest import not_served_here, unknown_model
from autopilot.routing.tee import TEE_REQUIRED, confidential, is_confidential
from autopilot.routing.why import GONE, AffinityWhy, Why

_NONE: frozenset[str] = frozenset()
WHY_BY_MODE: Final = {
    Mode.ALIAS: Why.BEST,
    Mode.LIST: Why.LISTED,
    Mode.DIRECT: Why.DIRECT,
    Mode.ROUTE: Why.ROUTE,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's settings that decide about candidates."""

    aliases: frozenset[str]
    max_list_items: int
    unknown_models: Literal["reject", "forward", "alias"] = "reject"
    require_tee: bool = False
    patterns: tuple[NamePattern, ...] = ()
    routes: Mapping[str, Route] = field(default_factory=dict)
    private: bool = False
    """Whether there is private mode at all: without it, its routes have no models."""
    fallbacks: Fallbacks = NO_FALLBACKS

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are no models of the platform: the routes, and models of fallbacks."""
        return (*self.routes, *self.fallbacks.candidates)


class Plan(Struct, frozen=True, gc=False):
    """The candidates, best first: at least one, without duplicates.

    ``sticky``: the first one is the remembered model, and is there for that. ``added`` are the
    models that only the alias at the end of a list or of a route brings in. ``resort`` are those of
    other services, to be tried once no candidate is left. ``resorted``: all are such, for there is
    no other.
    """

    mode: Mode
    candidates: tuple[Candidate, ...]
    sticky: bool = False
    added: frozenset[str] = _NONE
    resort: tuple[Candidate, ...] = ()
    resorted: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        """The models of the candidates, in their order."""
        return tuple(candidate.model for candidate in self.candidates)

    @property
    def first_only(self) -> Plan:
        """The plan with its best candidate and no other, so that there is no failover."""
        return Plan(self.mode, self.candidates[:1], self.sticky, self.added)

    def why(self, candidate: Candidate) -> Why:
        """Return why a candidate is tried, apart from stickiness and probes."""
        if self.resorted or candidate in self.resort:
            return Why.LAST_RESORT
        return Why.BEST if candidate.model in self.added else WHY_BY_MODE[self.mode]


def settle(selector: Selector, catalog: Catalog, rules: Rules) -> Selector:
    """Return the alias for a direct name that is left to the router's choice (contract §3).

    The catalog does not have the name, in any spelling, and the name matches a pattern, or the
    operator leaves every unknown name to the router. An empty catalog knows no name, so that no
    name is unknown by it; a pattern counts all the same.
    """
    if selector.mode is not DIRECT or rules.fallbacks.claims(selector.names[0]):
        return selector
    left = selector.by_pattern or (rules.unknown_models == "alias" and bool(catalog.models))
    if not left or resolve(selector.names[0], catalog) is not None:
        return selector
    return as_alias(selector)


def plan(
    selector: Selector,
    needs: Needs,
    tee_only: bool,
    snapshot: Snapshot,
    rules: Rules,
    state: RoutingState,
) -> Plan | RouterError:
    """Return the candidates of one request, or the error if there are none (contract §3).

    The errors are 400 ``unknown_model``, ``tee_required``, ``no_capable_model`` or
    ``private_unsupported`` and 503 ``no_candidates``. Cooling models go last but are never left
    out.
    """
    tee_only, added, sticky = tee_only or rules.require_tee, _NONE, False
    resort: tuple[Candidate, ...] = ()
    if rules.fallbacks.resort and not tee_only and selector.mode is not DIRECT:
        resort = _resort(selector, rules)
    if selector.mode is ALIAS:
        candidates = snapshot.eligible.serving(needs, tee_only)
        if isinstance(candidates, RouterError):
            return _resorting(selector, candidates, resort)
    else:
        listed = _listed(selector, needs, tee_only, snapshot, rules)
        if isinstance(listed, RouterError):
            return _resorting(selector, listed, resort)
        candidates, added = listed
    # A direct name has no alternatives, so neither stickiness nor cooling applies (contract §5).
    if selector.mode is not DIRECT:
        candidates, sticky = ordered(candidates, selector, state)
    if resort:
        resort = _unnamed(resort, candidates)
    return Plan(selector.mode, candidates, sticky, added, resort)


def _resort(selector: Selector, rules: Rules) -> tuple[Candidate, ...]:
    """Return the last resort, unless a filter of a route of the selector leaves none.

    Nothing is known of these models, neither that they are confidential nor what they cost.
    """
    if any(rules.routes[name].failed(None) for name in selector.routes):
        return ()
    return rules.fallbacks.resort


def _resorting(
    selector: Selector, error: RouterError, resort: tuple[Candidate, ...]
) -> Plan | RouterError:
    """Return the plan with the last resort alone, if the error is that no model is available."""
    if not resort or error is not NO_CANDIDATES_ERROR:
        return error
    return Plan(selector.mode, resort, resorted=True)


def _unnamed(
    resort: tuple[Candidate, ...], candidates: tuple[Candidate, ...]
) -> tuple[Candidate, ...]:
    """Return those of the last resort that the client or the route does not name itself."""
    return tuple(each for each in resort if each not in candidates)


def elsewhere(planned: Plan) -> Plan | None:
    """Return the plan with the candidates of other services only; None without any.

    These remain if the account at the platform may make no call.
    """
    named = tuple(each for each in planned.candidates if each.origin is not None)
    left = named or planned.resort
    if not left:
        return None
    if left == planned.candidates:
        return planned
    resorted = planned.resorted or not named
    sticky = planned.sticky and left[0] == planned.candidates[0]
    rest = planned.resort if named else ()
    return Plan(planned.mode, left, sticky, planned.added, rest, resorted)


def at_platform(planned: Plan | RouterError) -> Plan | RouterError:
    """Return the plan without the candidates of other services, or the error if there is no other.

    Other services serve two of the paths only (contract §3).
    """
    if isinstance(planned, RouterError):
        return planned
    kept = tuple(each for each in planned.candidates if each.origin is None)
    if kept:
        sticky = planned.sticky and kept[0] == planned.candidates[0]
        return structs.replace(planned, candidates=kept, sticky=sticky, resort=())
    if planned.resorted:
        return NO_CANDIDATES_ERROR
    return not_served_here(planned.models)


def displaced(planned: Plan, state: RoutingState) -> AffinityWhy | None:
    """Return why the conversation's model is not the first to be tried; None if it is."""
    remembered = state.remembered
    if remembered is None:
        return state.forgotten
    if remembered == planned.candidates[0].model:
        return None
    if remembered not in planned.models:
        return GONE
    return AffinityWhy.COOLING if remembered in state.cooling else AffinityWhy.LISTED


def pick(remaining: Sequence[Candidate], cooling: frozenset[str]) -> Candidate:
    """Return the candidate to try next: the first that is not cooling, else the first.

    ``remaining`` must not be empty.
    """
    if not cooling:
        return remaining[0]
    return next((each for each in remaining if each.model not in cooling), remaining[0])


def _listed(
    selector: Selector, needs: Needs, tee_only: bool, snapshot: Snapshot, rules: Rules
) -> tuple[tuple[Candidate, ...], frozenset[str]] | RouterError:
    """Return the models that the client named, and those of an alias at the end of its list.

    Behind them, those that only the alias brings in.
    """
    if selector.routes:
        return _routed(selector, needs, tee_only, snapshot, rules)
    names, catalog = selector.names, EMPTY if snapshot.catalog is None else snapshot.catalog
    # Most clients use the catalog's spelling, so that no look-up is needed.
    if selector.alias_last or selector.misplaced or not catalog.models.keys() >= set(names):
        return _looked_up(selector, needs, tee_only, snapshot, rules)
    kept = confidential(names, catalog) if tee_only else names
    return kept if isinstance(kept, RouterError) else (candidates_of(kept), _NONE)


def _routed(
    selector: Selector, needs: Needs, tee_only: bool, snapshot: Snapshot, rules: Rules
) -> tuple[tuple[Candidate, ...], frozenset[str]] | RouterError:
    """Return what `_listed` returns, for a route and for a list with routes."""
    found = list_routes(selector, needs, tee_only, snapshot, rules)
    return found.error or (tuple(found.candidates), frozenset(found.added))


def list_routes(
    selector: Selector, needs: Needs, tee_only: bool, snapshot: Snapshot, rules: Rules
) -> Listing:
    """Return what a route, or a list with routes, stands for under these rules."""
    return listing(
        selector,
        needs,
        tee_only,
        snapshot,
        rules.routes,
        rules.aliases,
        forwarded=forwards(snapshot.catalog or EMPTY, rules),
        private=rules.private,
        fallbacks=rules.fallbacks,
    )


def forwards(catalog: Catalog, rules: Rules) -> bool:
    """Return whether a name that the catalog does not have is sent as it is.

    An empty catalog must not make every request fail, so it checks nothing (contract §3).
    """
    return not catalog.models or rules.unknown_models == "forward"


def _looked_up(
    selector: Selector, needs: Needs, tee_only: bool, snapshot: Snapshot, rules: Rules
) -> tuple[tuple[Candidate, ...], frozenset[str]] | RouterError:
    """Return what `_listed` returns, whatever the names and their spelling."""
    catalog = snapshot.catalog or EMPTY
    named, unknown = look_up(selector, catalog, rules)
    if unknown:
        return unknown_model(unknown, catalog, rules.aliases, selector.mode, rules.names)
    fallbacks = rules.fallbacks.candidates
    kept = tuple(
        fallbacks.get(each.sent) or candidate_of(each.sent)
        for each in named
        if not tee_only or is_confidential(each.model, catalog)
    )
    if not selector.alias_last:
        return (kept, _NONE) if kept else TEE_REQUIRED
    chosen = snapshot.eligible.serving(needs, tee_only)
    if isinstance(chosen, RouterError):
        return (kept, _NONE) if kept else TEE_REQUIRED if named else chosen
    already = {each.model for each in named}
    added = tuple(each for each in chosen if each.model not in already)
    return kept + added, frozenset(each.model for each in added)


def look_up(
    selector: Selector, catalog: Catalog, rules: Rules
) -> tuple[Sequence[Named], Sequence[str]]:
    """Return the models that a selector names, each once, and the names that are rejected.

    A name that the catalog does not have is rejected, unless the operator has it forwarded. An
    alias that is not the last item of its list always is.
    """
    forwarded = forwards(catalog, rules)
    named: dict[tuple[str, str], Named] = {}
    unknown = []
    for name in selector.names:
        misplaced = name in selector.misplaced
        if rules.fallbacks.claims(name):
            other = rules.fallbacks.find(name)
            found = None if other is None else Named(other.model, "", other.model)
        else:
            found = None if misplaced else resolve(name, catalog, selector.mode)
            if found is None and forwarded and not misplaced:
                found = Named(name, "", name)
        if found is None:
            unknown.append(name)
        else:
            named.setdefault((found.model, found.suffix), found)
    return tuple(named.values()), unknown
