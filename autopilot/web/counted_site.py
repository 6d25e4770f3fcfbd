"""The site of a worker, which shows its parent on the board what its connections are doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autopilot.web.channel import Channel
from autopilot.web.site import AutopilotSite

if TYPE_CHECKING:
    from twisted.web.resource import IResource

    from autopilot.http.limits import Limits
    from autopilot.http.request_parser import ArrivedRequest
    from autopilot.observability.refusals import Refused
    from autopilot.process.board import Slot


class CountedChannel(Channel):
    """A client connection that is fresh until its first request has arrived."""

    site: CountedSite
    fresh = True

    def _handle(self, request: ArrivedRequest) -> None:
        if self.fresh:
            self.fresh = False
            self.site.slot.fresh -= 1
        super()._handle(request)


class CountedSite(AutopilotSite):
    """A site that keeps the numbers of its connections in a slot of the board."""

    protocol = CountedChannel

    def __init__(
        self, resource: IResource, reactor: Any, limits: Limits, refused: Refused, slot: Slot
    ) -> None:
        super().__init__(resource, reactor, limits, refused)
        self.slot = slot

    def opened(self, channel: Channel) -> None:
        """Register the channel of a new connection."""
        super().opened(channel)
        self.slot.connections += 1
        self.slot.fresh += 1

    def closed(self, channel: Channel) -> None:
        """Remove the channel of a lost connection."""
        self.slot.connections -= 1
        if isinstance(channel, CountedChannel) and channel.fresh:
            channel.fresh = False
            self.slot.fresh -= 1
        super().closed(channel)
