"""The explanation of one request's plan as a value, and as the JSON object of ``explain``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from autopilot.cli.router import PlanInputs
from autopilot.http.headers import Named
from autopilot.http.private_gate import private_asked
from autopilot.relay.config import RelayConfig, Timeouts
from autopilot.request.conversation_id import told_by
from autopilot.request.parse import ParsedRequest
from autopilot.routing.candidate import Candidate
from autopilot.routing.commit import Commit
from autopilot.routing.exclusions import dropped
from autopilot.routing.listing import Dropped
from autopilot.routing.plan import Plan, displaced
from autopilot.routing.requirements import Needs
from autopilot.routing.router_error import RouterError
from autopilot.routing.routes import Route
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import DIRECT, ROUTE
from autopilot.routing.why import GONE, HIT, MISS, MOVED, OFF, Affinity, AffinityWhy, Why
from autopilot.settings import Settings

CLIENT_ALONE: Final = "client"
"""Nothing tells the client's conversations apart."""


class PrivateBy(StrEnum):
    """What makes a request private: its header, its model, or the setting for all requests."""

    HEADER = "header"
    MODEL = "model"
    SETTING = "setting"


@dataclass(frozen=True, slots=True)
class Conversation:
    """What tells the request's conversation, None if it is not to stick to a model.

    ``affinity`` and its ``why`` are those of the response if the first candidate answers; None if
    the remembered model is not given.
    """

    told_by: str | None
    affinity: Affinity | None = None
    why: AffinityWhy | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A request's plan and its inputs; ``request`` is None if the request could not be parsed.

    ``alias_by``: the setting that leaves an unknown name to the router's choice; ``asked`` is the
    name. ``conversation`` is None if there are no candidates, and under a direct name. ``route`` is
    the one that the request names, and ``timeouts`` those for its attempts. ``private_by`` is None
    if the request is not private.
    """

    request: ParsedRequest | None
    needs: Needs | None
    outcome: Plan | RouterError
    dropped: tuple[Dropped, ...]
    inputs: PlanInputs
    not_eligible: Mapping[str, int]
    settings: Settings
    timeouts: Timeouts
    asked: str = ""
    alias_by: str | None = None
    conversation: Conversation | None = None
    route: Route | None = None
    private_by: PrivateBy | None = None


def explain(
    request: ParsedRequest | RouterError,
    named: Named,
    inputs: PlanInputs,
    not_eligible: Mapping[str, int],
    settings: Settings,
    config: RelayConfig,
) -> Explanation:
    """Plan a parsed request with these inputs and the operator's rules."""
    rules, route = config.parsing.rules, None
    if isinstance(request, RouterError):
        return Explanation(None, None, request, (), inputs, not_eligible, settings, config.timeouts)
    if request.selector.mode is ROUTE:
        route = rules.routes[request.selector.names[0]]
        config = config.of_routes.get(route.name, config)
    snapshot, asked = inputs.snapshot, request.selector
    request = request.settled(snapshot, rules)
    needs, outcome = request.needs(snapshot), request.plan(snapshot, rules, inputs.state)
    conversation = None
    if isinstance(outcome, Plan) and outcome.mode is not DIRECT:
        conversation = _conversation(request, named, outcome, inputs.state, settings)
    return Explanation(
        request,
        needs,
        outcome,
        dropped(request.selector, needs, request.tee_only, snapshot, rules),
        inputs,
        not_eligible,
        settings,
        config.timeouts,
        asked.text,
        None if request.selector is asked else "ALIASES" if asked.by_pattern else "UNKNOWN_MODELS",
        conversation,
        route,
        _private_by(request, named) if request.private else None,
    )


def _private_by(request: ParsedRequest, named: Named) -> PrivateBy:
    if request.selector.private:
        return PrivateBy.MODEL
    return PrivateBy.HEADER if private_asked(named) is True else PrivateBy.SETTING


def _conversation(
    request: ParsedRequest, named: Named, planned: Plan, state: RoutingState, settings: Settings
) -> Conversation:
    if not request.sticky or settings.sticky_ttl_secs == 0:
        return Conversation(None, None, OFF)
    told = told_by(named, request.body.fields) if settings.sticky_scope == "conversation" else None
    if state.remembered is None:
        return Conversation(told or CLIENT_ALONE)
    why = displaced(planned, state)
    affinity = HIT if why is None else MISS if why is GONE else MOVED
    return Conversation(told or CLIENT_ALONE, affinity, why)


def in_json(explained: Explanation) -> dict[str, object]:
    """Return the explanation as the JSON object of ``--json``."""
    request, outcome, settings = explained.request, explained.outcome, explained.settings
    error = outcome if isinstance(outcome, RouterError) else None
    return {
        "outcome": "refused" if error else "candidates",
        "mode": request and request.selector.mode,
        "order": request and request.selector.order,
        "alias_by": explained.alias_by,
        "conversation": explained.conversation
        and {
            "told_by": explained.conversation.told_by,
            "affinity": explained.conversation.affinity,
            "affinity_why": explained.conversation.why,
        },
        "route": explained.route and _route(explained.route),
        "private": explained.private_by,
        "needs": asked_for(explained.needs) if explained.needs is not None else None,
        "tee_only": (request.tee_only or settings.require_tee) if request else None,
        "last_resort": [each.model for each in outcome.resort] if isinstance(outcome, Plan) else [],
        "candidates": [
            _candidate(explained, place, each) for place, each in enumerate(_candidates(explained))
        ],
        "dropped": [
            {"name": each.name, "cause": each.cause, "lacks": list(each.lacks)}
            for each in explained.dropped
        ],
        "limits": {
            "max_attempts": settings.max_attempts,
            "commit": (request.commit if request else Commit(settings.commit)).value,
            "failover_policy": settings.failover_policy,
            "failover_after_ms": round(explained.timeouts.failover_after * 1000),
            "plain_failover_after_ms": round(explained.timeouts.plain_failover_after * 1000),
        },
        "error": error and {"status": error.status, "code": error.code, "message": error.message},
        "not_eligible": dict(explained.not_eligible),
    }


def _route(route: Route) -> dict[str, object]:
    return {"name": route.name, "filters": route.filters}


def _candidates(explained: Explanation) -> Sequence[tuple[str, Why]]:
    outcome = explained.outcome
    if isinstance(outcome, RouterError):
        return ()
    return [(each.model, why_of(outcome, each)) for each in outcome.candidates]


def why_of(planned: Plan, candidate: Candidate) -> Why:
    """Return why a candidate is tried."""
    first = candidate is planned.candidates[0]
    return Why.STICKY if planned.sticky and first else planned.why(candidate)


def _candidate(explained: Explanation, place: int, each: tuple[str, Why]) -> dict[str, object]:
    state, (name, why) = explained.inputs.state, each
    scores = {ranked.name: ranked.score for ranked in explained.inputs.snapshot.ranking}
    return {
        "name": name,
        "why": why,
        "tried": place < explained.settings.max_attempts,
        "score": scores.get(name),
        "cooling": name in state.cooling,
        "first_content_seconds": state.first_byte.get(name),
        "tokens_per_second": state.throughput.get(name),
    }


def asked_for(needs: Needs) -> dict[str, object]:
    """Return the needs that the request has, without those that are False or None."""
    values = msgspec.structs.asdict(needs)
    return {name: value for name, value in values.items() if value not in (False, None)}
