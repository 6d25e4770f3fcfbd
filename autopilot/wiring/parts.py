"""The parts of one router, built from its settings and connected.

Every other module receives its collaborators as arguments. This module imports Klein (through
``autopilot.web.app``), and Klein installs a reactor, so it must be imported only after the reactor
has been chosen.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import succeed
from twisted.logger import Logger

from autopilot._version import __version__
from autopilot.attestation import evidence_parser
from autopilot.attestation.evidence_poller import EvidencePoller
from autopilot.feeds.feed_publisher import FeedPublisher
from autopilot.feeds.model_list import ModelDocuments
from autopilot.feeds.readiness import Readiness, readiness
from autopilot.feeds.readiness_log import ReadinessLog
from autopilot.feeds.routes_log import RoutesLog
from autopilot.http.fetch import FetchedResponse, Fetcher
from autopilot.http.fetch_error import OK
from autopilot.http.resource_ledger import ResourceLedger
from autopilot.http.timers import TimerQueue
from autopilot.http.tls_server import CertificateError, ServerCertificate, TLSServerFactory
from autopilot.observability.account_limits import AccountLimits
from autopilot.observability.history import History
from autopilot.observability.log_rate_limit import FailureLog
from autopilot.observability.metrics import Gauges, Metrics
from autopilot.observability.private_counts import PrivateCounts
from autopilot.observability.records import RequestRecord
from autopilot.observability.refusals import Refusals
from autopilot.observability.reporter import Reporter, records_to_log
from autopilot.observability.worker_report import WorkerReport
from autopilot.observability.workers import worker_instruments
from autopilot.process.hold_watch import HoldWatch
from autopilot.relay.counted_exchanges import CountedExchanges
from autopilot.relay.proxy import Proxy
from autopilot.routing.catalog import EMPTY
from autopilot.routing.identity import Hasher
from autopilot.routing.names import catalog_name
from autopilot.routing.patterns import exact_names
from autopilot.routing.private_mode import PrivateMode
from autopilot.settings import Settings
from autopilot.state.edge_counts import EdgeCounts
from autopilot.state.sharing.hub import HubCounts
from autopilot.upstream.endpoints import VerifiedEndpoints, trust_root
from autopilot.upstream.pool import Pool
from autopilot.web.app import PageSources, WebApp
from autopilot.web.cors import Cors
from autopilot.web.counted_site import CountedSite
from autopilot.web.root import RootResource
from autopilot.web.site import AutopilotSite
from autopilot.web.start_page import Address, StartPage
from autopilot.web.status.fallbacks import fallbacks_now
from autopilot.web.status.page import OperatorPages
from autopilot.web.status.report import StatusReport
from autopilot.web.status.routes import routes_now
from autopilot.web.status.updates import LiveUpdates
from autopilot.web.turns import Turns
from autopilot.wiring import mapping
from autopilot.wiring.agent import PlatformAgent
from autopilot.wiring.edge import (
    GovernedApi,
    edge_now,
    edge_sharing,
    gauges_of,
    governor_of,
    rules_of,
)
from autopilot.wiring.face import no_parent, of_whole, pages_by_place, shared_now
from autopilot.wiring.feeds import control_plane, jitter, role_instrument
from autopilot.wiring.keys import Keys
from autopilot.wiring.private import (
    private_exchanges,
    private_instruments,
    private_parts,
    shown,
    unattestable,
)
from autopilot.wiring.role import Place, Role
from autopilot.wiring.sharing import hub_of
from autopilot.wiring.store import shared_store

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from opentelemetry.trace import TracerProvider
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IProtocolFactory
    from twisted.web.iweb import IAgent

    from autopilot.observability.otlp import OtlpExporter
    from autopilot.process.board import Slot
    from autopilot.relay.trace import Tracer
    from autopilot.routing.catalog import Model
    from autopilot.routing.router_error import RouterError
    from autopilot.web.status.collected_pages import PageName
    from autopilot.wiring.face import Workers

_CONSUMER_FAILED = "A consumer of request records failed"


class Parts:
    """The parts of one router, built once from its settings.

    ``records`` writes the requests' records; by default they become events of Twisted's log.
    ``traces`` receives the spans of requests; by default ``OTEL_TRACES`` decides about tracing.
    ``role`` says which process of the router this is; by default it is the only one. A worker shows
    its parent how much it has to do in its ``slot`` of the board.
    """

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        records: Callable[[RequestRecord], None] | None = None,
        traces: TracerProvider | None = None,
        role: Role | None = None,
        slot: Slot | None = None,
    ) -> None:
        self.settings = settings
        self.role = role = Role.first(settings.sticky_hash_key) if role is None else role
        self._slot = slot
        self._reactor = reactor
        self._certificate: ServerCertificate | None = None
        self.clock = TimerQueue(reactor)
        self.draining = False
        trust = trust_root(Path(settings.upstream_ca_file) if settings.upstream_ca_file else None)
        self._readiness_log = ReadinessLog()
        self._routes_log = RoutesLog()
        self._relaying = mapping.relay(settings, self.role.pseudonym)
        self.metrics = Metrics(__version__, self._means)
        self.accounts = AccountLimits(self.clock.seconds, by_key=settings.key_metrics)
        self.metrics.instruments += self.accounts.instruments()
        self.hold_watch = HoldWatch(reactor, self.metrics.held.observe)
        self.history = History(self.clock.seconds)
        self._failures = FailureLog(self._log, self.clock.seconds)
        self._turns = Turns(self.clock)
        self.workers: Workers | None = None
        self.ask_parent: Callable[[PageName], Deferred[bytes]] = no_parent
        self.pages = pages_by_place(
            role.place,
            self.clock.seconds,
            OperatorPages(self.clock, self.status, self._metrics_text),
            self._collect,
            lambda name: self.ask_parent(name),
        )
        self.updates = LiveUpdates(self.clock, self.pages)
        self.reporter = Reporter(
            settings.log_sample, random.random, records or records_to_log(worker=role.worker)
        )
        self._consumers: tuple[Callable[[RequestRecord], object], ...]
        self._consumers = self.history.add, self.reporter.report
        counts = HubCounts()
        self.metrics.instruments += counts.instruments()
        self.hub = hub_of(role.place, settings, self.clock, self._shares, counts)
        self.tables = mapping.tables(settings) if self.hub is None else self.hub.tables
        self.governor = governor_of(role.place, settings, self.clock)
        self.sharing = shared_store(
            role.place,
            settings,
            reactor,
            self.clock,
            trust,
            self.hub,
            edge_sharing(self.governor, self.clock, lambda: bool(mapping.governed(self.settings))),
        )
        if self.sharing is not None:
            self.metrics.instruments += self.sharing.instruments()
        # What a parent lends is counted where it is used.
        calls = EdgeCounts() if role.place is Place.PARENT else self.governor.counts
        self.metrics.instruments += calls.instruments()
        if role.place is not Place.WORKER:
            self.metrics.instruments += gauges_of(self.governor, lambda: self.settings)
        self.ledger = ResourceLedger(mapping.resources(settings), mapping.trust(settings))
        self._endpoints = endpoints = VerifiedEndpoints(reactor, trust, mapping.origins(settings))
        self.pool = Pool(
            self.clock,
            endpoints,
            size=settings.upstream_pool_size,
            idle=settings.upstream_pool_idle_ms / 1000,
        )
        agent = PlatformAgent(reactor, endpoints, mapping.proxies(settings))
        self.control = control_plane(
            role,
            settings,
            reactor,
            agent,
            self._refreshed,
            self.hold_watch.activity,
            None if self.sharing is None else self.sharing.store,
        )
        self.metrics.instruments += (role_instrument(self.control),)
        self.publisher = (
            FeedPublisher(self.clock, self.control) if role.place is Place.PARENT else None
        )
        api = GovernedApi(
            reactor,
            self.governor,
            lambda: mapping.governs_api(self.settings),
            Hasher(role.hash_key),
            lambda: self.settings.pace_ms / 1000,
        )
        self.attestation = self._attestation(reactor, agent, api.may_fetch)
        self.private_counts = PrivateCounts()
        self.private = private_parts(
            settings,
            reactor,
            agent,
            lambda: self.control.snapshot.catalog,
            self.private_counts,
            role.place,
            api.paced,
        )
        self.metrics.instruments += private_instruments(self.private, self.private_counts)
        self._refusals = Refusals(
            self.clock.seconds, lambda: self.control.snapshot, self._record_refusal
        )
        self.exporting: OtlpExporter | None = None
        self.proxy = self._proxy(self._tracer(reactor, traces))
        self.keys = Keys(
            role.place,
            settings,
            self.clock,
            time.time,
            Hasher(role.hash_key),
            None if self.sharing is None else self.sharing.store,
            self.governor.banned_for,
        )
        self.metrics.instruments += self.keys.counts.instruments(self.keys.resting)
        self.documents = ModelDocuments(mapping.own_names(settings), role.started)
        self.metrics.watch(self._gauges())
        self._sites: list[AutopilotSite] = []
        self._shared: list[RootResource] = []

    def configure(self, settings: Settings) -> None:
        """Apply the settings that can change at run time; requests in flight keep the old ones."""
        self.settings = settings
        self._relaying = mapping.relay(settings, self.role.pseudonym)
        for backend in self._relaying.backends.values():
            self._endpoints(backend.origin)
        self.proxy.configure(self._relaying)
        self.governor.configure(rules_of(self.role.place, settings))
        self._note_routes()
        mapping.configure_state(self.tables, settings)
        self.ledger.configure(mapping.resources(settings), mapping.trust(settings))
        self.reporter.sample = settings.log_sample
        self.accounts.by_key = settings.key_metrics
        self.documents.rename(mapping.own_names(settings))
        for site in self._sites:
            site.limits = mapping.limits(settings)
        for tree in self._shared:
            tree.set_cors(Cors.of(settings.cors_allow_origins))
            tree.require_key(mapping.keyed(settings))
        self._follow_keys()
        if self.private is not None:
            self.private.configure(settings)
        self._load_certificate()

    def tree(
        self,
        *,
        clients: bool = True,
        operators: bool = True,
        admin: Callable[[], Sequence[Address]] = tuple,
    ) -> RootResource:
        """Return the resources of one port: those for clients, those for operators, or both.

        ``admin`` returns the addresses of those for operators if they have a port of their own.
        """
        sources = PageSources(
            catalog=lambda: self.control.snapshot.catalog,
            documents=self.documents,
            readiness=self.readiness,
            operators=self.pages,
            updates=self.updates,
            clock=self.clock,
            refreshed_in=self.control.refreshed_in,
            refused=self._refused,
        )
        pages = WebApp(sources, for_clients=clients, for_operators=operators)
        if not clients:
            return RootResource(pages.app.resource(), None, ledger=self.ledger, turns=self._turns)
        start = StartPage(
            __version__,
            self.proxy.trusts,
            lambda: exact_names(self.settings.aliases),
            None if operators else admin,
        )
        tree = RootResource(pages.app.resource(), self.proxy, start, turns=self._turns)
        tree.set_cors(Cors.of(self.settings.cors_allow_origins))
        tree.require_key(mapping.keyed(self.settings))
        tree.set_private(PrivateMode(self.settings.private))
        self._shared.append(tree)
        self._follow_keys()
        return tree

    def site(self, tree: RootResource) -> AutopilotSite:
        """Return one of the router's own sites, which serves ``tree``."""
        limits = mapping.limits(self.settings)
        if self._slot is None:
            site = AutopilotSite(tree, self.clock, limits, self._refused)
        else:
            site = CountedSite(tree, self.clock, limits, self._refused, self._slot)
        self._sites.append(site)
        return site

    def secured(self, site: AutopilotSite) -> IProtocolFactory | None:
        """Return what speaks TLS with the clients of ``site``, if the settings have a certificate.

        :raises CertificateError: the certificate cannot be used.
        """
        cert_file, key_file = self.settings.tls_cert_file, self.settings.tls_key_file
        if cert_file is None or key_file is None:
            return None
        self._certificate = ServerCertificate(cert_file, key_file)
        return TLSServerFactory(self._certificate, site, self._reactor)

    def _follow_keys(self) -> None:
        """Let clients in by the keys of the settings."""
        self.keys.configure(self.settings)
        self.proxy.keys, self.proxy.key_pool = self.keys.own, self.keys.pool
        for tree in self._shared:
            tree.know_keys(self.keys.own)

    def _load_certificate(self) -> None:
        """Read the certificate again, if there is one; if it cannot be used, keep the former."""
        if self._certificate is None:
            return
        try:
            self._certificate.load()
        except CertificateError as error:
            self._log.error("TLS_CERT_FILE: {problem}; the former stays in use", problem=str(error))
        else:
            self._log.info("TLS_CERT_FILE and TLS_KEY_FILE were read again")

    def readiness(self) -> Readiness:
        """Return whether the router is ready for traffic (contract §9)."""
        return self._readiness(served=self.workers is None or self.workers.serving > 0)

    def _readiness(self, *, served: bool = True) -> Readiness:
        return readiness(
            self.control.snapshot,
            self.control.statuses,
            self.clock.seconds(),
            self.settings.readyz_max_snapshot_age_ms / 1000,
            self.settings.readyz_max_allowlist_age_ms / 1000,
            self.draining,
            served,
            unattestable(self.settings, self.private),
        )

    def status(self) -> StatusReport:
        """Return the status report, which contains nothing about individual clients."""
        now = self.clock.seconds()
        self.hold_watch.activity.latest = "rendering the status page", now
        own = StatusReport(
            version=__version__,
            readiness=self.readiness(),
            active=self.proxy.active,
            most_active=self.settings.max_concurrent_requests,
            ranking=self.control.snapshot.ranking,
            cooling=self.tables.breaker.remaining(now),
            first_content=self.tables.latency.first_content(now),
            throughput=self.tables.latency.throughput(now),
            evidence=self.attestation.findings(),
            recent=self.history.latest(),
            failed=self.history.latest_failures(),
            window=self.history.window(),
            routes=routes_now(self._relaying.parsing.rules, self.control.snapshot),
            alone=self.role.worker,
            sharing=shared_now(self.hub, self.sharing, self.control.roles()),
            keys=self.keys.now(),
            edge=edge_now(self.governor, self.settings),
            fallbacks=fallbacks_now(self._relaying.parsing.rules.fallbacks),
            private=shown(self.settings, self.private, self.control.snapshot.catalog),
        )
        return own if self.workers is None else of_whole(own, self.workers, self.history)

    def show(self, workers: Workers) -> None:
        """Show these workers on the pages and in the metrics of their parent."""
        self.workers = workers
        self.metrics.instruments += worker_instruments(workers.now)

    def report(self) -> WorkerReport:
        """Return the report of a worker for its parent."""
        now = self.clock.seconds()
        assert self.role.worker is not None
        return WorkerReport(
            self.role.worker,
            os.getpid(),
            __version__,
            self.metrics.counted(),
            active=self.proxy.active,
            cooling=self.tables.breaker.remaining(now),
            first_content=dict(self.tables.latency.first_content(now)),
            throughput=dict(self.tables.latency.throughput(now)),
            recent=self.history.latest(),
            failed=self.history.latest_failures(),
            history=self.history.counted(),
            pool=self.keys.lent(),
        )

    def record(self, record: RequestRecord) -> None:
        """Hand the record of a finished request to its consumers.

        None of them can fail the request: the last one calls the embedding application.
        """
        catalog, others = self.control.snapshot.catalog, self._relaying.parsing.rules.fallbacks
        models = catalog.models if catalog is not None else ()
        known: Container[str] = models
        try:
            if others.candidates:
                known = frozenset(models).union(others.candidates)
            self.metrics.request(record, known)
            if record.code is not None and not record.private:  # an exchange counts its own
                self.private_counts.refusal(record.code)
        except Exception:  # noqa: BLE001  a bug of ours must not fail the request either
            self._failures.report(_CONSUMER_FAILED)
        consumers = self._consumers
        if record.key is not None:
            consumers = self.keys.counts.record, *consumers
        for consume in consumers:
            try:
                consume(record)
            except Exception:  # noqa: BLE001  an application's callback may raise anything
                self._failures.report(_CONSUMER_FAILED)

    def _shares(self, model: str) -> bool:
        """Return whether other replicas may know of a model; another name can be a client's own."""
        catalog = self.control.snapshot.catalog
        if catalog is not None and model in catalog.models:
            return True
        return model in self._relaying.parsing.rules.fallbacks.candidates

    def _means(self, name: str) -> str:
        """Return the catalog's name for one that was sent, if it has one."""
        return catalog_name(name, self.control.snapshot.catalog or EMPTY)

    def _refreshed(self, feed: str, outcome: str, rejected: int) -> None:
        """Count a refresh, and log whether the router became ready by it, or ceased to be."""
        if self.publisher is not None:
            self.publisher.changed()
        self.metrics.refresh(feed, outcome, rejected)
        if self.role.place is Place.WORKER:
            return  # its parent logs what all of them see
        ranking = self.control.snapshot.ranking
        best = ranking[0].name if ranking else None
        self._readiness_log.note(self._readiness(), best, failed=outcome != OK)
        self._note_routes()

    def _note_routes(self) -> None:
        """Log what is new about the routes beside the catalog."""
        if self.role.place is Place.WORKER:
            return
        rules = self._relaying.parsing.rules
        forwards = rules.unknown_models == "forward"
        self._routes_log.note(self.control.snapshot.catalog, rules.routes, forwards=forwards)

    def _attestation(
        self, reactor: Any, agent: IAgent, may_fetch: Callable[[], bool]
    ) -> EvidencePoller:
        settings = self.settings
        fetcher = Fetcher(
            agent, reactor, evidence_parser.TIMEOUT_SECONDS, evidence_parser.MAX_BYTES
        )

        def fetch(model: Model, nonce: str) -> Deferred[FetchedResponse]:
            return fetcher.ask(evidence_parser.evidence_url(settings.api_base_url, model, nonce))

        return EvidencePoller(
            reactor,
            fetch,
            lambda: self.control.snapshot.catalog,
            # A worker's parent does it.
            0.0 if self.role.place is Place.WORKER else settings.evidence_refresh_ms / 1000,
            jitter,
            lambda: secrets.token_hex(32),
            self.hold_watch.activity,
            may_fetch,
        )

    def _tracer(self, reactor: Any, traces: TracerProvider | None) -> Tracer | None:
        """Return the tracer if tracing is enabled; only then is OpenTelemetry imported."""
        if traces is None and not self.settings.otel_traces:
            return None
        from autopilot.observability.tracing import Tracing

        if traces is None:
            from autopilot.observability.otlp import OtlpExporter

            self.exporting = OtlpExporter(reactor, __version__)
            traces = self.exporting.provider
        return Tracing(
            traces, __version__, lambda: self.control.snapshot.catalog or (), self._failures
        )

    def _proxy(self, tracer: Tracer | None) -> Proxy:
        settings = self.settings
        return Proxy(
            self.clock,
            self.pool,
            mapping.endpoints(settings),
            self._relaying,
            self.tables,
            hash_key=self.role.hash_key,
            feeds=self.control,
            record=self.record,
            pseudonym=self.role.pseudonym,
            wall_clock=time.time,
            refreshed_in=self.control.refreshed_in,
            tracer=tracer,
            ledger=self.ledger,
            activity=self.hold_watch.activity,
            refused=self._refused,
            limited=self.accounts.note,
            exchanges=None if self._slot is None else CountedExchanges(self._slot),
            private=private_exchanges(self.private, settings, self._reactor, self.private_counts),
            governor=self.governor,
        )

    def _refused(self, endpoint: str, error: RouterError, req_id: str) -> None:
        """Count a request that was refused at its head, and leave its record."""
        self.metrics.rejected(endpoint, error)
        self.private_counts.refusal(error.code)
        self._refusals.add(endpoint, error, req_id)

    def _record_refusal(self, record: RequestRecord) -> None:
        try:
            self.reporter.report(record)
        except Exception:  # noqa: BLE001  an application's callback may raise anything
            self._failures.report(_CONSUMER_FAILED)

    def _metrics_text(self) -> bytes:
        self.hold_watch.activity.latest = "rendering /metrics", self.clock.seconds()
        return self.metrics.text(None if self.workers is None else self.workers.whole.totals)

    def _collect(self) -> Deferred[bool]:
        return succeed(True) if self.workers is None else self.workers.collect()

    def _gauges(self) -> Gauges:
        def age(at: float | None) -> float:
            return -1 if at is None else self.clock.seconds() - at

        return Gauges(
            requests_active=lambda: self.proxy.active,
            buffered_bytes=lambda: self.ledger.held_bytes,
            snapshot_age=lambda: age(self.control.snapshot.utilization_at),
            allowlist_age=lambda: age(self.control.snapshot.catalog_at),
            measured_age=lambda: age(self.control.snapshot.measured_at),
            candidates=lambda: len(self.control.snapshot.ranking),
            allowlist_size=lambda: len(self.control.snapshot.catalog or ()),
            cooling_models=lambda: len(self.tables.breaker.open),
            sticky_entries=lambda: len(self.tables.affinity),
        )
