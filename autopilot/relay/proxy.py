"""Proxy: the entry of the data plane, which turns client requests into exchanges or errors.

It has each request planned and its keys looked at, and starts the exchange. It also keeps the set
of active exchanges, to limit their number and to shut down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from twisted.logger import Logger

from autopilot.http.dialect import COUNT_TOKENS, Dialect
from autopilot.http.error_bodies import INTERNAL
from autopilot.http.resource_ledger import OVERLOADED, ResourceLedger
from autopilot.observability.log_rate_limit import FailureLog
from autopilot.observability.refusals import Refused, ignore
from autopilot.process.hold_watch import Activity
from autopilot.relay.collaborators import Collaborators, Limited
from autopilot.relay.errors import NO_PRIVATE_MODE, SHUTTING_DOWN
from autopilot.relay.exchange import Exchange
from autopilot.relay.exchange_machine import ExchangeMachine
from autopilot.relay.exchange_states import Input
from autopilot.relay.operator_keys import admit, lend
from autopilot.relay.pacing import Pacing
from autopilot.relay.planned_request import PlannedRequest
from autopilot.relay.planner import Planner
from autopilot.relay.refused_request import RefusedRequest, refuse
from autopilot.relay.request_hashes import RequestHashes
from autopilot.relay.response_head import DateField
from autopilot.routing.eligible import RETRY_AFTER
from autopilot.routing.identity import is_trusted
from autopilot.routing.private_standing import NOTHING_KNOWN, PrivateStanding
from autopilot.routing.selector import ROUTE, Selector
from autopilot.routing.snapshot import Snapshot
from autopilot.state.hedging import HedgeBudget
from autopilot.state.tables import StateTables
from autopilot.upstream.target import RequestTarget

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from autopilot.observability.records import RequestRecord
    from autopilot.relay.config import RelayConfig
    from autopilot.relay.downstream import ClientRequest, Downstream
    from autopilot.relay.trace import Trace, Tracer
    from autopilot.state.edge_limit import EdgeGovernor
    from autopilot.state.own_keys import OwnKeys
    from autopilot.upstream.key_pool import KeyPool
    from autopilot.upstream.pool import Origin, Pool

_log = Logger()
# A look-up through the enum would cost as much as a call.
_START = Input.START
_READING = "reading a request"
_NO_SNAPSHOT = Snapshot()


class Feeds(Protocol):
    """The source of the current snapshot of the platform."""

    snapshot: Snapshot
    """Immutable; an update replaces it whole."""


class PrivateExchanges(Protocol):
    """Makes the exchanges of private requests, which are sealed to attested instances alone."""

    @property
    def host(self) -> str:
        """The host to which they are sent."""

    def standing(self, client: bytes, snapshot: Snapshot) -> PrivateStanding:
        """Return what is known of models for the plan of a private request."""

    def exchange(
        self,
        shared: Collaborators,
        config: RelayConfig,
        planned: PlannedRequest,
        response: Downstream,
        trace: Trace | None,
    ) -> Exchange:
        """Return the exchange of a private request."""


class Proxy:
    """Turns client requests into exchanges."""

    def __init__(
        self,
        clock: IReactorTime,
        pool: Pool,
        origins: Mapping[Dialect, Origin],
        config: RelayConfig,
        tables: StateTables,
        *,
        hash_key: bytes,
        feeds: Feeds,
        record: Callable[[RequestRecord], None],
        pseudonym: bytes,
        wall_clock: Callable[[], float],
        refreshed_in: Callable[[], int] = lambda: RETRY_AFTER,
        tracer: Tracer | None = None,
        ledger: ResourceLedger | None = None,
        activity: Activity | None = None,
        refused: Refused = ignore,
        limited: Limited = lambda client, fields, now: None,
        exchanges: set[ExchangeMachine] | None = None,
        private: PrivateExchanges | None = None,
        governor: EdgeGovernor | None = None,
    ) -> None:
        """Make a proxy; ``pseudonym`` is the router's name in ``Via`` fields.

        ``wall_clock`` returns the time of day, for ``Date`` fields alone.
        ``refreshed_in``: seconds until an alias without candidates may have some. The channels
        charge the ``ledger``; without one they refuse nothing. Each request is noted in the
        ``activity`` of the reactor. The channels call ``refused`` for what they refuse at its head.
        ``limited`` is called with what upstreams state of their clients' limits. ``exchanges``
        holds the active ones; a worker passes a set that shows its size to the parent. Without
        ``private`` no private request is sent. The ``governor`` is asked before each call, where
        the configuration has dialects for it.
        """
        self.clock = clock
        self._seconds = clock.seconds
        self._origins = origins
        self._targets: dict[Dialect, dict[bytes, RequestTarget]] = {each: {} for each in Dialect}
        self._config = config
        self._hashes = hashes = RequestHashes(hash_key, config.trust)
        self._feeds = feeds
        self._tracer = tracer
        self._activity = Activity() if activity is None else activity
        self._exchanges: set[ExchangeMachine] = set() if exchanges is None else exchanges
        self._empty: Callable[[], None] | None = None
        self._private = private
        standing = _nothing_known if private is None else private.standing
        self._planner = Planner(tables, hashes, standing, refreshed_in)
        self._failures = FailureLog(_log, clock.seconds)
        self._shared = Collaborators(
            clock.seconds,
            pool,
            tables,
            record,
            hashes.client,
            self._released,
            self._failures,
            DateField(wall_clock),
            limited,
            clock,
            HedgeBudget(),
            None
            if governor is None
            else Pacing(governor, hashes.upstream_key, hashes.conversation),
        )
        # A count of tokens generates nothing, so it must not change what is known of its model.
        self._counting = replace(self._shared, tables=StateTables.apart())
        self.tables = tables
        self.pseudonym = pseudonym
        self.ledger = ResourceLedger() if ledger is None else ledger
        self.refused = refused
        self.keys: OwnKeys | None = None
        """The operator's own keys, if only these may use the router; replaced on a reload."""
        self.key_pool: KeyPool | None = None
        """The operator's keys of the platform, if they are sent instead of the clients' own."""
        self.draining = False

    @property
    def active(self) -> int:
        """The number of active exchanges."""
        return len(self._exchanges)

    @property
    def max_body(self) -> int:
        """The largest request body that is accepted, in bytes."""
        return self._config.parsing.max_body

    def trusts(self, peer: str) -> bool:
        """Return whether a peer is a proxy whose forwarding fields the router believes."""
        return is_trusted(peer, self._config.trust)

    def configure(self, config: RelayConfig) -> None:
        """Use ``config`` for new requests; active exchanges keep theirs."""
        self._config = config
        self._hashes.trust = config.trust

    def accept(self, request: ClientRequest, response: Downstream) -> Exchange | None:
        """Start the exchange of a request, or respond with an error and return ``None``."""
        snapshot, now, trace = _NO_SNAPSHOT, self._seconds(), None
        self._activity.latest = _READING, now
        try:
            snapshot = self._feeds.snapshot
            planned: PlannedRequest | RefusedRequest
            if self.draining:
                planned = RefusedRequest(SHUTTING_DOWN)
            elif len(self._exchanges) >= self._config.max_active:
                planned = RefusedRequest(OVERLOADED)
            else:
                planned = self._planner.plan(request, snapshot, self._config, now)
            if self.keys is not None:
                planned = admit(self.keys, request, planned, snapshot, self._config)
            if request.path == COUNT_TOKENS and type(planned) is not RefusedRequest:
                planned = planned.first_only
            if self.key_pool is not None and type(planned) is not RefusedRequest:
                planned = lend(self.key_pool, request, planned, self._hashes, self._config)
            if self._tracer is not None:
                trace = self._trace(self._tracer, request, planned)
            exchange = (
                planned
                if type(planned) is RefusedRequest
                else self._private_exchange(planned, response, trace)
                if planned.parsed.private
                else Exchange(
                    self._counting if request.path == COUNT_TOKENS else self._shared,
                    self._config
                    if planned.plan.mode is not ROUTE
                    else self._config_of(planned.parsed.selector),
                    planned,
                    response,
                    self._targets[request.dialect].get(request.path)
                    or self._make_target(request.dialect, request.path),
                    trace,
                )
            )
        except Exception:  # noqa: BLE001  a bug; nothing was awaited, so nothing was cancelled
            self._failures.report("A request could not be planned")
            exchange = RefusedRequest(INTERNAL)
        if type(exchange) is RefusedRequest:
            refuse(self._shared, exchange, request, response, snapshot, trace, now)
            return None
        self._exchanges.add(exchange)
        exchange.take(_START, None)
        return exchange

    def _private_exchange(
        self, planned: PlannedRequest, response: Downstream, trace: Trace | None
    ) -> Exchange | RefusedRequest:
        """Return an exchange that has no plain target, or an error: never a plain exchange."""
        parsed, plan = planned.parsed, planned.plan
        if self._private is None:
            return RefusedRequest(NO_PRIVATE_MODE, parsed.selector.mode, parsed.body.stream)
        config = self._config if plan.mode is not ROUTE else self._config_of(parsed.selector)
        return self._private.exchange(self._shared, config, planned, response, trace)

    def shut_down(self) -> None:
        """End every active exchange."""
        for exchange in list(self._exchanges):
            exchange.shut_down()

    def when_empty(self, empty: Callable[[], None]) -> None:
        """Call ``empty`` once, as soon as no exchange is active."""
        if self._exchanges:
            self._empty = empty
        else:
            empty()

    def _config_of(self, selector: Selector) -> RelayConfig:
        """Return the configuration for the route that a selector is."""
        return self._config.of_routes.get(selector.names[0], self._config)

    def _make_target(self, dialect: Dialect, path: bytes) -> RequestTarget:
        """Return the target of a dialect and path, made at their first request."""
        target = RequestTarget.of(self._origins[dialect], path, self.pseudonym)
        self._targets[dialect][path] = target
        return target

    def _trace(
        self, tracer: Tracer, request: ClientRequest, planned: PlannedRequest | RefusedRequest
    ) -> Trace:
        asked, host = None, self._origins[request.dialect].host
        if type(planned) is not RefusedRequest:
            asked = planned.parsed.selector.text
            if planned.parsed.private and self._private is not None:
                host = self._private.host
        return tracer(request.path, request.headers.named, asked, host)

    def _released(self, exchange: ExchangeMachine) -> None:
        self._exchanges.discard(exchange)
        if self._exchanges or self._empty is None:
            return
        empty, self._empty = self._empty, None
        try:
            empty()
        except Exception:  # noqa: BLE001  the exchange is over all the same
            self._failures.report("What waited for the last exchange failed")


def _nothing_known(_client: bytes, _snapshot: Snapshot) -> PrivateStanding:
    """Return what a router without private mode knows of models for it."""
    return NOTHING_KNOWN
