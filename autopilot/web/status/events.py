"""The stream of server-sent events behind the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from autopilot.routing.router_error import RouterError
from autopilot.web.twisted_response import refuse

if TYPE_CHECKING:
    from twisted.web.server import Request

    from autopilot.web.status.live import Live

_FULL: Final = RouterError(
    503, "overloaded", "Too many pages are kept current; reload this one now and then.", None, 15
)


class EventsLeaf(Resource):
    """``GET`` of the events; the page routes nothing else here."""

    isLeaf = True

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live

    def render(self, request: Request) -> int | bytes:
        """Let the client watch, as long as there is room."""
        head_only = request.method == b"HEAD"
        if self._live.full and not head_only:
            refuse(request, _FULL)
            return NOT_DONE_YET
        request.setHeader(b"Content-Type", b"text/event-stream; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        # A proxy that keeps events until it has many would make the page a slide show.
        request.setHeader(b"X-Accel-Buffering", b"no")
        if head_only:
            return b""
        self._live.join(request)
        return NOT_DONE_YET
