"""One request on its way upstream: its handle, what can come back, and who handles that.

Values and shapes only. A transport (a connection, or the opening of one) carries a call; an attempt
or a stream handles its response.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from autopilot.http.response_parser import ResponseHead
from autopilot.routing.failure_reason import FailureReason


class UpstreamError(Struct, frozen=True, gc=False):
    """A call that ended without a complete response; and why.

    ``stale`` marks a reused connection that closed before any byte of the response: the server had
    most likely closed it while it was idle, so the request may safely be sent once more (RFC 9112
    §9.3.1). ``internal`` marks a fault of the router's own, already logged.
    """

    reason: FailureReason
    stale: bool = False
    internal: bool = False


class ResponseHandler(Protocol):
    """Takes a response as it arrives. After ``whole``, ``end`` or ``broken`` nothing follows."""

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """One read of the socket brought the complete response."""

    def head(self, head: ResponseHead, body: bytes) -> None:
        """The final response head has arrived, and what of the body came in the same read."""

    def body(self, data: bytes) -> None:
        """Body bytes have arrived, as many as one read of the socket brought; never none."""

    def end(self, body: bytes) -> None:
        """The response is complete; ``body`` is what came of it in the same read, if anything."""

    def broken(self, error: UpstreamError) -> None:
        """No complete response will come."""


class Transport(Protocol):
    """What carries an open call: a connection, or the opening of one."""

    def abort(self) -> None:
        """Close at once and report nothing."""

    def pause(self) -> None:
        """Stop reading from the upstream."""

    def resume(self) -> None:
        """Read again."""


class UpstreamCall:
    """One request on its way upstream, and the handle to stop it.

    ``handler`` may be replaced while the call is open: at commit the stream takes over, so that the
    rest of the response does not pass through the state machine.
    """

    __slots__ = ("handler", "payload", "transport")

    def __init__(self, payload: bytes, handler: ResponseHandler) -> None:
        self.payload = payload
        self.handler: ResponseHandler = handler
        self.transport: Transport | None = None

    def abort(self) -> None:
        """Drop the call and its connection at once; the handler is called no more.

        Does nothing once the call is over.
        """
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()

    def pause(self) -> None:
        """Stop reading the response until :meth:`resume`."""
        if self.transport is not None:
            self.transport.pause()

    def resume(self) -> None:
        """Read the response again."""
        if self.transport is not None:
            self.transport.resume()
