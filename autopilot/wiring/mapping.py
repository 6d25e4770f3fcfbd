"""The mapping of the settings to each part's own configuration, at start and on reload."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autopilot.http.dialect import Dialect
from autopilot.http.forward_proxy import ProxyRules
from autopilot.http.limits import Limits
from autopilot.http.resource_ledger import ResourceLimits
from autopilot.process.rlimits import descriptor_limit
from autopilot.relay.config import RelayConfig, Timeouts
from autopilot.relay.sse_guard import GuardLevel
from autopilot.request.parse import ParseConfig
from autopilot.routing.commit import Commit
from autopilot.routing.fallbacks import NO_FALLBACKS, Fallbacks
from autopilot.routing.identity import Trust
from autopilot.routing.patterns import exact_names, patterns_of
from autopilot.routing.plan import Rules
from autopilot.routing.pricing import MaxPrice
from autopilot.routing.private_mode import PRIVATE_ALIAS, PrivateMode
from autopilot.routing.requirements import Needs
from autopilot.routing.retry_policy import Policy
from autopilot.routing.routes import Route
from autopilot.settings.files.fallbacks import FallbackEntry, FallbacksFile
from autopilot.settings.files.pins import PinFile
from autopilot.settings.files.routes import RouteEntry, RoutesFile
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.edge_account import EdgeConfig
from autopilot.state.latency import LatencyStats
from autopilot.state.sharing.affinity import SharedAffinity
from autopilot.state.sharing.breaker import SharedBreaker
from autopilot.state.sharing.latency import SharedLatency
from autopilot.state.sharing.tables import SharedTables
from autopilot.state.tables import StateTables
from autopilot.upstream.backend import Backend
from autopilot.upstream.pool import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from autopilot.attestation.private_config import PrivateConfig
    from autopilot.measurement import Measurement
    from autopilot.settings import Settings
    from autopilot.state.sharing.outbox import Outbox

_PLATFORM = ".chutes.ai"


def tables(settings: Settings) -> StateTables:
    """Return empty state tables."""
    return StateTables(
        SessionAffinity(
            ttl=settings.sticky_ttl_secs,
            max_entries=settings.sticky_max_entries,
            list_retry=settings.list_retry_ms / 1000,
        ),
        CircuitBreaker(
            threshold=settings.cooldown_failures,
            period=settings.cooldown_ms / 1000,
            max_entries=settings.sticky_max_entries,
        ),
        LatencyStats(),
    )


def shared_tables(settings: Settings, outbox: Outbox) -> SharedTables:
    """Return empty state tables that add to ``outbox`` what other replicas are to know."""
    return SharedTables(
        SharedAffinity(
            outbox,
            ttl=settings.sticky_ttl_secs,
            max_entries=settings.sticky_max_entries,
            list_retry=settings.list_retry_ms / 1000,
        ),
        SharedBreaker(
            outbox,
            threshold=settings.cooldown_failures,
            period=settings.cooldown_ms / 1000,
            max_entries=settings.sticky_max_entries,
        ),
        SharedLatency(outbox),
        outbox,
    )


def configure_state(tables: StateTables, settings: Settings) -> None:
    """Apply other settings to the tables, which keep what they hold as far as those allow."""
    tables.affinity.configure(
        ttl=settings.sticky_ttl_secs,
        max_entries=settings.sticky_max_entries,
        list_retry=settings.list_retry_ms / 1000,
    )
    tables.breaker.configure(
        threshold=settings.cooldown_failures,
        period=settings.cooldown_ms / 1000,
        max_entries=settings.sticky_max_entries,
    )


def proxies(settings: Settings) -> ProxyRules:
    """Return which proxy leads to which server."""
    return ProxyRules.of(settings.https_proxy, settings.http_proxy, settings.no_proxy)


def origins(settings: Settings) -> tuple[Origin, ...]:
    """Return every origin that the router connects to: of requests, feeds and evidence."""
    rules = proxies(settings)
    urls = (
        settings.backend_base_url,
        settings.messages_base_url,
        settings.responses_base_url,
        settings.models_url,
        settings.utilization_url,
        settings.api_base_url,
    )
    intel = () if settings.private == "off" else (settings.private_collateral_url,)
    others = (each.base_url for each in fallback_entries(settings))
    return tuple(Origin.of(url, rules) for url in (*urls, *intel, *others))


def endpoints(settings: Settings) -> Mapping[Dialect, Origin]:
    """Return where the requests of each dialect go."""
    rules = proxies(settings)
    return {
        Dialect.COMPLETIONS: Origin.of(settings.backend_base_url, rules),
        Dialect.MESSAGES: Origin.of(settings.messages_base_url, rules),
        Dialect.RESPONSES: Origin.of(settings.responses_base_url, rules),
    }


def keyed(settings: Settings) -> frozenset[Dialect]:
    """Return the dialects whose requests need a key (contract §2)."""
    if settings.require_key == "off":
        return frozenset()
    return frozenset(
        dialect
        for dialect, origin in endpoints(settings).items()
        if settings.require_key == "on" or _is_platform(origin.host)
    )


def governed(settings: Settings) -> frozenset[Dialect]:
    """Return the dialects whose calls the account's governor counts."""
    if settings.edge_rate == "off":
        return frozenset()
    return frozenset(
        dialect
        for dialect, origin in endpoints(settings).items()
        if settings.edge_rate != "auto" or _is_platform(origin.host)
    )


def governs_api(settings: Settings) -> bool:
    """Return whether the governor counts the calls of the management API."""
    host = Origin.of(settings.api_base_url).host
    return settings.edge_rate not in ("auto", "off") or (
        settings.edge_rate == "auto" and _is_platform(host)
    )


def edge(settings: Settings) -> EdgeConfig:
    """Return the rules of the account's governor."""
    if isinstance(settings.edge_rate, int):
        return EdgeConfig(settings.edge_rate, settings.edge_rate)
    return EdgeConfig()


def _is_platform(host: str) -> bool:
    """Return whether a host is the platform's domain or below it."""
    return f".{host.rstrip('.')}".endswith(_PLATFORM)


def limits(settings: Settings) -> Limits:
    """Return the limits on a client's request: size and time."""
    return Limits(
        head_timeout=settings.client_header_timeout_ms / 1000,
        body_timeout=settings.client_body_timeout_ms / 1000,
        idle_timeout=settings.client_idle_timeout_ms / 1000,
        body_bytes=settings.max_request_bytes,
    )


def trust(settings: Settings) -> Trust:
    """Return the proxies that may say whom they speak for."""
    return Trust(settings.trust_proxy_headers, settings.trusted_proxy_cidrs)


def resources(settings: Settings) -> ResourceLimits:
    """Return what unfinished requests may hold, in all and for each client address."""
    return ResourceLimits.shared(
        settings.max_concurrent_requests,
        settings.max_buffered_bytes,
        descriptor_limit(),
        settings.client_max_share,
        settings.max_request_bytes,
    )


def fallback_entries(settings: Settings) -> tuple[FallbackEntry, ...]:
    """Return the other services of the file that the settings name, in its order."""
    file = settings.fallbacks_file
    return file.fallbacks if isinstance(file, FallbacksFile) else ()


def fallbacks(settings: Settings) -> Fallbacks:
    """Return the models of other services."""
    entries = fallback_entries(settings)
    if not entries:
        return NO_FALLBACKS
    return Fallbacks.of((each.name, each.models, each.default_model) for each in entries)


def backends(settings: Settings, pseudonym: bytes) -> Mapping[str, Backend]:
    """Return the other services by name; ``pseudonym`` is the router's in ``Via`` fields."""
    rules = proxies(settings)
    return {
        each.name: Backend.of(each.name, Origin.of(each.base_url, rules), each.key, pseudonym)
        for each in fallback_entries(settings)
    }


def route_entries(settings: Settings) -> tuple[RouteEntry, ...]:
    """Return the routes of the file that the settings name, in its order."""
    file = settings.routes_file
    return file.routes if isinstance(file, RoutesFile) else ()


def own_names(settings: Settings) -> tuple[str, ...]:
    """Return the names that the router itself adds to the models: the aliases, then the routes.

    That of private mode is among them if there is private mode.
    """
    private = () if settings.private == "off" else (PRIVATE_ALIAS,)
    routes = (each.name for each in route_entries(settings))
    return (*exact_names(settings.aliases), *private, *routes)


def _route(entry: RouteEntry, aliases: Iterable[str], others: Fallbacks) -> Route:
    """Return the route that an entry of the file describes."""
    spelled = {alias.lower() for alias in exact_names(aliases)}
    last = entry.models[-1].lower()
    alias_last = last in spelled or last == PRIVATE_ALIAS.lower()
    private = entry.private or last == PRIVATE_ALIAS.lower()
    output = "response_format" in entry.needs
    return Route(
        entry.name,
        entry.models[:-1] if alias_last else entry.models,
        alias_last,
        None if entry.commit is None else Commit(entry.commit),
        entry.tee or private,
        MaxPrice(entry.max_price.prompt, entry.max_price.completion),
        Needs(
            images="images" in entry.needs,
            tools="tools" in entry.needs,
            json_schema=output,
            json_mode=output,
        ),
        entry.min_context,
        private,
        others,
    )


def parsing(settings: Settings) -> ParseConfig:
    """Return what requests are parsed by."""
    others = fallbacks(settings)
    rules = Rules(
        aliases=frozenset(exact_names(settings.aliases)),
        max_list_items=settings.max_model_list_items,
        unknown_models=settings.unknown_models,
        require_tee=settings.require_tee,
        patterns=patterns_of(settings.aliases),
        private=settings.private != "off",
        routes={
            each.name: _route(each, settings.aliases, others) for each in route_entries(settings)
        },
        fallbacks=others,
    )
    return ParseConfig.of(
        rules,
        Commit(settings.commit),
        settings.max_request_bytes,
        PrivateMode(settings.private),
        settings.keepalive_after_ms / 1000,
    )


def private(settings: Settings) -> PrivateConfig:
    """Return what private mode accepts of evidence, and where its data comes from.

    Raises OSError if the file of other roots is gone by now.
    """
    # Few routers have private mode, and these modules take some milliseconds.
    from autopilot.attestation.private_config import PrivateConfig
    from autopilot.attestation.verdict import GpuChecks

    roots = settings.private_test_roots
    return PrivateConfig(
        tcb=frozenset(settings.private_tcb),
        grace_days=settings.private_tcb_grace_days,
        pinned=pinned(settings),
        gpu_checks=GpuChecks(settings.private_gpu),
        envelope_required=settings.private_envelope == "require",
        verdict_ttl=settings.private_attest_ttl_ms / 1000,
        attest_timeout=settings.private_attest_timeout_ms / 1000,
        api_url=settings.api_base_url,
        collateral_url=settings.private_collateral_url,
        collateral_folder=settings.private_collateral_dir,
        test_roots=None if roots is None else Path(roots).read_bytes(),
    )


def pinned(settings: Settings) -> tuple[Measurement, ...] | None:
    """Return the rows of the operator's own file; None stands for the platform's list."""
    given = settings.private_measurements
    return given.rows if isinstance(given, PinFile) else None


def relay(settings: Settings, pseudonym: bytes = b"") -> RelayConfig:
    """Return the configuration of the data plane; only a router that sends has a pseudonym."""
    config = RelayConfig(
        parsing=parsing(settings),
        timeouts=Timeouts(
            connect=settings.upstream_connect_timeout_ms / 1000,
            header=settings.upstream_header_timeout_ms / 1000,
            unary=settings.upstream_unary_timeout_ms / 1000,
            first_body_byte=settings.upstream_first_body_byte_timeout_ms / 1000,
            idle=settings.upstream_idle_timeout_ms / 1000,
            error_body=settings.error_body_timeout_ms / 1000,
            failover_after=settings.failover_after_ms / 1000,
            plain_failover_after=settings.plain_failover_after_ms / 1000,
            total=settings.total_deadline_ms / 1000,
        ),
        policy=Policy(settings.failover_policy),
        guard=GuardLevel(settings.sse_guard),
        shape_errors=settings.error_shape == "openai",
        max_attempts=settings.max_attempts,
        commit_max_bytes=settings.commit_max_bytes,
        max_active=settings.max_concurrent_requests,
        trust=trust(settings),
        by_conversation=settings.sticky_scope == "conversation",
        reads_usage=settings.usage != "off",
        asks_usage=settings.usage == "request",
        governed=governed(settings),
        pace=settings.pace_ms / 1000,
        hedge_after=float(settings.hedge_after_p95),
        attest_timeout=settings.private_attest_timeout_ms / 1000,
        max_instances=settings.private_max_instances,
        backends=backends(settings, pseudonym),
    )
    patient = {
        each.name: replace(config, timeouts=_patience(config.timeouts, each))
        for each in route_entries(settings)
        if each.failover_after_ms is not None or each.plain_failover_after_ms is not None
    }
    return replace(config, of_routes=patient)


def _patience(timeouts: Timeouts, route: RouteEntry) -> Timeouts:
    """Return the time-outs with those that a route has itself."""
    stream, plain = route.failover_after_ms, route.plain_failover_after_ms
    return replace(
        timeouts,
        failover_after=timeouts.failover_after if stream is None else stream / 1000,
        plain_failover_after=timeouts.plain_failover_after if plain is None else plain / 1000,
    )
