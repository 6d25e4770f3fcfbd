"""The models behind the alias that meet a request's needs, computed once per snapshot.

The result depends on the feeds and on a few traits of the request only. Each snapshot therefore has
its own `EligibleModels`, which caches its results. The cache is bounded, whatever clients send.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from autopilot.routing.candidate import Candidate, candidates_of
from autopilot.routing.capability_errors import no_capable_model
from autopilot.routing.catalog import EMPTY, Catalog
from autopilot.routing.ranking import Ranked
from autopilot.routing.requirements import NOTHING, Needs, lacking
from autopilot.routing.router_error import RouterError
from autopilot.routing.routes import Route, RouteModels, models_of
from autopilot.routing.tee import confidential

RETRY_AFTER = 5
"""``Retry-After`` seconds for an alias without candidates if the next refresh is unknown."""

NO_CANDIDATES = "no_candidates"
"""The error code of an alias without candidates."""

_MAX_CACHED = 256

# Either the eligible candidates, best first, or the error to return to the client.
Eligibility = tuple[Candidate, ...] | RouterError

NO_CANDIDATES_ERROR = RouterError(
    503, NO_CANDIDATES, "No model is available right now.", retry_after=RETRY_AFTER
)
"""The error of an alias without candidates."""


class EligibleModels:
    """The ranked models of one snapshot, filtered by what a request needs."""

    __slots__ = (
        "_cache",
        "_catalog",
        "_context_limits",
        "_names",
        "_output_limits",
        "_routes",
        "_whole",
        "least_context",
    )

    def __init__(self, catalog: Catalog | None, ranking: Iterable[Ranked]) -> None:
        self._catalog = EMPTY if catalog is None else catalog
        self._names = tuple(dict.fromkeys(ranked.name for ranked in ranking))
        listed = [self._catalog.models[name] for name in self._names if name in self._catalog]
        self._output_limits = _distinct(model.max_output_length for model in listed)
        self._context_limits = _distinct(model.context_length for model in listed)
        self._cache: dict[tuple[object, ...], Eligibility] = {}
        self._whole = self._cached(NOTHING, False)
        self._routes: dict[tuple[Route, bool], RouteModels] = {}
        self.least_context = self._context_limits[0] if self._context_limits else None
        """The shortest known context of the ranked models, in tokens; None if none is known."""

    @property
    def names(self) -> tuple[str, ...]:
        """All ranked models, best first."""
        return self._names

    def serving(self, needs: Needs, tee_only: bool) -> Eligibility:
        """Return the models that may serve a request for the alias, best first, or the error.

        The errors are 503 ``no_candidates``, 400 ``tee_required`` and 400 ``no_capable_model``.
        """
        if needs is NOTHING and not tee_only:  # most requests are plain text
            return self._whole
        return self._cached(needs, tee_only)

    def _cached(self, needs: Needs, tee_only: bool) -> Eligibility:
        cache_key = (
            tee_only,
            needs.images,
            needs.audio,
            needs.video,
            needs.tools,
            needs.json_schema,
            needs.json_mode,
            # Two numbers that lie between the same two model limits exclude the same models, so
            # the cache is keyed by that interval, not by the client's number.
            bisect_left(self._output_limits, output) if (output := needs.completion_tokens) else 0,
            bisect_left(self._context_limits, prompt) if (prompt := needs.prompt_tokens) else 0,
        )
        result = self._cache.get(cache_key)
        if result is None:
            if len(self._cache) >= _MAX_CACHED:
                # Clearing the whole cache needs no bookkeeping; real traffic has a few dozen keys.
                self._cache.clear()
            result = self._cache[cache_key] = self._compute(needs, tee_only)
        return result

    def route_models(self, route: Route, forwarded: bool) -> RouteModels:
        """Return what `models_of` returns for the catalog of this snapshot."""
        found = self._routes.get((route, forwarded))
        if found is None:
            # Only a change of the routes brings other ones, so the cache stays small.
            found = models_of(route, self._catalog, forwarded=forwarded)
            self._routes[route, forwarded] = found
        return found

    def _compute(self, needs: Needs, tee_only: bool) -> Eligibility:
        """Apply the filters in order: ranked at all, confidential if required, capable."""
        if not self._names:
            return NO_CANDIDATES_ERROR
        names = confidential(self._names, self._catalog) if tee_only else self._names
        if isinstance(names, RouterError):
            return names
        capable = _capable(names, self._catalog, needs)
        return capable if isinstance(capable, RouterError) else candidates_of(capable)


def _distinct(limits: Iterable[int | None]) -> list[int]:
    """Return the distinct known limits in ascending order."""
    return sorted({limit for limit in limits if limit is not None})


def _capable(
    names: tuple[str, ...], catalog: Catalog, needs: Needs
) -> tuple[str, ...] | RouterError:
    """Drop the models that are known to lack a need; if none is left, return the error."""
    # Most requests are plain text, for which the whole ranking is eligible.
    if needs == NOTHING:
        return names
    kept = tuple(
        name
        for name in names
        if (model := catalog.models.get(name)) is None or lacking(model, needs) is None
    )
    return kept or no_capable_model([catalog.models[name] for name in names], needs)
