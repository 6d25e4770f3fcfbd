"""The site: which channel and request it uses, its limits, and its channels for draining."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

from twisted.web.server import Request, Site

from autopilot.web.channel import Channel
from autopilot.web.root import RootResource

if TYPE_CHECKING:
    from twisted.web.resource import IResource

    from autopilot.http.limits import Limits
    from autopilot.web.endpoint import Endpoint


class PlainRequest(Request):
    """A request that invents no content type: upstream bodies carry their own."""

    defaultContentType = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}>"


class AutopilotSite(Site):
    """A site over :class:`Channel`. Bodies stay in memory, which their limit makes safe.

    When ``resource`` is the router's own tree, requests to its endpoints do not go through it.
    """

    protocol = Channel  # type: ignore[assignment]  # Twisted types it as its own wrapper
    requestFactory = PlainRequest
    noisy = False

    def __init__(
        self,
        resource: IResource,
        reactor: Any,
        limits: Limits,
        refused: Callable[[int], None] = lambda status: None,
    ) -> None:
        super().__init__(resource, reactor=reactor, parsePOSTFormSubmission=False)
        self.timeOut = None  # the channel's own deadlines replace the idle timer
        self.limits = limits
        self._endpoints: Mapping[bytes, Endpoint] = (
            resource.endpoints if isinstance(resource, RootResource) else {}
        )
        self.refused = refused
        self.draining = False
        self.channels: set[Channel] = set()
        self._empty: Callable[[], None] | None = None

    def getContentFile(self, length: int | None) -> BytesIO:
        """Where a body is kept while it arrives."""
        return BytesIO()

    def log(self, request: object) -> None:
        """No access line: it would hold addresses and queries. Each request has its record."""

    def startFactory(self) -> None:
        """No access log, so no clock for it either."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def endpoint(self, target: bytes) -> Endpoint | None:
        """What relays requests to this target, if anything does."""
        return self._endpoints.get(target.partition(b"?")[0])

    def opened(self, channel: Channel) -> None:
        """A client connected."""
        self.channels.add(channel)

    def closed(self, channel: Channel) -> None:
        """A client's connection is gone."""
        self.channels.discard(channel)
        if not self.channels and self._empty is not None:
            empty, self._empty = self._empty, None
            empty()

    @property
    def expecting(self) -> bool:
        """Whether a request may come on some connection that is waiting for nothing else."""
        return any(channel.expecting for channel in self.channels)

    def wind_down(self) -> None:
        """Make the next answer on each connection its last; idle connections stay for one more."""
        self.draining = True
        for channel in list(self.channels):
            if not channel.idle:
                channel.drain()

    def drain(self, empty: Callable[[], None]) -> None:
        """Close idle connections now, the others after their response.

        ``empty`` is called once, when none is left.
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
