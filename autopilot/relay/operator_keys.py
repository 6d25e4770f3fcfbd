"""Operator's keys: those that admit clients, and those of the platform that requests are lent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from msgspec import structs

from autopilot.http.dialect import Dialect
from autopilot.relay.refused_request import RefusedRequest
from autopilot.routing.key_policy import permit
from autopilot.routing.plan import elsewhere
from autopilot.routing.router_error import RouterError
from autopilot.state.key_use import KeyUse

if TYPE_CHECKING:
    from autopilot.relay.config import RelayConfig
    from autopilot.relay.downstream import ClientRequest
    from autopilot.relay.planned_request import PlannedRequest
    from autopilot.relay.request_hashes import RequestHashes
    from autopilot.routing.snapshot import Snapshot
    from autopilot.state.own_keys import OwnKeys
    from autopilot.upstream.key_pool import KeyPool

_COMPLETIONS = Dialect.COMPLETIONS

ALL_BANNED: Final = RouterError(
    429,
    "edge_limited",
    "The platform's edge has banned every key that this router sends for its clients. The request"
    " was not sent; try again later.",
)


def admit(
    keys: OwnKeys,
    request: ClientRequest,
    planned: PlannedRequest | RefusedRequest,
    snapshot: Snapshot,
    config: RelayConfig,
) -> PlannedRequest | RefusedRequest:
    """Return the plan as far as the request's key allows it, and count the request."""
    rules = keys.find(request.path, request.headers.named)
    if isinstance(rules, RouterError):
        return RefusedRequest(rules)
    if type(planned) is RefusedRequest:
        error = keys.explained(rules, planned.error)
        return structs.replace(planned, error=error, key=rules.name)
    parsed = planned.parsed
    mode, stream = parsed.selector.mode, parsed.body.stream
    plan = permit(rules, parsed.selector, planned.plan, snapshot.catalog)
    if isinstance(plan, RouterError):
        return RefusedRequest(keys.explained(rules, plan), mode, stream, rules.name)
    limited = keys.limited(rules)
    if limited is not None:
        return RefusedRequest(limited, mode, stream, rules.name)
    request.use = KeyUse(keys.budgets, rules)
    # What is not reported cannot be counted.
    if rules.has_budget and not config.asks_usage and request.dialect is _COMPLETIONS:
        parsed = parsed.asking_for_usage()
    return structs.replace(planned, parsed=parsed, plan=plan)


def lend(
    pool: KeyPool,
    request: ClientRequest,
    planned: PlannedRequest,
    hashes: RequestHashes,
    config: RelayConfig,
) -> PlannedRequest | RefusedRequest:
    """Lend the request a key of the platform, which takes the place of its own."""
    parsed = planned.parsed
    others = elsewhere(planned.plan) if config.backends else None
    if others is planned.plan:
        return planned
    conversation = None
    if parsed.sticky:
        conversation = hashes.conversation(request, parsed.body.fields)
    lease = pool.lend(conversation)
    if lease is None and others is not None:
        return structs.replace(planned, plan=others)
    if lease is None:
        error, use = replace(ALL_BANNED, retry_after=pool.retry_after()), request.use
        error = error if use is None else use.explained(error)
        key = None if use is None else use.name
        return RefusedRequest(error, parsed.selector.mode, parsed.body.stream, key)
    request.lease = lease
    request.headers = lease.headers(request.headers)
    request.query = b""  # it may hold a key of the client's, and the platform reads none
    return planned
