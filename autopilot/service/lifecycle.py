"""The router as a Twisted service: when its parts start and listen, and how they stop.

It imports Klein (through `autopilot.wiring.parts`), and Klein installs a reactor. This module must
therefore not be imported before the reactor is chosen.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from autopilot._version import __version__
from autopilot.observability.log_rate_limit import FailureLog
from autopilot.process.systemd.sockets import Sockets, family_of
from autopilot.service.drain import HANDOVER_CHECKS, ConnectionDrain
from autopilot.settings import (
    NO_PORT,
    Settings,
    UsualAddress,
    settings_warnings,
    split_address,
)
from autopilot.settings.reload import Change, change
from autopilot.web.listener import Listener, PassedListener, UsualListener
from autopilot.wiring.parts import Parts

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider
    from twisted.internet.interfaces import IProtocolFactory
    from twisted.web.resource import IResource

    from autopilot.observability.records import RequestRecord
    from autopilot.process.board import Slot
    from autopilot.web.root import RootResource
    from autopilot.web.site import AutopilotSite
    from autopilot.web.start_page import Address
    from autopilot.wiring.role import Role


def use_monotonic_clock(reactor: Any = None) -> None:
    """Make the reactor's clock monotonic, before anything is scheduled on it.

    Twisted schedules by wall time: a step of the wall clock would fire every timer at once, or none
    for hours (contract §11).
    """
    if reactor is None:
        from twisted.internet import reactor
    reactor.seconds = time.monotonic


def autopilot_resource(service: AutopilotService) -> IResource:
    """Return the router as a resource, to be mounted in the tree of a Twisted site.

    ``service`` keeps the feeds fresh and must be running; pass ``listen=False`` to it if the site
    listens.
    """
    return service.resource


class AutopilotService(Service):
    """The router as a Twisted service, which can be started and stopped once.

    It fetches the feeds while it runs and, unless ``listen`` is false, listens on the addresses of
    the settings. Stopping it lets streams in progress finish within the drain time; the Deferred of
    ``stopService`` fires after that.

    ``records`` is called with each request record that is to be logged; without it, records become
    events of Twisted's log. ``followers`` are called with the settings after each `reload` that
    changed them; what one raises is logged. ``passed`` are sockets to listen on in place of the
    addresses of the settings. ``traces``, an OpenTelemetry provider, receives the spans of
    requests; its owner shuts it down.
    """

    name = "autopilot"
    _log = Logger()
    _role: Role | None = None
    """The place of this process in a router with workers, which its own subclasses set."""
    _slot: Slot | None = None
    """Where a worker shows its parent how much it has to do."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        reactor: Any = None,
        listen: bool = True,
        records: Callable[[RequestRecord], None] | None = None,
        passed: Sockets | None = None,
        traces: TracerProvider | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.settings = settings = settings or Settings()
        self._reactor = reactor
        self._parts = parts = Parts(settings, reactor, records, traces, self._role, self._slot)
        passed = passed or Sockets()
        with_api = self._operators_with_api(passed if listen else Sockets())
        tree = parts.tree(operators=with_api, admin=self._admin_addresses)
        self.resource: IResource = tree
        self.followers: list[Callable[[Settings], None]] = []
        self._failures = FailureLog(self._log, parts.clock.seconds)
        self._embedded = True
        self._stopping = False
        self._api: list[Listener] = []
        self._admin: list[Listener] = []
        if listen:
            self._api = self._api_listeners(tree, passed)
        if listen and not with_api:
            self._admin = self._operators_listeners(passed)
        self._listeners = [*self._api, *self._admin]
        self._drain = ConnectionDrain(reactor, parts.proxy, self._listeners)

    @cached_property
    def operators_resource(self) -> IResource:
        """``/metrics`` and ``/status`` as a resource, for a place of an application's own site."""
        return self._parts.tree(clients=False)

    def _operators_with_api(self, passed: Sockets) -> bool:
        """Return whether the API's port has the operators' pages, because nothing else has them."""
        return self.settings.admin_listen_addr == NO_PORT and not passed.admin

    def _api_listeners(self, tree: RootResource, passed: Sockets) -> list[Listener]:
        """Return the listeners of the API, whose resources are those of ``tree``."""
        site = self._parts.site(tree)
        secured = self._parts.secured(site)
        return self._listen(self.settings.listen_addr, passed.api, site, secured)

    def _operators_listeners(self, passed: Sockets) -> list[Listener]:
        """Return the listeners of the operators' pages, if these have ports of their own."""
        site = self._parts.site(self._parts.tree(clients=False))
        return self._listen(self.settings.admin_listen_addr, passed.admin, site)

    def _listen(
        self,
        address: str,
        descriptors: tuple[int, ...],
        site: AutopilotSite,
        factory: IProtocolFactory | None = None,
    ) -> list[Listener]:
        """Return the listeners of `site`: the passed sockets if there are any, else the address."""
        if descriptors:
            return [
                PassedListener(self._reactor, descriptor, family_of(descriptor), site, factory)
                for descriptor in descriptors
            ]
        kind = UsualListener if isinstance(address, UsualAddress) else Listener
        return [kind(self._reactor, *split_address(address), site, factory)]

    def _admin_addresses(self) -> list[Address]:
        """Return the addresses of the operators' pages while they have open ports of their own."""
        return [each.address for each in self._admin if each.port is not None]

    @property
    def ports(self) -> list[int]:
        """The port numbers of the open listeners, in the order of the settings."""
        open_ports = (listener.port for listener in self._listeners)
        return [cast("Any", port.getHost()).port for port in open_ports if port is not None]

    @property
    def stopping(self) -> bool:
        """Whether the service has begun to stop."""
        return self._stopping

    @property
    def _is_leaving(self) -> bool:
        """Whether the router stops, not only this process of it: no client is to come back."""
        return True

    def reload(self, settings: Settings) -> Change:
        """Apply new settings, and log which of them changed.

        Only live settings change (the table of settings marks them); the others keep their values.
        A request in progress keeps the settings that it started with. State shared by requests
        (cooldowns, stickiness, limits of the log) changes at once.

        :raises SettingsError: the result contradicts itself; nothing changes.
        :raises RuntimeError: the service has begun to stop.
        """
        return self._reload(settings)

    def _reload(self, settings: Settings, *, expected: bool = True) -> Change:
        """Reload; if no change is ``expected``, the log does not say that there was none."""
        if self.stopping:
            raise RuntimeError("the router is stopping; its settings no longer change")
        result = change(self.settings, settings)
        self.settings = result.settings
        self._parts.configure(result.settings)
        for follow in tuple(self.followers):
            try:
                follow(result.settings)
            except Exception:  # noqa: BLE001  an application's callback may raise anything
                self._failures.report("A follower of the settings failed; the reload went on")
        if expected or result.changed or result.waiting:
            self._log_change(result)
        return result

    def _log_change(self, result: Change) -> None:
        """Log the changed settings, and those that wait for a restart."""
        if result.changed:
            self._log.info("Settings changed: {changed}", changed=", ".join(result.changed))
        if result.waiting:
            self._log.warn(
                "Settings that need a restart were changed and are not in effect: {waiting}",
                waiting=", ".join(result.waiting),
            )
        if not (result.changed or result.waiting):
            self._log.info("Settings reloaded: nothing changed")
        else:
            self._warn()

    def _warn(self) -> None:
        """Log combinations of valid settings that defeat a purpose of the router."""
        for warning in settings_warnings(self.settings):
            self._log.warn("{text}", text=warning)
        if self._embedded and self.settings.workers != 1:
            self._log.warn(
                "WORKERS is ignored, because the application that embeds the router is one process"
            )

    def privilegedStartService(self) -> None:
        """Listen, before ``twistd`` gives up root privileges, and log the addresses.

        :raises CannotListenError: a port is taken; ``twistd`` then exits with status 1.
        """
        if any(listener.port is not None for listener in self._listeners):
            return
        for listener in self._listeners:
            listener.open()
        if self._listeners:
            self._log_addresses()

    def _log_addresses(self) -> None:
        """Log where the API and the operators' pages are, and warn if a port was taken."""
        for listener in self._admin:
            if isinstance(listener, UsualListener) and listener.moved:
                self._log.warn(
                    "{usual} is taken, so that /status and /metrics are on {admin} until the next"
                    " start; set ADMIN_LISTEN_ADDR to an address that stays the same",
                    usual=self.settings.admin_listen_addr,
                    admin=_text(*listener.address),
                )
        places = [f"{_urls('https' if self.settings.tls_cert_file else 'http', self._api)} (API)"]
        if self._admin:
            places.append(f"{_urls('http', self._admin)} (operators)")
        self._log.info(
            "{product} on {places}{workers}",
            product=f"chutes-autopilot {__version__}",
            places=" and ".join(places),
            workers=self._with_workers(),
        )

    def _with_workers(self) -> str:
        """Return what the line of the addresses says about workers."""
        return ""

    def startService(self) -> None:
        """Start the feeds, and listen unless `privilegedStartService` already did."""
        super().startService()
        self._warn()
        self.privilegedStartService()
        self._parts.hold_watch.start()
        if self._parts.sharing is not None:
            self._parts.sharing.start()
        self._parts.keys.start()
        self._parts.control.start()
        self._parts.attestation.start()
        if self._parts.private is not None:
            self._parts.private.instances.start()

    def own_process(self, lost_lines: Iterable[Callable[[], int]]) -> None:
        """Measure what belongs to the process: the reactor's turns, and the log lines lost."""
        self._embedded = False
        self._parts.hold_watch.measure(self._reactor)
        self._parts.metrics.lost_lines += lost_lines

    def _when_ready(self, call: Callable[[], None]) -> None:
        """Call ``call`` once connections are served: with one process, as soon as it runs."""
        self._reactor.callWhenRunning(call)

    def _restart_workers(self) -> None:
        """Replace the workers by new processes; a single process has none, and logs that."""
        self._log.warn("Nothing is restarted: WORKERS is 1, so that there is only this process")

    def end_drain(self) -> None:
        """End the drain of a stopping service now, as at the end of its time (contract §11)."""
        self._drain.end()

    def stopService(self) -> Deferred[None]:
        """Report not ready, stop accepting, drain, then stop every part (contract §11)."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        """Run every step of the stop; a step that fails is logged, and the others follow."""
        self._log_stopping()
        self._stopping = True
        # /readyz reports 503 from here on; load balancers stop sending before the port closes.
        self._parts.draining = self._is_leaving
        for step in self._steps():
            try:
                pending = step()
                if pending is not None:
                    await pending
            except Exception:  # noqa: BLE001  the next step is still to be done
                self._failures.report("A step of the stop failed; the next ones follow")
        self._log_stopped()

    def _steps(self) -> Iterable[Callable[[], Awaitable[object] | None]]:
        """Return the steps of the stop, in their order."""
        parts = self._parts
        steps: list[Callable[[], Awaitable[object] | None]] = [
            self._wait_for_balancers,
            *(listener.close for listener in self._listeners),
            parts.updates.close,
            self._finish_handover,
            self._finish_requests,
            parts.attestation.stop,
            parts.control.stop,
            parts.hold_watch.stop,
            # After the drain, because a finished stream returns its connection to the pool.
            parts.governor.close,
            parts.pool.close,
        ]
        if parts.private is not None:
            steps.append(parts.private.instances.stop)
        steps.append(parts.keys.stop)
        if parts.hub is not None:
            steps.append(parts.hub.close)
        if parts.sharing is not None:
            steps.append(parts.sharing.stop)
        if parts.publisher is not None:
            steps.append(parts.publisher.stop)
        if parts.exporting is not None:
            steps.append(parts.exporting.stop)
        return steps

    def _log_stopped(self) -> None:
        self._log.info("Stopped")

    def _log_stopping(self) -> None:
        """Log what the stop waits for, and how long."""
        delay, drain = self.settings.drain_delay_ms / 1000, self.settings.drain_timeout_ms / 1000
        if delay and self._listeners:
            self._log.info(
                "Stopping: the port stays open for {seconds:g} s, so that load balancers notice",
                seconds=delay,
            )
        if self._parts.proxy.active:
            self._log.info(
                "Stopping: requests in progress ({active}) have {seconds:g} s to finish",
                active=self._parts.proxy.active,
                seconds=delay + drain,
            )

    async def _wait_for_balancers(self) -> None:
        """Serve for DRAIN_DELAY_MS, in which load balancers see ``/readyz``."""
        delay = self.settings.drain_delay_ms
        if delay and self._listeners:
            await self._drain.serve_for(delay / 1000)

    async def _finish_handover(self) -> None:
        """Serve the last requests of clients that connected before a successor took over."""
        await self._drain.finish_handover(self._lingers_until(), self._awaits_more)

    def _awaits_more(self, checks: int) -> bool:
        """Return whether to wait for last requests, after so many checks."""
        return checks < HANDOVER_CHECKS

    def _lingers_until(self) -> float:
        """Return until when a client may send another request after a stream; here it may not.

        Once the last requests have been served, further ones are refused.
        """
        return -inf

    async def _finish_requests(self) -> None:
        """Let requests in progress finish in DRAIN_TIMEOUT_MS, then end the rest (contract §7)."""
        self._parts.proxy.draining = self._is_leaving
        await self._drain.finish(self._drain_seconds())

    def _drain_seconds(self) -> float:
        """Return how long requests in progress may take from now on."""
        return self.settings.drain_timeout_ms / 1000


def _urls(scheme: str, listeners: Iterable[Listener]) -> str:
    """Return the addresses of open listeners as URLs."""
    return ", ".join(f"{scheme}://{_text(*listener.address)}" for listener in listeners)


def _text(host: str, port: int) -> str:
    """Return a listen address as in the settings."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
