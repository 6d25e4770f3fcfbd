"""The order of candidates: the client's, or by measurement; remembered first, cooling last."""

from __future__ import annotations

from autopilot.routing.candidate import Candidate
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import ALIAS, GIVEN, Mode, Order, Selector


def ordered(
    candidates: tuple[Candidate, ...], selector: Selector, state: RoutingState
) -> tuple[tuple[Candidate, ...], bool]:
    """Order the candidates: the client's order, remembered one first, cooling ones last.

    Return also whether the first one is there because it is remembered.
    """
    if selector.order is not GIVEN:
        candidates = _by_measurement(candidates, selector.order, state)
    remembered, cooling, sticky = state.remembered, state.cooling, False
    if remembered is not None and remembered not in cooling:
        # Most remembered models are first already, so that no reordering is needed. The head of a
        # list is first because the client listed it so.
        if remembered == candidates[0].model:
            sticky = selector.mode is ALIAS
        else:
            unmoved = candidates
            candidates = _remembered_first(remembered, candidates, selector.mode, state)
            sticky = candidates is not unmoved
    elif remembered is None and state.broken is not None and selector.mode is not ALIAS:
        candidates = _successor_first(state.broken, candidates, cooling)
    if cooling:
        # The sort is stable, so cooling models keep their relative order behind all others.
        candidates = tuple(sorted(candidates, key=lambda each: each.model in cooling))
    return candidates, sticky


def _remembered_first(
    remembered: str, candidates: tuple[Candidate, ...], mode: Mode, state: RoutingState
) -> tuple[Candidate, ...]:
    """Move the remembered model to the front if it is a candidate and the mode allows it."""
    models = [each.model for each in candidates]
    if remembered not in models:
        return candidates
    position = models.index(remembered)
    before = candidates[:position]
    # In a list or a route its own order stands, unless a model before the remembered one failed
    # recently: a fallback must not outlive the outage (contract §5).
    if mode is not ALIAS and state.failed_recently.isdisjoint(each.model for each in before):
        return candidates
    return (candidates[position], *before, *candidates[position + 1 :])


def _successor_first(
    broken: str, candidates: tuple[Candidate, ...], cooling: frozenset[str]
) -> tuple[Candidate, ...]:
    """Move the candidate after a broken one to the front (contract §5).

    After a break no model is remembered, so stickiness alone would select the broken one again.
    """
    models = [each.model for each in candidates]
    if broken not in models:
        return candidates
    for position in range(models.index(broken) + 1, len(candidates)):
        if models[position] not in cooling:
            before, after = candidates[:position], candidates[position + 1 :]
            return (candidates[position], *before, *after)
    return candidates


def _by_measurement(
    candidates: tuple[Candidate, ...], order: Order, state: RoutingState
) -> tuple[Candidate, ...]:
    """Order by the router's own averages; unmeasured models go last, in their own order."""
    if order is Order.LATENCY:
        cost = dict(state.first_byte)
    else:
        cost = {model: -rate for model, rate in state.throughput.items()}
    return tuple(
        sorted(candidates, key=lambda each: (each.model not in cost, cost.get(each.model, 0.0)))
    )
