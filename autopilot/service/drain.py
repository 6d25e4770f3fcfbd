"""The drain of a service that stops: what is in progress finishes, within a time.

What a service does around it, and in which order, is in `autopilot.service.lifecycle`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from autopilot.relay.proxy import Proxy
    from autopilot.web.listener import Listener

HANDOVER_CHECKS: Final = 20
"""How often a router that leaves looks whether last requests have come."""
_HANDOVER_CHECK_INTERVAL: Final = 0.05
_ABORT_DELAY: Final = 1.0  # seconds for the final events to reach the clients


class ConnectionDrain:
    """The last requests of a service, its streams in progress, and the end of both.

    ``in_haste``: `end` was called, so that nothing is given time any more.
    """

    def __init__(self, reactor: Any, proxy: Proxy, listeners: Sequence[Listener]) -> None:
        self._reactor = reactor
        self._proxy = proxy
        self._listeners = listeners
        self.in_haste = False
        self._waiting: Deferred[None] | None = None
        self._late: IDelayedCall | None = None

    def end(self) -> None:
        """End the drain now, as at the end of its time (contract §11)."""
        self.in_haste = True
        if self._waiting is not None:
            self._waiting.cancel()
        if self._late is not None and self._late.active():
            self._late.reset(0)

    async def serve_for(self, seconds: float) -> None:
        """Serve as before, so that load balancers notice the stop."""
        self._waiting = deferLater(self._reactor, seconds)
        with suppress(CancelledError):
            await self._waiting

    async def finish_handover(
        self, lingers_until: float, awaits_more: Callable[[int], bool]
    ) -> None:
        """Serve the last requests of clients that connected before a successor process took over.

        If the listening sockets are shared with a successor, a client that connected or got a
        response a moment ago may have a request on its way. It is served as the last one on its
        connection, so that the client's next connection reaches the successor. ``awaits_more`` says
        after a number of checks whether to wait for more; ``lingers_until`` is the time until which
        a client may send another request after a stream.
        """
        # Only sockets shared with a successor are handed over; a port of our own just closes.
        sites = {listener.site for listener in self._listeners if listener.shared}
        for site in sites:
            site.wind_down(lingers_until)
        checks = 0  # counted in turns, as a delayed process has not read anything meanwhile
        while awaits_more(checks) and any(site.expecting for site in sites):
            checks += 1
            await deferLater(self._reactor, _HANDOVER_CHECK_INTERVAL)

    async def finish(self, seconds: float) -> None:
        """Let requests in progress finish in so many seconds, then end the rest (contract §7)."""
        self._late = self._reactor.callLater(0.0 if self.in_haste else seconds, self._end_streams)
        sites = {listener.site for listener in self._listeners}
        emptied = [
            _fires_on_callback(self._proxy.when_empty),
            *(_fires_on_callback(s.drain) for s in sites),
        ]
        await gatherResults(emptied)
        # By now it may be the later call that `_end_streams` scheduled.
        if self._late is not None and self._late.active():
            self._late.cancel()

    def _end_streams(self) -> None:
        """End the remaining streams with an error event, and abort the rest a moment later."""
        self._late = self._reactor.callLater(_ABORT_DELAY, self._abort)
        self._proxy.shut_down()

    def _abort(self) -> None:
        """Abort every remaining connection."""
        for listener in self._listeners:
            listener.site.abort()


def _fires_on_callback(when: Callable[[Callable[[], None]], None]) -> Deferred[None]:
    """Return a Deferred that fires when the callback passed to ``when`` is called."""
    done: Deferred[None] = Deferred()
    when(lambda: done.callback(None))
    return done
