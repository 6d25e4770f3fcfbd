"""The plan of a private request: confidential models, of whose instances one may be attested.

A candidate has the catalog's own name of its model, because an instance knows no other: no id of a
chute and no other spelling. The suffix that turns on thinking stays in what is sent, for the body's
template to apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Final

from autopilot.routing.candidate import Candidate
from autopilot.routing.catalog import EMPTY, Catalog
from autopilot.routing.eligible import NO_CANDIDATES_ERROR
from autopilot.routing.names import THINKING, resolve
from autopilot.routing.plan import Plan, Rules, plan
from autopilot.routing.private_mode import unsupported
from autopilot.routing.private_standing import PrivateStanding
from autopilot.routing.requirements import Needs
from autopilot.routing.router_error import RouterError
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import ALIAS, DIRECT, GIVEN, Selector, split_order
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.tee import TEE_REQUIRED

RETRY_AFTER: Final = 60
"""Seconds; what is known of unattestable models is asked for again in minutes."""

_UNLISTED: Final = unsupported(
    "The catalog does not have the model, and private mode uses only what the catalog marks as"
    " confidential compute. Name a model that GET /v1/models lists.",
    "model",
)
_NO_CHUTE: Final = unsupported(
    "The catalog does not tell the chute of the model, without which private mode cannot find its"
    " instances. Name another model.",
    "model",
)


def private_plan(
    selector: Selector,
    needs: Needs,
    snapshot: Snapshot,
    rules: Rules,
    state: RoutingState,
    standing: PrivateStanding,
) -> Plan | RouterError:
    """Return the candidates of one private request, or the error if there are none.

    The errors are those of `plan`, 400 ``private_unsupported`` and 503 ``private_unavailable``.
    """
    catalog = snapshot.catalog or EMPTY
    if not catalog.models:
        return NO_CANDIDATES_ERROR  # nothing is known to be confidential yet
    planned = plan(selector, needs, True, snapshot, rules, state)
    if isinstance(planned, RouterError):
        unlisted = selector.mode is DIRECT and resolve(selector.names[0], catalog) is None
        return _UNLISTED if planned is TEE_REQUIRED and unlisted else planned
    found = tuple(_candidates(planned, catalog))
    left = tuple(each for each in found if each.model not in standing.unattestable)
    if not left:
        return _not_attestable(len(found)) if found else _NO_CHUTE
    sticky = planned.sticky and left[0].model == found[0].model == state.remembered
    if standing.ready and selector.order is GIVEN:
        scores = {each.name: each.score for each in snapshot.ranking}
        chosen = planned.models if planned.mode is ALIAS else planned.added
        left = (*left[:sticky], *_ready_first(left[sticky:], chosen, scores, state, standing))
    return Plan(planned.mode, left, sticky, planned.added)


def _candidates(planned: Plan, catalog: Catalog) -> Iterator[Candidate]:
    """Yield a candidate for each model of which a chute is known, by the catalog's name."""
    seen = set()
    for each in planned.candidates:
        named = resolve(each.sent or each.model, catalog)
        if named is None or named.model in seen or catalog.models[named.model].chute_id is None:
            continue
        seen.add(named.model)
        thinks = split_order(named.suffix)[0].endswith(THINKING)
        yield Candidate(named.model, sent=named.model + THINKING if thinks else None)


def _ready_first(
    candidates: Iterable[Candidate],
    chosen: Iterable[str],
    scores: Mapping[str, float],
    state: RoutingState,
    standing: PrivateStanding,
) -> Iterator[Candidate]:
    """Yield, of models that the router chose for equal scores, those first that are ready."""
    by_score = frozenset(chosen)

    def place(each: Candidate) -> object:
        if each.model not in by_score:
            return each.model  # where the client or the operator put it
        return scores.get(each.model), each.model in state.cooling

    for _, equal in groupby(candidates, place):
        yield from sorted(equal, key=lambda each: each.model not in standing.ready)


def _not_attestable(models: int) -> RouterError:
    """Return the error where no model has an instance whose key can be verified."""
    return RouterError(
        503,
        "private_unavailable",
        "No instance is available to which the request may be encrypted: models not attestable"
        f" {models}. Nothing was sent.",
        retry_after=RETRY_AFTER,
    )
