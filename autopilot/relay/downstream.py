"""What the data plane needs of the client's side of an exchange.

The web layer implements it over a Twisted request; tests implement it in memory. Before ``commit``
or ``refuse`` nothing is written; after ``finish``, ``cut``, ``refuse`` or the client's going
nothing may be called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from twisted.internet.interfaces import IPushProducer

    from autopilot.http.dialect import Dialect
    from autopilot.http.fields import Named
    from autopilot.http.headers import Field
    from autopilot.routing.router_error import RouterError


class CommittedHead(NamedTuple):
    """The response head the client gets.

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

    def commit(self, head: CommittedHead, body: bytes) -> None:
        """Write the response head and the first of the body, which may be empty."""

    def write(self, data: bytes) -> None:
        """Write body bytes; they are on their way now, unless the socket is full."""

    def finish(self) -> None:
        """End the response cleanly."""

    def cut(self) -> None:
        """End the response so that the client sees it is incomplete, after what was written."""

    def abort(self) -> None:
        """Drop the client's connection at once; it takes nothing anyway."""

    def refuse(self, refusal: RouterError) -> None:
        """Answer with an error of the router's own and end."""

    def error_event(self, refusal: RouterError) -> bytes:
        """The error as a server-sent event in the dialect of the endpoint."""

    def produce(self, producer: IPushProducer) -> None:
        """Let ``producer`` know when the client takes no more, and when it does again."""


class Inbound(NamedTuple):
    """One client request as the web layer read it. What could tell of its client is not shown."""

    dialect: Dialect
    path: bytes
    query: bytes
    fields: Sequence[Field]
    named: Named
    body: bytes
    peer: str
    request_id: str

    def __repr__(self) -> str:
        """Only what the router itself decided."""
        return f"Inbound({self.dialect!r}, {self.path!r}, request_id={self.request_id!r})"
