"""Who stands behind the alias, by what a request needs: worked out once, not for every request.

The answer depends on the feeds and on few traits of a request, so a roster belongs to a snapshot
and keeps what it has answered. How many different answers it keeps is bounded, whatever clients
ask for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from autopilot.routing.capability_errors import no_capable_model
from autopilot.routing.catalog import EMPTY, Catalog
from autopilot.routing.ranking import Ranked
from autopilot.routing.requirements import NOTHING, Needs, lacking
from autopilot.routing.router_error import RouterError
from autopilot.routing.tee import confidential

RETRY_AFTER = 5
"""Seconds after which an alias without candidates may have some again, if nobody knows better."""

NO_CANDIDATES = "no_candidates"
"""The code of that."""

_MOST_ANSWERS = 256

Answer = tuple[str, ...] | RouterError

_NO_CANDIDATES = RouterError(
    503, NO_CANDIDATES, "No model is available right now.", retry_after=RETRY_AFTER
)


class EligibleModels:
    """The ranked models of one snapshot; the same question gets the same answer, once found."""

    __slots__ = ("_answers", "_catalog", "_contexts", "_lengths", "_names")

    def __init__(self, catalog: Catalog | None, ranking: Iterable[Ranked]) -> None:
        self._catalog = EMPTY if catalog is None else catalog
        self._names = tuple(dict.fromkeys(ranked.name for ranked in ranking))
        known = [self._catalog.models[name] for name in self._names if name in self._catalog]
        self._lengths = _limits(model.max_output_length for model in known)
        self._contexts = _limits(model.context_length for model in known)
        self._answers: dict[tuple[object, ...], Answer] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The ranked models, best first."""
        return self._names

    @property
    def least_context(self) -> int | None:
        """The shortest context, in tokens, that is known of any of the models."""
        return self._contexts[0] if self._contexts else None

    def serving(self, needs: Needs, tee_only: bool) -> Answer:
        """The models that may serve a request behind the alias, best first, or why there are none.

        Refusals: 503 ``no_candidates``, 400 ``tee_required`` or ``no_capable_model``.
        """
        question = (
            tee_only,
            needs.images,
            needs.audio,
            needs.video,
            needs.tools,
            needs.json_schema,
            needs.json_mode,
            # Any two numbers with the same limits below them ask for the same.
            bisect_left(self._lengths, needs.completion_tokens or 0),
            bisect_left(self._contexts, needs.prompt_tokens or 0),
        )
        answer = self._answers.get(question)
        if answer is None:
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            answer = self._answers[question] = self._find(needs, tee_only)
        return answer

    def _find(self, needs: Needs, tee_only: bool) -> Answer:
        """The answer to a question that is new."""
        found: Answer = self._names or _NO_CANDIDATES
        if tee_only and not isinstance(found, RouterError):
            found = confidential(found, self._catalog)
        return found if isinstance(found, RouterError) else _capable(found, self._catalog, needs)


def _limits(known: Iterable[int | None]) -> list[int]:
    """The different limits among these, in order."""
    return sorted({limit for limit in known if limit is not None})


def _capable(names: tuple[str, ...], known: Catalog, needs: Needs) -> Answer:
    """Leave out the models that are known to lack what the request needs."""
    if needs == NOTHING:
        return names
    kept = tuple(
        name
        for name in names
        if (model := known.models.get(name)) is None or lacking(model, needs) is None
    )
    return kept or no_capable_model([known.models[name] for name in names], needs)
