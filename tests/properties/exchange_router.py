"""The router of the exchange machine; only the clock and the upstream network are simulated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Site

from autopilot.http.limits import Limits
from autopilot.http.timers import TimerQueue
from autopilot.observability.records import RequestRecord
from autopilot.relay.config import RelayConfig, Timeouts
from autopilot.relay.proxy import Proxy
from autopilot.relay.sse_guard import GuardLevel
from autopilot.request.parse import ParseConfig
from autopilot.routing.commit import Commit
from autopilot.routing.identity import Trust
from autopilot.routing.plan import Rules
from autopilot.routing.retry_policy import Policy
from autopilot.routing.snapshot import Snapshot
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.latency import LatencyStats
from autopilot.state.tables import StateTables
from autopilot.web.root import RootResource
from autopilot.web.site import AutopilotSite
from tests.properties.exchange_attempt import Terms, Times
from tests.properties.exchange_network import Network, WatchedPool
from tests.unit.relay.routers import ALIAS, ORIGINS, PSEUDONYM, snapshot

CONTEXTS = {"a": 1000, "b": 1000, "c": 4000}
LARGER = {
    model: frozenset(other for other, length in CONTEXTS.items() if length > own)
    for model, own in CONTEXTS.items()
}
POOL_IDLE = 4.0
MOST_ACTIVE = 3


@dataclass(frozen=True)
class Setup:
    """The router's configuration.

    ``own_channel``: clients use the router's own channel, otherwise Twisted's. ``shared``: all
    deadlines share a queue, as in production; otherwise each has a timer that can be counted.
    """

    policy: Policy
    guard: GuardLevel
    shape_errors: bool
    max_attempts: int
    most_held: int
    times: Times
    pool_size: int
    own_channel: bool
    shared: bool

    def terms(
        self, selector: str, candidates: tuple[str, ...], *, streams: bool, commit: str, size: int
    ) -> Terms:
        """Return the terms that apply to one request."""
        return Terms(
            candidates,
            "alias" if selector == ALIAS else "list" if "," in selector else "direct",
            streams,
            commit,
            self.policy.value,
            self.guard.value,
            self.shape_errors,
            size,
            self.max_attempts,
            self.most_held,
            self.times,
            LARGER,
        )

    @property
    def config(self) -> RelayConfig:
        """Return the same configuration for the router."""
        times = self.times
        rules = Rules(frozenset({ALIAS}), max_list_items=8)
        return RelayConfig(
            parsing=ParseConfig.of(rules, Commit.CONTENT, 100_000),
            timeouts=Timeouts(
                connect=times.connect,
                header=times.header,
                unary=times.unary,
                first_body_byte=times.first_body_byte,
                idle=times.idle,
                error_body=times.error_body,
                failover_after=times.failover_after,
                plain_failover_after=times.plain_failover_after,
                total=times.total,
            ),
            policy=self.policy,
            guard=self.guard,
            shape_errors=self.shape_errors,
            max_attempts=self.max_attempts,
            commit_max_bytes=self.most_held,
            max_active=MOST_ACTIVE,
            trust=Trust(False, ()),
        )


@dataclass
class KnownFeeds:
    """Feeds that never change."""

    snapshot: Snapshot


class ForgetfulStats(LatencyStats):
    """Knows too little of every model for its times to extend a deadline."""

    def p95(self, model: str) -> float | None:
        """See `LatencyStats`."""
        return None

    def plain_p95(self, model: str) -> float | None:
        """See `LatencyStats`."""
        return None

    def p99_pause(self, model: str) -> float | None:
        """See `LatencyStats`."""
        return None


class Router:
    """A proxy between a site and a network."""

    def __init__(
        self,
        setup: Setup,
        clock: Clock,
        network: Network,
        record: Callable[[RequestRecord], None],
    ) -> None:
        time: Any = TimerQueue(clock) if setup.shared else clock
        self.pool = WatchedPool(
            time,
            network,
            size=setup.pool_size,
            idle=POOL_IDLE,
        )
        self.pool.network = network
        # A machine of its own tests the state that is kept between requests.
        tables = StateTables(
            SessionAffinity(ttl=0, max_entries=1, list_retry=0),
            CircuitBreaker(threshold=0, period=1, max_entries=1),
            ForgetfulStats(),
        )
        self.proxy = Proxy(
            time,
            self.pool,
            ORIGINS,
            setup.config,
            tables,
            hash_key=b"k" * 32,
            feeds=KnownFeeds(snapshot(**CONTEXTS)),
            record=record,
            pseudonym=PSEUDONYM,
            wall_clock=clock.seconds,
        )
        tree = RootResource(Resource(), self.proxy)
        self.site: Site = (
            AutopilotSite(tree, time, Limits()) if setup.own_channel else Site(tree, reactor=time)
        )

    def drain(self, empty: Callable[[], None]) -> None:
        """Stop admitting requests; call ``empty`` when the active ones have ended."""
        self.proxy.draining = True
        self.proxy.when_empty(empty)
        if isinstance(self.site, AutopilotSite):
            self.site.drain(lambda: None)
