"""What the data plane needs of the client's side of an exchange.

The web layer implements it over a Twisted request; tests implement it in memory. Before ``commit``
or ``refuse`` nothing is written; after ``finish``, ``cut``, ``refuse`` or the client's going
nothing may be called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from twisted.internet.interfaces import IPushProducer

    from autopilot.relay.dialect import Dialect
    from autopilot.relay.headers import Field
    from autopilot.routing.refusal import Refusal


@dataclass(frozen=True, slots=True)
class CommittedHead:
    """The response head the client gets.

    ``rechunk`` drops the declared length: the body may change.
    """

    status: int
    reason: bytes
    fields: Sequence[Field]
    rechunk: bool = False


class Downstream(Protocol):
    """The client's side of one exchange."""

    def commit(self, head: CommittedHead) -> None:
        """Write the response head."""

    def write(self, data: bytes) -> None:
        """Write body bytes; they are on their way now, unless the socket is full."""

    def finish(self) -> None:
        """End the response cleanly."""

    def cut(self) -> None:
        """End the response so that the client sees it is incomplete, after what was written."""

    def abort(self) -> None:
        """Drop the client's connection at once; it takes nothing anyway."""

    def refuse(self, refusal: Refusal) -> None:
        """Answer with an error of the router's own and end."""

    def error_event(self, refusal: Refusal) -> bytes:
        """The error as a server-sent event in the dialect of the endpoint."""

    def produce(self, producer: IPushProducer) -> None:
        """Let ``producer`` know when the client takes no more, and when it does again."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """One client request as the web layer read it. What could tell of its client is not shown."""

    dialect: Dialect
    path: bytes
    query: bytes = field(repr=False)
    fields: Sequence[Field] = field(repr=False)
    body: bytes = field(repr=False)
    peer: str = field(repr=False)
    request_id: str
