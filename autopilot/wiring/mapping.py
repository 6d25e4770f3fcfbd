"""The mapping of the settings to each part's own configuration, at start and on reload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopilot.http.limits import Limits
from autopilot.relay.attempt import Timeouts
from autopilot.relay.config import Admission
from autopilot.relay.course import Conduct
from autopilot.relay.journal import Memory
from autopilot.relay.sse_guard import GuardLevel
from autopilot.routing.commit import Commit
from autopilot.routing.identity import Trust
from autopilot.routing.plan import Rules
from autopilot.routing.retry_policy import Policy
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.latency import LatencyStats
from autopilot.upstream.pool import Origin

if TYPE_CHECKING:
    from autopilot.settings import Settings


def memory(settings: Settings) -> Memory:
    """Return the empty state that the router keeps between requests."""
    return Memory(
        SessionAffinity(
            ttl=settings.sticky_ttl_secs,
            max_entries=settings.sticky_max_entries,
            list_retry=settings.list_retry_ms / 1000,
        ),
        CircuitBreaker(threshold=settings.cooldown_failures, period=settings.cooldown_ms / 1000),
        LatencyStats(),
    )


def configure_state(memory: Memory, settings: Settings) -> None:
    """Apply changed settings to the state; it keeps its entries as far as the new limits allow."""
    memory.stickiness.configure(
        ttl=settings.sticky_ttl_secs,
        max_entries=settings.sticky_max_entries,
        list_retry=settings.list_retry_ms / 1000,
    )
    memory.cooldown.configure(
        threshold=settings.cooldown_failures, period=settings.cooldown_ms / 1000
    )


def origins(settings: Settings) -> tuple[Origin, ...]:
    """Return every origin that the router connects to: of requests, feeds and evidence."""
    return tuple(
        map(
            Origin.of,
            (
                settings.backend_base_url,
                settings.messages_base_url,
                settings.responses_base_url,
                settings.models_url,
                settings.utilization_url,
                settings.api_base_url,
            ),
        )
    )


def limits(settings: Settings) -> Limits:
    """Return the limits on a client's request: size and time."""
    return Limits(
        head_timeout=settings.client_header_timeout_ms / 1000,
        body_timeout=settings.client_body_timeout_ms / 1000,
        body_bytes=settings.max_request_bytes,
    )


def admission(settings: Settings) -> Admission:
    """Return the relay's configuration: which requests it admits, and how it relays them."""
    return Admission(
        rules=Rules(
            aliases=frozenset(settings.aliases),
            max_list_items=settings.max_model_list_items,
            unknown_models=settings.unknown_models,
            require_tee=settings.require_tee,
        ),
        conduct=Conduct(
            timeouts=Timeouts(
                header=settings.upstream_header_timeout_ms / 1000,
                unary=settings.upstream_unary_timeout_ms / 1000,
                first_body_byte=settings.upstream_first_body_byte_timeout_ms / 1000,
                idle=settings.upstream_idle_timeout_ms / 1000,
                error_body=settings.error_body_timeout_ms / 1000,
                total=settings.total_deadline_ms / 1000,
            ),
            policy=Policy(settings.failover_policy),
            guard=GuardLevel(settings.sse_guard),
            max_attempts=settings.max_attempts,
            commit_max_bytes=settings.commit_max_bytes,
        ),
        commit=Commit(settings.commit),
        trust=Trust(settings.trust_proxy_headers, settings.trusted_proxy_cidrs),
        max_active=settings.max_concurrent_requests,
        max_body=settings.max_request_bytes,
        failover_after=settings.failover_after_ms / 1000,
    )
