"""Who stands behind the alias, by what a request needs: worked out once, not for every request.

The answer depends on the feeds and on few traits of a request, so a roster belongs to a snapshot
and keeps what it has answered. How many different answers it keeps is bounded, whatever clients
ask for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from autopilot.routing.catalog import EMPTY, Catalog
from autopilot.routing.confidential import confidential
from autopilot.routing.needs import NOTHING, Needs, lacking
from autopilot.routing.ranking import Ranked
from autopilot.routing.refusal import Refusal

RETRY_AFTER = 5
"""Seconds after which an alias without candidates may have some again."""

_MOST_ANSWERS = 256

Answer = tuple[str, ...] | Refusal

_NO_CANDIDATES = Refusal(
    503, "no_candidates", "No model is available right now.", retry_after=RETRY_AFTER
)


class Roster:
    """The ranked models of one snapshot; the same question gets the same answer, once found."""

    __slots__ = ("_answers", "_catalog", "_lengths", "_names")

    def __init__(self, catalog: Catalog | None, ranking: Iterable[Ranked]) -> None:
        self._catalog = EMPTY if catalog is None else catalog
        self._names = tuple(dict.fromkeys(ranked.name for ranked in ranking))
        self._lengths = _longest_outputs(self._names, self._catalog)
        self._answers: dict[tuple[object, ...], Answer] = {}

    def serving(self, needs: Needs, tee_only: bool) -> Answer:
        """The models that may serve a request behind the alias, best first, or why there are none.

        Refusals: 503 ``no_candidates``, 400 ``tee_required`` or ``no_capable_model``.
        """
        tokens = needs.completion_tokens
        question = (
            tee_only,
            needs.images,
            needs.audio,
            needs.video,
            needs.tools,
            needs.json_schema,
            needs.json_mode,
            # Any two numbers with the same limits below them ask for the same.
            0 if tokens is None else bisect_left(self._lengths, tokens),
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
        if tee_only and not isinstance(found, Refusal):
            found = confidential(found, self._catalog)
        return found if isinstance(found, Refusal) else _capable(found, self._catalog, needs)


def _longest_outputs(names: Iterable[str], known: Catalog) -> list[int]:
    """The different limits on the length of an answer that these models are known to have."""
    models = (known.models.get(name) for name in names)
    limits = (model.max_output_length for model in models if model is not None)
    return sorted({limit for limit in limits if limit is not None})


def _capable(names: tuple[str, ...], known: Catalog, needs: Needs) -> Answer:
    """Leave out the models that are known to lack what the request needs."""
    if needs == NOTHING:
        return names
    missing: dict[str, None] = {}
    kept = []
    for name in names:
        model = known.models.get(name)
        lack = None if model is None else lacking(model, needs)
        if lack is None:
            kept.append(name)
        else:
            missing[lack] = None
    return tuple(kept) or Refusal(
        400,
        "no_capable_model",
        f"No model behind the alias supports what this request needs: {', '.join(missing)}.",
        param="model",
    )
