"""One upstream connection in memory, calls on it, and a receiver that notes what it hears."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock

from autopilot.http.response_parser import ResponseHead
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.connection import Connection
from autopilot.upstream.types import UpstreamCall, UpstreamError
from tests.unit.relay.upstreams import Wire

Event = tuple[str, object]
BROKEN: Event = ("broken", UpstreamError(FailureReason.PROTOCOL_ERROR))
LOST: Event = ("broken", UpstreamError(FailureReason.CONNECTION_LOST))


class Listener:
    """A receiver that notes what it hears, and may do something at the head or at body bytes."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.head_seen: ResponseHead | None = None
        self.at_head: Callable[[], None] = lambda: None
        self.at_body: Callable[[], None] = lambda: None

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`; noted as its parts."""
        self.head(head, body)
        self.end(b"")

    def head(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`."""
        self.head_seen = head
        self.heard.append(("head", head.status))
        self.at_head()
        if body:
            self.body(body)

    def body(self, data: bytes) -> None:
        """See `ResponseHandler`."""
        self.heard.append(("body", data))
        self.at_body()

    def end(self, body: bytes) -> None:
        """See `ResponseHandler`."""
        if body:
            self.body(body)
        self.heard.append(("end", None))

    def broken(self, broken: UpstreamError) -> None:
        """See `ResponseHandler`."""
        self.heard.append(("broken", broken))


class Line:
    """A connection to a `Wire`, its owner's notes, and calls on it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.notes: list[str] = []
        self.connection = Connection(False, self)
        self.wire = Wire(self.clock)
        self.wire.protocol = self.connection
        self.connection.makeConnection(self.wire)
        self.listener = Listener()
        self.call = self.carry(self.listener, reused=False)

    def ready(self, connection: Connection) -> None:
        """See `Owner`."""
        self.notes.append("ready")

    def idle(self, connection: Connection) -> None:
        """See `Owner`."""
        self.notes.append("idle")

    def draining(self, connection: Connection) -> None:
        """See `Owner`."""
        self.notes.append("draining")

    def lost(self, connection: Connection) -> None:
        """See `Owner`."""
        self.notes.append("lost")

    def carry(self, listener: Listener, reused: bool = True) -> UpstreamCall:
        """Send a request."""
        call = UpstreamCall(b"request", listener)
        self.connection.carry(call, reused)
        return call

    @property
    def kept(self) -> bool:
        """Whether the connection was offered for another call."""
        return "idle" in self.notes
