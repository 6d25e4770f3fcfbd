"""The site of one listening port: its channels, their limits, and their draining."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.web.server import Request, Site

from autopilot.http.error_bodies import SUPPORTED_METHODS
from autopilot.http.head_gate import HeadGate
from autopilot.http.resource_ledger import ResourceLedger
from autopilot.observability.log_rate_limit import FailureLog
from autopilot.observability.refusals import Refused, ignore
from autopilot.web.channel import Channel
from autopilot.web.root import RootResource, prepare
from autopilot.web.turn_queue import TurnQueue

if TYPE_CHECKING:
    from twisted.web.resource import IResource

    from autopilot.http.limits import Limits
    from autopilot.web.endpoint import Endpoint


class PlainRequest(Request):
    """A request without Twisted's default ``Content-Type``: the relay passes on the upstream's."""

    defaultContentType = None

    def _handleStar(self) -> None:  # noqa: N802  the name is Twisted's
        """Respond to ``OPTIONS *``, which Twisted's own method does without ``Allow``."""
        prepare(self)
        self.setHeader(b"Allow", SUPPORTED_METHODS)
        self.setHeader(b"Content-Length", b"0")
        self.finish()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}>"


class AutopilotSite(Site):
    """A site over :class:`Channel` that keeps bodies in memory, within their limit.

    If ``resource`` is the router's own tree, the channel hands requests for relayed paths to the
    endpoints directly: looking up a resource costs more than the rest of a short request.
    """

    protocol = Channel  # type: ignore[assignment]  # Twisted types it as its own wrapper
    requestFactory = PlainRequest
    noisy = False

    def __init__(
        self,
        resource: IResource,
        reactor: Any,
        limits: Limits,
        refused: Refused = ignore,
    ) -> None:
        """Call ``refused`` for a request rejected without an exchange."""
        super().__init__(resource, reactor=reactor, parsePOSTFormSubmission=False)
        self.timeOut = None  # the channel's own deadlines replace Twisted's idle timer
        self.limits = limits
        self.endpoints: Mapping[bytes, Endpoint] = (
            resource.endpoints if isinstance(resource, RootResource) else {}
        )
        self.gate = (
            resource.gate if isinstance(resource, RootResource) else HeadGate(awaits_bodies=True)
        )
        self.ledger = resource.ledger if isinstance(resource, RootResource) else ResourceLedger()
        self.turns = TurnQueue(reactor)
        self.refused = refused
        self.failures = FailureLog(Logger(), reactor.seconds)
        self.draining = False
        self.lingers_until = -inf
        self.channels: set[Channel] = set()
        self._empty: Callable[[], None] | None = None

    def getContentFile(self, length: int | None) -> BytesIO:
        """Return the buffer of a request's body: memory, never a temporary file."""
        return BytesIO()

    def log(self, request: object) -> None:
        """Write no access log line, which would contain addresses and queries (contract §10)."""

    def startFactory(self) -> None:
        """Do not start the clock of Twisted's access log."""

    def stopFactory(self) -> None:
        """Do nothing: `startFactory` started nothing."""

    def opened(self, channel: Channel) -> None:
        """Register the channel of a new connection."""
        self.channels.add(channel)

    def closed(self, channel: Channel) -> None:
        """Remove the channel of a lost connection."""
        self.channels.discard(channel)
        if not self.channels and self._empty is not None:
            empty, self._empty = self._empty, None
            empty()

    @property
    def expecting(self) -> bool:
        """Whether any open connection is waiting for a request."""
        return any(channel.expecting for channel in self.channels)

    def wind_down(self, lingers_until: float = -inf) -> None:
        """Let each connection finish its current request, or an idle one its next, then close.

        Until this time of the reactor, a connection stays open for another request if the last
        response could not say that it would close.
        """
        self.draining, self.lingers_until = True, lingers_until
        for channel in list(self.channels):
            if not channel.idle:
                channel.drain()

    def drain(self, empty: Callable[[], None]) -> None:
        """Close idle connections now and the others after their response.

        Call ``empty`` once, when no connection is left.
        """
        self.draining = True
        for channel in list(self.channels):
            channel.drain()
        if self.channels:
            self._empty = empty
        else:
            empty()

    def abort(self) -> None:
        """Close every connection at once."""
        for channel in list(self.channels):
            channel.forceAbortClient()
