"""The resource of the page's event stream (server-sent events)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from autopilot.routing.router_error import RouterError
from autopilot.web.status.requests import Shown
from autopilot.web.twisted_response import refuse

if TYPE_CHECKING:
    from twisted.web.server import Request

    from autopilot.web.status.updates import LiveUpdates

_FULL: Final = RouterError(
    503, "overloaded", "Too many status pages are open; reload this one to update it.", None, 15
)


class EventsLeaf(Resource):
    """``GET`` and ``HEAD`` of the event stream; Klein routes no other method here."""

    isLeaf = True

    def __init__(self, updates: LiveUpdates) -> None:
        super().__init__()
        self._updates = updates

    def render(self, request: Request) -> int | bytes:
        """Subscribe the client, unless there are too many subscribers."""
        head_only = request.method == b"HEAD"
        if self._updates.full and not head_only:
            refuse(request, _FULL)
            return NOT_DONE_YET
        request.setHeader(b"Content-Type", b"text/event-stream; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        # nginx would otherwise buffer the events and deliver them in bursts.
        request.setHeader(b"X-Accel-Buffering", b"no")
        if head_only:
            return b""
        self._updates.subscribe(request, Shown.of(request.args or {}))
        return NOT_DONE_YET
