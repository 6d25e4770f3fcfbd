"""Private mode's attested instances, built from the settings if it is on.

Few routers have it, and its packages are an extra, so that its modules are imported only then.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from autopilot.http.fetch import Fetcher
from autopilot.observability.private_counts import private_gauges
from autopilot.web.status.private import key_states, private_now
from autopilot.wiring import mapping
from autopilot.wiring.role import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime
    from twisted.web.iweb import IAgent

    from autopilot.attestation.asked_instances import AskedInstances
    from autopilot.attestation.collateral import Fetched, Platform
    from autopilot.attestation.instance_answers import InstanceAnswers
    from autopilot.attestation.missing_registers import MissingRegisters
    from autopilot.attestation.private_basis import PrivateBasis
    from autopilot.attestation.private_config import PrivateConfig
    from autopilot.attestation.private_instances import PrivateInstances
    from autopilot.http.fetch import FetchedResponse
    from autopilot.measurement import Measurement
    from autopilot.observability.instruments import Instrument
    from autopilot.observability.private_counts import PrivateCounts
    from autopilot.relay.private_exchanges import PrivateExchanges
    from autopilot.routing.catalog import Catalog
    from autopilot.settings import Settings
    from autopilot.web.status.private import PrivateNow
    from autopilot.wiring.edge import Ask

_log = Logger()


class PrivateParts:
    """The instances of a router with private mode, and what its reload changes.

    ``can_seal``: the packages are there that encrypt requests. ``asked`` are the instances of a
    worker, whose parent has all that they need.
    """

    def __init__(
        self,
        instances: PrivateInstances,
        repin: Callable[[Sequence[Measurement] | None], None] = lambda _pinned: None,
        *,
        can_seal: bool = True,
        asked: AskedInstances | None = None,
    ) -> None:
        self.instances = instances
        self.can_seal = can_seal
        self._repin = repin
        self._asked = asked

    def configure(self, settings: Settings) -> None:
        """Apply the settings that can change at run time."""
        self._repin(mapping.pinned(settings))

    def answers(self, clock: IReactorTime) -> InstanceAnswers:
        """Return what answers the questions of workers."""
        from autopilot.attestation.instance_answers import InstanceAnswers

        return InstanceAnswers(clock, self.instances)

    def connect(self, send: Callable[[bytes], None]) -> None:
        """Let a worker ask its parent, to which ``send`` sends a message."""
        if self._asked is not None:
            self._asked.connect(send)

    def received(self, payload: bytes) -> None:
        """Take a message of the parent."""
        if self._asked is not None:
            self._asked.received(payload)


def private_parts(
    settings: Settings,
    reactor: Any,
    agent: IAgent,
    catalog: Callable[[], Catalog | None],
    counts: PrivateCounts,
    place: Place = Place.SINGLE,
    paced: Callable[[Ask], Ask] = lambda ask: ask,
) -> PrivateParts | None:
    """Return what private mode needs, or None if it is off.

    Without its packages no request gets an instance. A worker asks its parent for instances.
    ``paced`` returns what counts the calls with keys of requests.
    """
    if settings.private == "off":
        return None
    try:
        from autopilot.attestation.judging import check_library

        check_library()
    except Exception:  # noqa: BLE001  an older package fails in its own way
        return PrivateParts(_without_library(place), can_seal=False)
    if place is Place.WORKER:
        return _of_worker(reactor)
    return _with_library(mapping.private(settings), reactor, agent, catalog, counts, paced)


def _without_library(place: Place) -> PrivateInstances:
    from autopilot.attestation.no_library import INSTALL, NoLibrary

    if place is not Place.WORKER:  # its parent has said it
        _log.warn(
            "Private mode: its packages are missing, so that every private request gets 503;"
            " install them: {install}",
            install=INSTALL,
        )
    return NoLibrary()


def _of_worker(reactor: Any) -> PrivateParts:
    from autopilot.attestation.asked_instances import AskedInstances
    from autopilot.attestation.judging import parse_key

    asked = AskedInstances(reactor, parse_key)
    return PrivateParts(asked, asked=asked)


def _with_library(
    config: PrivateConfig,
    reactor: Any,
    agent: IAgent,
    catalog: Callable[[], Catalog | None],
    counts: PrivateCounts,
    paced: Callable[[Ask], Ask],
) -> PrivateParts:
    from autopilot.attestation.attested_instances import AttestedInstances
    from autopilot.attestation.judging import Judge, parse_key, policy_of
    from autopilot.attestation.missing_registers import MissingRegisters
    from autopilot.attestation.nonce_pool import NoncePool
    from autopilot.attestation.platform_source import PlatformSource
    from autopilot.attestation.private_instances import ATTESTED, TEST_ROOTS
    from autopilot.attestation.verdicts import Sources, Verdicts
    from autopilot.attestation.verification import MAX_BODY_BYTES

    missing = MissingRegisters()
    judge = Judge(policy_of(config), missing.note)
    fetcher = Fetcher(agent, reactor, config.attest_timeout, MAX_BODY_BYTES)
    source = PlatformSource(paced(fetcher.ask), config.api_url)
    basis, collateral = _basis(config, reactor, agent, catalog, missing)
    sources = Sources(
        evidence=source.evidence,
        platform=judge.platform,
        collateral=collateral,
        measurements=basis.rows,
        steps=judge.steps,
        wall=time.time,
    )
    verdicts = Verdicts(reactor, sources, config.verdict_ttl, counts.attestation)
    pool = NoncePool(reactor, source.discover, counts.discovery)
    word = ATTESTED if config.test_roots is None else TEST_ROOTS
    instances = AttestedInstances(reactor, pool, verdicts, basis, parse_key, word)

    def repin(pinned: Sequence[Measurement] | None) -> None:
        if basis.pin(pinned):
            verdicts.forget_all()

    return PrivateParts(instances, repin)


def _basis(
    config: PrivateConfig,
    reactor: Any,
    agent: IAgent,
    catalog: Callable[[], Catalog | None],
    missing: MissingRegisters,
) -> tuple[PrivateBasis, Callable[[Platform], Deferred[str | None]]]:
    """Return what verdicts rest on besides evidence, and what fetches collateral."""
    from twisted.internet.defer import Deferred

    from autopilot.attestation import measurements_feed
    from autopilot.attestation.clock_check import ClockCheck
    from autopilot.attestation.collateral import identity_url
    from autopilot.attestation.collateral_cache import CollateralCache
    from autopilot.attestation.collateral_probe import CollateralProbe
    from autopilot.attestation.grace import fetch_in_grace
    from autopilot.attestation.measurements_feed import MeasurementsFeed
    from autopilot.attestation.private_basis import PUBLISHED, PrivateBasis
    from autopilot.attestation.private_instances import TEST_ROOTS

    clock_check = ClockCheck(time.time)
    folder = None if config.collateral_folder is None else Path(config.collateral_folder)
    public = Fetcher(agent, reactor, config.attest_timeout, measurements_feed.MAX_BYTES)

    def ask(url: str) -> Deferred[FetchedResponse]:
        return public.ask(url).addCallback(clock_check.seen)

    def fetch(platform: Platform) -> Deferred[Fetched]:
        base, days = config.collateral_url, config.grace_days
        return Deferred.fromCoroutine(fetch_in_grace(ask, base, platform, days, time.time))

    cache = CollateralCache(reactor, fetch, time.time, folder)
    feed = MeasurementsFeed(
        reactor, lambda: ask(f"{config.api_url}/servers/tee/measurements"), time.time, folder
    )
    probe = CollateralProbe(
        reactor, lambda: ask(identity_url(config.collateral_url)), lambda: cache.has_data
    )
    roots = PUBLISHED if config.test_roots is None else TEST_ROOTS
    basis = PrivateBasis(
        feed,
        cache,
        probe,
        clock_check,
        missing,
        lambda: _tee_chutes(catalog()),
        config.pinned,
        roots,
    )

    def get(platform: Platform) -> Deferred[str | None]:
        # It is fetched on behind a question that gives up, which keeps others waiting.
        return cache.get(platform).addTimeout(
            config.attest_timeout, reactor, onTimeoutCancel=lambda _result, _seconds: None
        )

    return basis, get


def _tee_chutes(catalog: Catalog | None) -> Collection[str]:
    """Return the chutes that the catalog marks as having a TEE."""
    if catalog is None:
        return ()
    return [
        each.chute_id
        for each in catalog.models.values()
        if each.tee is True and each.chute_id is not None
    ]


def private_exchanges(
    private: PrivateParts | None, settings: Settings, reactor: Any, counts: PrivateCounts
) -> PrivateExchanges | None:
    """Return what makes the exchanges of private requests, unless there can be none."""
    if private is None or not private.can_seal:
        return None
    from twisted.internet.threads import deferToThreadPool

    from autopilot.relay.private_exchanges import PrivateExchanges
    from autopilot.relay.private_path import INVOKE, PrivatePath
    from autopilot.upstream.pool import Origin
    from autopilot.upstream.target import RequestTarget

    def in_thread(call: Callable[..., Any], *given: Any) -> Deferred[Any]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), call, *given)

    origin = Origin.of(settings.api_base_url, mapping.proxies(settings))
    target = RequestTarget.sealed(origin, INVOKE)
    return PrivateExchanges(PrivatePath(private.instances, counts, target, in_thread))


def private_instruments(
    private: PrivateParts | None, counts: PrivateCounts
) -> tuple[Instrument, ...]:
    """Return the metrics of private mode, of which there are none while it is off."""
    if private is None:
        return ()
    report = private.instances.report

    def ends_in() -> float | None:
        ends = report().collateral.next_update
        return None if ends is None else ends - time.time()

    gauges = private_gauges(lambda: key_states(report()), ends_in)
    return (*counts.instruments(), *gauges)


def unattestable(settings: Settings, private: PrivateParts | None) -> str | None:
    """Return why nothing is attestable, where every request has to be private."""
    if private is None or settings.private != "always":
        return None
    return private.instances.report().why_not


def shown(
    settings: Settings, private: PrivateParts | None, catalog: Catalog | None
) -> PrivateNow | None:
    """Return what the pages show of private mode, None while it is off."""
    if private is None:
        return None
    models = () if catalog is None else catalog.models.values()
    chutes = ((each.chute_id, each.name) for each in models if each.chute_id is not None)
    return private_now(settings.private, private.instances.report(), chutes, time.time())
