"""A whole data plane in memory: all of it is real but the two ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.http.headers import Field, read_request_headers
from autopilot.http.resource_ledger import Admission, ResourceLedger, ResourceLimits
from autopilot.observability.records import RequestRecord
from autopilot.process.hold_watch import Activity
from autopilot.relay.config import RelayConfig, Timeouts
from autopilot.relay.downstream import ClientRequest
from autopilot.relay.exchange import Exchange
from autopilot.relay.proxy import PrivateExchanges, Proxy
from autopilot.relay.sse_guard import GuardLevel
from autopilot.relay.trace import Tracer
from autopilot.request.parse import ParseConfig
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.commit import Commit
from autopilot.routing.identity import Trust
from autopilot.routing.plan import Rules
from autopilot.routing.ranking import Load, rank
from autopilot.routing.retry_policy import Policy
from autopilot.routing.router_error import RouterError
from autopilot.routing.snapshot import Snapshot
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.edge_account import EdgeConfig
from autopilot.state.edge_limit import EdgeGovernor
from autopilot.state.latency import LatencyStats
from autopilot.state.tables import StateTables
from autopilot.upstream.pool import Origin, Pool
from tests.unit.relay.downstreams import RecordingDownstream
from tests.unit.relay.upstreams import DONE, STOP, TOKEN, Upstreams, Wire, chunk, head, whole

ALIAS = "chutesai/AutoPilot"
EACH = (b"X-Autopilot-Keepalive", b"1000")
"""The field by which a client asks that silence be bridged each second."""
PSEUDONYM = b"chutes-autopilot-test"
WALL_TIME = 1_800_000_000.25 - 1000
"""The time of day when the clock starts, at 1000 s: 2027-01-15T08:00:00.25Z."""
TIMEOUTS = Timeouts(
    connect=2.0,
    header=60.0,
    unary=600.0,
    first_body_byte=60.0,
    idle=120.0,
    error_body=2.0,
    failover_after=12.0,
    plain_failover_after=180.0,
    total=600.0,
)
CONNECT_TIMEOUT = TIMEOUTS.connect
FAILOVER_AFTER = TIMEOUTS.failover_after
ORIGINS = {
    Dialect.COMPLETIONS: Origin("http", "llm.test", 80, "/base"),
    Dialect.MESSAGES: Origin("http", "claude.test", 8080),
    Dialect.RESPONSES: Origin("http", "responses.test", 80),
}


def snapshot(**contexts: int | None) -> Snapshot:
    """A catalog of these models with their context lengths, ranked in this order."""
    catalog = Catalog.of(
        Model(name, chute_id=name, tee=True, context_length=length)
        for name, length in contexts.items()
    )
    loads = [
        Load(
            name=name,
            chute_id=name,
            active_instance_count=100 - place,
            utilization_current=0.0,
            utilization_5m=0.0,
            utilization_15m=0.0,
            utilization_1h=0.0,
            rate_limit_ratio_5m=0.0,
            rate_limit_ratio_15m=0.0,
            rate_limit_ratio_1h=0.0,
            scalable=False,
            scale_allowance=None,
        )
        for place, name in enumerate(contexts)
    ]
    return Snapshot(catalog, rank(loads, catalog), 990.0, 995.0)


@dataclass
class Client:
    """One request's client: what it got, and its exchange."""

    down: RecordingDownstream
    exchange: Exchange | None = None

    def leaves(self) -> None:
        """Go away."""
        assert self.exchange is not None
        self.down.lost()
        self.exchange.client_gone()


class RouterTestCase(SynchronousTestCase):
    """A router with three ranked models; after each test nothing of it may be left behind."""

    tracer: Tracer | None = None

    def setUp(self) -> None:
        """Start the clock and build a router with the default settings."""
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.records: list[RequestRecord] = []
        self.limited: list[tuple[bytes, Mapping[bytes, bytes], float]] = []
        self.clients: list[Client] = []
        self.refreshed_in = 5
        self.snapshot = snapshot(a=1000, b=1000, c=4000)
        self.build()

    def build(
        self,
        *,
        policy: Policy = Policy.STANDARD,
        guard: GuardLevel = GuardLevel.ON,
        commit: Commit = Commit.CONTENT,
        max_attempts: int = 8,
        max_active: int = 100,
        commit_max_bytes: int = 1 << 20,
        threshold: int = 3,
        shape_errors: bool = True,
        tables: StateTables | None = None,
        resources: ResourceLimits | None = None,
        edge: EdgeConfig | None = None,
        **timeouts: float,
    ) -> None:
        """Build a router with other settings; the one before must have left nothing behind."""
        if self.clients:
            self.finish()
        self.upstreams = Upstreams(self.clock)
        self.pool = Pool(self.clock, self.upstreams, size=8, idle=4.0)
        self.tables = tables or StateTables(
            SessionAffinity(ttl=1800.0, max_entries=100, list_retry=10.0),
            CircuitBreaker(threshold=threshold, period=10.0, max_entries=100),
            LatencyStats(),
        )
        self.config = RelayConfig(
            parsing=ParseConfig.of(Rules(frozenset({ALIAS}), max_list_items=8), commit, 100_000),
            timeouts=replace(TIMEOUTS, **timeouts),
            policy=policy,
            guard=guard,
            shape_errors=shape_errors,
            max_attempts=max_attempts,
            commit_max_bytes=commit_max_bytes,
            max_active=max_active,
            trust=Trust(False, ()),
            governed=frozenset() if edge is None else frozenset(ORIGINS),
            pace=2.0,
        )
        self.governor = EdgeGovernor(self.clock, edge or EdgeConfig())
        self.ledger = ResourceLedger(resources)
        self.activity = Activity()
        self.proxy = Proxy(
            self.clock,
            self.pool,
            ORIGINS,
            self.config,
            self.tables,
            hash_key=b"k" * 32,
            feeds=self,
            record=self.records.append,
            pseudonym=PSEUDONYM,
            wall_clock=lambda: WALL_TIME + self.clock.seconds(),
            refreshed_in=lambda: self.refreshed_in,
            tracer=self.tracer,
            ledger=self.ledger,
            activity=self.activity,
            refused=lambda *refusal: self._refuses(*refusal),
            limited=lambda *stated: self.limited.append(stated),
            private=self.private_exchanges(),
            governor=self.governor,
        )

    def hedging(self, usual: float, requests: int = 19) -> None:
        """Hedge after three times the usual time, with enough requests before for one."""
        self.config = replace(self.config, hedge_after=3.0)
        self.proxy.configure(self.config)
        now = self.clock.seconds()
        for model in ("a", "b", "c"):
            for _ in range(20):
                self.tables.latency.started(model, usual, now)
        for _ in range(requests):
            self.proxy._shared.hedges.request(now)

    def private_exchanges(self) -> PrivateExchanges | None:
        """Return the source of private exchanges; by default there is none."""
        return None

    def _refuses(self, endpoint: str, error: RouterError, req_id: str) -> None:
        """Receive what a channel refuses at its head."""

    def ask(
        self,
        model: str = ALIAS,
        *fields: Field,
        stream: bool = True,
        body: bytes | None = None,
        dialect: Dialect = Dialect.COMPLETIONS,
        token: bytes = b"secret",
        path: bytes = b"/v1/chat/completions",
        **members: Any,
    ) -> Client:
        """Send one request."""
        value = {"model": model, **({"stream": True} if stream else {}), **members}
        client = Client(RecordingDownstream(self.clock))
        sent = [(b"Authorization", b"Bearer " + token), *fields]
        headers, peer = read_request_headers(sent), "192.0.2.1"
        body = json.dumps(value).encode() if body is None else body
        admission = Admission(self.ledger, peer, connected=False)
        self.assertIsNone(admission.admit(headers.named, len(body)))
        request = ClientRequest(
            dialect=dialect,
            path=path,
            query=b"q=1",
            headers=headers,
            body=body,
            peer=peer,
            request_id="req-1",
            charge=admission.charge,
        )
        self.clients.append(client)
        client.exchange = self.proxy.accept(request, client.down)
        return client

    @property
    def wire(self) -> Wire:
        """The upstream connection opened last."""
        return self.upstreams.wire

    @property
    def models(self) -> list[str]:
        """The models that were sent requests, connection by connection."""
        return self.upstreams.models

    @property
    def record(self) -> RequestRecord:
        """The one record there must be by now."""
        self.assertEqual(len(self.records), 1)
        return self.records[0]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the attempts of the one request failed."""
        return tuple(each.reason for each in self.record.failovers)

    def streams(self) -> bytes:
        """Answer with a whole stream; what the client must get."""
        self.wire.says(head(), chunk(TOKEN), chunk(STOP + DONE), chunk(b""))
        return TOKEN + STOP + DONE

    def assert_refused(self, client: Client, status: int, code: str) -> None:
        """The client got this error of the router's own."""
        self.assertEqual((client.down.status, client.down.code), (status, code))

    def assert_nothing_held(self) -> None:
        """The ledger has no request, no byte and no client."""
        self.assertEqual((self.ledger.requests, self.ledger.held_bytes), (0, 0))
        self.assertEqual(self.ledger.clients, {})

    def tearDown(self) -> None:
        """Nothing is left: no exchange, no timer, no connection, and one record each."""
        self.finish()

    def finish(self) -> None:
        """Let every client leave; then nothing may be left."""
        for client in self.clients:
            if client.exchange is not None:
                client.leaves()
        self.assertEqual(self.proxy.active, 0)
        self.assertEqual(len(self.records), len(self.clients))
        self.pool.close()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.pool.open_connections, self.governor.waiting), (0, 0))
        self.assert_nothing_held()
        self.records.clear()
        self.clients.clear()


class ServingTestCase(RouterTestCase):
    """A router whose requests are answered at once."""

    def serve(self, model: str, *failing: str) -> list[str]:
        """Send one request and have the models in ``failing`` answer 503; the models tried."""
        before = len(self.upstreams.wires)
        self.ask(model)
        while self.wire.models[-1] in failing:
            self.wire.says(whole(503, b"", b"text/plain", b"Connection: close"))
            self.clock.advance(0)
        tried = [model for wire in self.upstreams.wires[before:] for model in wire.models]
        self.wire.says(head(200, b"text/event-stream", b"Connection: close"))
        self.wire.says(chunk(TOKEN), chunk(DONE), chunk(b""))
        self.clock.advance(0)
        return tried
