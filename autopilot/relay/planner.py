"""Planner of requests: reads one, looks up what is known of its client, and asks for a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING

from msgspec import structs

from autopilot.http.dialect import Dialect
from autopilot.http.private_gate import NOT_SERVED, SERVED
from autopilot.relay.planned_request import PlannedRequest
from autopilot.relay.refused_request import RefusedRequest
from autopilot.request.conversation_id import conversation_id
from autopilot.request.parse import ParsedRequest, parse_request
from autopilot.routing.eligible import NO_CANDIDATES
from autopilot.routing.plan import at_platform, displaced
from autopilot.routing.private_standing import NOTHING_KNOWN, PrivateStanding
from autopilot.routing.router_error import RouterError
from autopilot.routing.routing_state import UNMEASURED, RoutingState
from autopilot.routing.selector import DIRECT, GIVEN, Order
from autopilot.routing.why import GONE, OFF, AffinityWhy
from autopilot.upstream.backend import PATHS

if TYPE_CHECKING:
    from autopilot.relay.config import RelayConfig
    from autopilot.relay.downstream import ClientRequest
    from autopilot.relay.request_hashes import RequestHashes
    from autopilot.routing.snapshot import Snapshot
    from autopilot.state.affinity import AffinityKey
    from autopilot.state.tables import StateTables

# A look-up through the enum would cost as much as a call.
_COMPLETIONS = Dialect.COMPLETIONS
_NONE: frozenset[str] = frozenset()
_NOTHING_KNOWN = RoutingState()
_NOTHING: tuple[str | None, frozenset[str], str | None, AffinityWhy | None] = (
    None,
    _NONE,
    None,
    OFF,
)


class Planner:
    """Makes plans of requests.

    ``standing`` returns what is known of models for the private requests of a client, and
    ``refreshed_in`` the seconds until an alias without candidates may have some.
    """

    def __init__(
        self,
        tables: StateTables,
        hashes: RequestHashes,
        standing: Callable[[bytes, Snapshot], PrivateStanding],
        refreshed_in: Callable[[], int],
    ) -> None:
        self._tables = tables
        self._hashes = hashes
        self._standing = standing
        self._refreshed_in = refreshed_in

    def plan(
        self, request: ClientRequest, snapshot: Snapshot, config: RelayConfig, now: float
    ) -> PlannedRequest | RefusedRequest:
        """Return the request with its plan, or why there is none; its body is gone then."""
        parsed = parse_request(request.headers.named, request.body, config.parsing)
        request.body = b""  # the template has what is sent up, until commit
        if isinstance(parsed, RouterError):
            return RefusedRequest(parsed)
        if parsed.private and request.path not in SERVED:
            return RefusedRequest(NOT_SERVED, parsed.selector.mode, parsed.body.stream)
        if config.asks_usage and request.dialect is _COMPLETIONS:
            parsed = parsed.asking_for_usage()
        key, state, rules = None, _NOTHING_KNOWN, config.parsing.rules
        selector = parsed.selector
        if selector.mode is DIRECT and (selector.by_pattern or rules.unknown_models == "alias"):
            parsed = parsed.settled(snapshot, rules)
        if parsed.selector.mode is not DIRECT:
            key, state = self._known(request, parsed, config, now)
        standing = NOTHING_KNOWN
        if parsed.private:
            standing = self._standing(self._hashes.client(request), snapshot)
        plan = parsed.plan(snapshot, rules, state, standing)
        plan = at_platform(plan) if config.backends and request.path not in PATHS else plan
        if not isinstance(plan, RouterError):
            remembered = state.remembered
            why = (
                state.forgotten
                if remembered is None or remembered == plan.candidates[0].model
                else displaced(plan, state)
            )
            remembered = None if why is GONE else remembered
            return PlannedRequest(request, snapshot, now, parsed, plan, key, remembered, why)
        return self._without_plan(plan, parsed)

    def _without_plan(self, error: RouterError, parsed: ParsedRequest) -> RefusedRequest:
        if error.code == NO_CANDIDATES:
            error = replace(error, retry_after=self._refreshed_in())
        return RefusedRequest(error, parsed.selector.mode, parsed.body.stream)

    def _known(
        self, request: ClientRequest, parsed: ParsedRequest, config: RelayConfig, now: float
    ) -> tuple[AffinityKey | None, RoutingState]:
        """Return the key of a request's conversation, and what is known for its plan.

        The key is None if the conversation is not to stick to a model.
        """
        tables, selector, client = self._tables, parsed.selector, self._hashes.client(request)
        affinity, breaker, key, cooling = tables.affinity, tables.breaker, None, _NONE
        if breaker.opened or breaker.opened_for:
            cooling = breaker.cooling(client, now)
        if parsed.sticky and affinity.enabled:
            talk = b""
            if config.by_conversation:
                talk = conversation_id(request.headers.named, parsed.body.fields)
                talk = self._hashes.hasher.conversation(client, talk) if talk else talk
            chosen = _private_key(selector.key) if parsed.private else selector.key
            key = client, chosen, talk
        remembered, failed, broken, why = _NOTHING if key is None else affinity.look_up(key, now)
        state = RoutingState(remembered, failed, cooling, UNMEASURED, UNMEASURED, broken, why)
        if selector.order is not GIVEN:
            state = self._with_averages(state, selector.order, now)
        return key, state

    def _with_averages(self, state: RoutingState, order: Order, now: float) -> RoutingState:
        """Add the averages of all models, which cost a pass over the table."""
        latency = self._tables.latency
        if order is Order.LATENCY:
            return structs.replace(state, first_byte=latency.first_content(now))
        return structs.replace(state, throughput=latency.throughput(now))


def _private_key(selector: bytes) -> bytes:
    """Return the digest of a selector for private requests, which may use other models."""
    return blake2b(selector, digest_size=len(selector), person=b"private").digest()
