"""The client's side of an exchange, as the data plane needs it.

The web layer implements it over its channel and over Twisted requests; tests implement it in
memory. Before ``whole``, ``commit`` or ``refuse`` nothing is written; after ``whole``, ``finish``,
``cut``, ``abort``, ``refuse`` or the client's leaving nothing may be called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from twisted.internet.interfaces import IPushProducer

    from autopilot.http.dialect import Dialect
    from autopilot.http.headers import Field, RequestHeaders
    from autopilot.http.timers import Deadline
    from autopilot.routing.router_error import RouterError


class ClientRequest(Struct, frozen=True, gc=False):
    """One client request as the web layer read it.

    ``path`` is the path upstream, whatever prefix the router is mounted under; ``peer`` the TCP
    peer's address.
    """

    dialect: Dialect
    path: bytes
    query: bytes
    headers: RequestHeaders
    body: bytes
    peer: str
    request_id: str

    def __repr__(self) -> str:
        """Show only what the router itself decided."""
        return f"ClientRequest({self.dialect!r}, {self.path!r}, request_id={self.request_id!r})"


class CommittedHead(Struct, frozen=True, gc=False):
    """The response head that the client gets.

    ``framed``: one of the ``fields`` says how long the body is, and holds. ``streams``: the body is
    an event stream. ``rechunk``: the body may change on its way, so that no length of the
    upstream's can hold.
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
        """Whether anything was written."""

    def timer(self, expired: Callable[[], None]) -> Deadline:
        """Lend a deadline that calls ``expired``; it is taken back when the response is over."""

    def whole(self, head: CommittedHead, body: bytes) -> None:
        """Write a complete response and end it cleanly."""

    def commit(self, head: CommittedHead, body: bytes) -> None:
        """Write the response head and the first of the body, which may be empty."""

    def write(self, data: bytes) -> None:
        """Write body bytes; they are on their way now, unless the socket is full."""

    def finish(self, data: bytes) -> None:
        """Write the last body bytes, which may be empty, and end the response cleanly."""

    def cut(self) -> None:
        """End the response so that the client sees it is incomplete, after what was written."""

    def abort(self) -> None:
        """Drop the client's connection at once."""

    def refuse(self, error: RouterError) -> None:
        """Answer with an error of the router's own and end."""

    def error_event(self, error: RouterError) -> bytes:
        """Return the error as a server-sent event in the dialect of the endpoint."""

    def produce(self, producer: IPushProducer) -> None:
        """Let ``producer`` know when the client takes no more, and when it does again."""
