"""Types of an upstream call: its handle, its transport, its response handler and its error.

A transport (a connection, or the opening of one) carries a call; an attempt or a stream handles the
response.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from autopilot.http.response_parser import ResponseHead
from autopilot.routing.failure_reason import FailureReason


class UpstreamError(Struct, frozen=True, gc=False):
    """The failure of a call before a complete response.

    ``stale``: a reused connection closed before any byte of the response. Most likely the server
    closed it while it was idle, so the router sends the request once more (RFC 9112 §9.3.1).
    ``internal``: an exception in the router's own code, already logged.
    """

    reason: FailureReason
    stale: bool = False
    internal: bool = False


class ResponseHandler(Protocol):
    """Receives a response as it arrives; ``whole``, ``end`` or ``broken`` is the last call."""

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """Handle a complete response that arrived in one read."""

    def head(self, head: ResponseHead, body: bytes) -> None:
        """Handle the head of the final response, with the body bytes of the same read."""

    def body(self, data: bytes) -> None:
        """Handle the body bytes of one read, at least one byte."""

    def end(self, body: bytes) -> None:
        """Handle the end of the response, with the body bytes of the same read, if any."""

    def broken(self, error: UpstreamError) -> None:
        """Handle a failure: the response will not be complete."""


class _Discard:
    """Handles a response that nothing waits for."""

    __slots__ = ()

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`."""

    head = whole

    def body(self, data: bytes) -> None:
        """See `ResponseHandler`."""

    end = body

    def broken(self, error: UpstreamError) -> None:
        """See `ResponseHandler`."""


DISCARD = _Discard()
"""The handler of a call that has ended for its owner."""


class Transport(Protocol):
    """Carries an open call: a connection, or the opening of one."""

    def abort(self) -> None:
        """Close at once, without a call of the handler."""

    def drain(self) -> None:
        """Discard the rest of the response, for a short time, so that the connection can be kept.

        The call's handler receives nothing more.
        """

    def pause(self) -> None:
        """Stop reading from the upstream."""

    def resume(self) -> None:
        """Resume reading from the upstream."""


class UpstreamCall(Struct, eq=False):
    """One upstream request, and the handle to pause or abort it.

    ``handler`` may be replaced while the call is open: at commit the stream takes over, so that the
    rest of the response does not pass through the state machine. ``reused``: the connection carried
    another call before.
    """

    payload: bytes
    handler: ResponseHandler
    transport: Transport | None = None
    reused: bool = False

    def __repr__(self) -> str:
        return f"UpstreamCall(open={self.transport is not None})"

    def abort(self) -> None:
        """Abort the call and close its connection; the handler receives nothing more.

        Without effect once the call has ended.
        """
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()

    def drain(self) -> None:
        """End the call without its rest, which the connection reads for a short time and discards.

        The handler receives nothing more. Without effect once the call has ended.
        """
        transport, self.transport = self.transport, None
        self.handler = DISCARD
        if transport is not None:
            transport.drain()

    def pause(self) -> None:
        """Stop reading the response until :meth:`resume`."""
        if self.transport is not None:
            self.transport.pause()

    def resume(self) -> None:
        """Resume reading the response."""
        if self.transport is not None:
            self.transport.resume()
