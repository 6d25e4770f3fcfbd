"""The router as a Twisted service: when its parts start and listen, and how they stop.

It imports Klein (through the parts), and Klein installs a reactor, so this module is imported only
after the reactor was chosen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger

from autopilot.observability.log_rate_limit import FailureLog
from autopilot.process.systemd.sockets import Sockets, family_of
from autopilot.settings import Settings, split_address
from autopilot.settings.reload import Change, change
from autopilot.web.listener import Listener, PassedListener
from autopilot.wiring.parts import Parts

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider
    from twisted.internet.interfaces import IDelayedCall
    from twisted.web.resource import IResource

    from autopilot.observability.records import RequestRecord
    from autopilot.web.site import AutopilotSite

_LAST_WORDS = 1.0
_LOOKS = 20
_LOOK_AGAIN = 0.05


def use_monotonic_clock(reactor: Any = None) -> None:
    """Make the reactor's clock monotonic, before anything is scheduled on it.

    Twisted schedules by wall time: a step of the wall clock would fire every timer at once, or none
    for hours.
    """
    if reactor is None:
        from twisted.internet import reactor
    reactor.seconds = time.monotonic


def autopilot_resource(service: AutopilotService) -> IResource:
    """The router as a resource, to put anywhere into the tree of a Twisted site.

    ``service`` keeps its feeds fresh and must be running; give it ``listen=False`` when the site
    listens.
    """
    return service.resource


class AutopilotService(Service):
    """The router as a Twisted service, to be started and stopped once.

    It fetches the feeds while it runs and, unless ``listen`` is false, listens where the settings
    say. Stopping it lets the streams under way finish within the drain time; the Deferred of
    ``stopService`` fires after that. ``records`` is called with the record of each request that is
    to be logged; without it the records become events of Twisted's log. ``followers`` are called
    with the settings each time `reload` has changed them; what one raises is logged. ``passed`` are
    sockets to listen on instead of where the settings say. ``traces``, a provider of
    OpenTelemetry's, takes the spans of requests, and stays its owner's to shut down.
    """

    name = "autopilot"
    _log = Logger()

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
        self._parts = parts = Parts(settings, reactor, records, traces)
        passed = passed or Sockets()
        apart = listen and bool(settings.admin_listen_addr or passed.admin)
        tree = parts.tree(operators=not apart)
        self.resource: IResource = tree
        self.followers: list[Callable[[Settings], None]] = []
        self._failures = FailureLog(self._log, parts.clock.seconds)
        self._listeners: list[Listener] = []
        if listen:
            self._listen(settings.listen_addr, passed.api, parts.site(tree))
        if apart:
            operators = parts.site(parts.tree(clients=False))
            self._listen(settings.admin_listen_addr, passed.admin, operators)

    def _listen(
        self, address: str | None, descriptors: tuple[int, ...], site: AutopilotSite
    ) -> None:
        """Plan to listen for `site` on sockets that were passed, or else at the address."""
        for descriptor in descriptors:
            passed = PassedListener(self._reactor, descriptor, family_of(descriptor), site)
            self._listeners.append(passed)
        if address and not descriptors:
            self._listeners.append(Listener(self._reactor, *split_address(address), site))

    @property
    def ports(self) -> list[int]:
        """The numbers of the ports listened on, in the order of the settings."""
        open_ports = (listener.port for listener in self._listeners)
        return [cast("Any", port.getHost()).port for port in open_ports if port is not None]

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._parts.draining

    def reload(self, settings: Settings) -> Change:
        """Go by other settings from now on, and say in the log what changed.

        Only live settings change (a column of the settings table); the others keep their values.
        Requests under way go on under the settings that they began with. What is not a request's
        own (cooldowns, stickiness, the limits of the log) changes for all.

        :raises SettingsError: they contradict those that cannot change; then nothing changes.
        :raises RuntimeError: the service was told to stop.
        """
        if self.stopping:
            raise RuntimeError("the router is stopping; its settings no longer change")
        made = change(self.settings, settings)
        self.settings = made.settings
        self._parts.configure(made.settings)
        for follow in tuple(self.followers):
            try:
                follow(made.settings)
            except Exception:  # noqa: BLE001  the callback is not ours
                self._failures.report("A follower of the settings failed; the reload went on")
        self._tell(made)
        return made

    def _tell(self, made: Change) -> None:
        if made.changed:
            self._log.info("Settings changed: {changed}", changed=", ".join(made.changed))
        if made.waiting:
            self._log.warn(
                "Settings that need a restart were changed and are not in effect: {waiting}",
                waiting=", ".join(made.waiting),
            )
        if not (made.changed or made.waiting):
            self._log.info("Settings read again: nothing changed")

    def privilegedStartService(self) -> None:
        """Listen, while twistd may still bind any port.

        :raises CannotListenError: a port is taken; ``twistd`` then ends with status 1.
        """
        for listener in self._listeners:
            listener.open()

    def startService(self) -> None:
        """Start the feeds, and listen unless that was done already."""
        super().startService()
        self.privilegedStartService()
        self._parts.control.start()
        self._parts.attestation.start()

    def stopService(self) -> Deferred[None]:
        """Drain and stop: not ready, no new connections, no new requests, then nothing."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        parts, settings = self._parts, self.settings
        parts.draining = True
        if settings.drain_delay_ms and self._listeners:
            await deferLater(self._reactor, settings.drain_delay_ms / 1000)
        for listener in self._listeners:
            await listener.close()
        parts.live.close()
        await self._hear_last_requests()
        parts.gateway.draining = True
        await self._drain(settings.drain_timeout_ms / 1000)
        await parts.attestation.stop()
        await parts.control.stop()
        parts.pool.close()
        if parts.exporting is not None:
            await parts.exporting.stop()

    async def _hear_last_requests(self) -> None:
        """Where a successor takes what is queued, refuse nothing to clients that got in before.

        What connected or was answered a moment ago may have a request on its way. It is answered as
        the last on its connection, so that the next one comes to the successor.
        """
        sites = {listener.site for listener in self._listeners if listener.shared}
        for site in sites:
            site.wind_down()
        for _ in range(_LOOKS):  # not until a time: who is held up has read nothing meanwhile
            if not any(site.expecting for site in sites):
                break
            await deferLater(self._reactor, _LOOK_AGAIN)

    async def _drain(self, seconds: float) -> None:
        """Let what is under way finish, and end the rest so that its clients can tell."""
        late: IDelayedCall = self._reactor.callLater(seconds, self._cut_short)
        self._late = late
        sites = {listener.site for listener in self._listeners}
        emptied = [_called(self._parts.gateway.when_empty), *(_called(s.drain) for s in sites)]
        await gatherResults(emptied)
        if self._late.active():
            self._late.cancel()

    def _cut_short(self) -> None:
        # A moment is left for the last words to reach the clients.
        self._late = self._reactor.callLater(_LAST_WORDS, self._abort)
        self._parts.gateway.shut_down()

    def _abort(self) -> None:
        for listener in self._listeners:
            listener.site.abort()


def _called(when: Callable[[Callable[[], None]], None]) -> Deferred[None]:
    """Fires when the callback that ``when`` takes is called."""
    done: Deferred[None] = Deferred()
    when(lambda: done.callback(None))
    return done
