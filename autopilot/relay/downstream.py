"""Interface between the data plane and the client's side of an exchange.

The web layer implements it over its channel and over Twisted requests; tests implement it in
memory. ``whole``, ``commit`` or ``refuse`` is the first call that writes. After ``whole``,
``finish``, ``cut``, ``announce``, ``abort``, ``refuse`` or the client's disconnection no method may
be called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from twisted.internet.interfaces import IPushProducer

    from autopilot.http.dialect import Dialect
    from autopilot.http.headers import Field, RequestHeaders
    from autopilot.http.resource_ledger import Charge
    from autopilot.http.timers import Deadline
    from autopilot.routing.router_error import RouterError
    from autopilot.state.key_use import KeyUse
    from autopilot.upstream.key_pool import KeyLease


class ClientRequest(Struct, gc=False):
    """One client request, as parsed by the web layer.

    ``path`` is the upstream's, without the prefix under which the router is mounted; ``peer`` is
    the address of the TCP peer. ``body`` is empty as soon as it has been parsed. ``charge`` is what
    the channel has charged the request with, until it ends. ``use`` is that of the operator's own
    key that the client has, if there are such keys, and ``lease`` the key of the platform that the
    router lends it, whose field ``headers`` then have.
    """

    dialect: Dialect
    path: bytes
    query: bytes
    headers: RequestHeaders
    body: bytes
    peer: str
    request_id: str
    charge: Charge | None = None
    use: KeyUse | None = None
    lease: KeyLease | None = None

    def __repr__(self) -> str:
        """Show only values that the router has chosen: nothing from the client may reach a log."""
        return f"ClientRequest({self.dialect!r}, {self.path!r}, request_id={self.request_id!r})"


class CommittedHead(Struct, frozen=True, gc=False):
    """The response head for the client.

    ``framed``: one of the ``fields`` is a valid Content-Length. ``streams``: the body is an event
    stream. ``rechunk``: the guard may change the body, so the upstream's Content-Length is invalid.
    """

    status: int
    reason: bytes
    fields: Sequence[Field]
    framed: bool = False
    streams: bool = False
    rechunk: bool = False

    def __repr__(self) -> str:
        return f"CommittedHead({self.status}, framed={self.framed}, streams={self.streams})"


class Downstream(Protocol):
    """The client's side of one exchange."""

    @property
    def committed(self) -> bool:
        """Whether anything has been written."""

    @property
    def chunks(self) -> bool:
        """Whether a body without a length can show that it is whole: the client has HTTP/1.1."""

    def timer(self, expired: Callable[[], None]) -> Deadline:
        """Lend a deadline that calls ``expired``, until the response has ended."""

    def whole(self, head: CommittedHead, body: bytes) -> None:
        """Write a complete response and end it cleanly."""

    def commit(self, head: CommittedHead, body: bytes) -> None:
        """Write the response head and the first body bytes, which may be empty."""

    def write(self, data: bytes) -> None:
        """Write body bytes; they reach the socket before this returns, unless it is full."""

    def finish(self, data: bytes) -> None:
        """Write the last body bytes, which may be empty, and end the response cleanly."""

    def cut(self) -> None:
        """Close after the written bytes, in a way that shows the client an incomplete response."""

    def abort(self) -> None:
        """Close the client's connection at once."""

    def refuse(self, error: RouterError) -> None:
        """Write a complete error response."""

    def announce(self, error: RouterError, opening: bytes, latest: bytes) -> None:
        """End an event stream by the error as its last event, then as the dialect has it.

        ``opening`` are the first bytes of the stream, and ``latest`` the last that were written.
        Only OpenAI's responses have an event that ends a stream as failed: their end is clean then,
        any other a cut (contract §7).
        """

    def produce(self, producer: IPushProducer) -> None:
        """Register ``producer``, to pause while the client does not read."""

    def unsent(self) -> int | None:
        """Return the number of written bytes that the client has not received, if it is known."""
