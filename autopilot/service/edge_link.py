"""The way of leased calls of keys between the parent and a worker, over their AMP connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopilot.service.commands import EdgeNotice, Line
from autopilot.state.edge_notes import Note, decode, encode

if TYPE_CHECKING:
    from autopilot.state.edge_lease import EdgeLender, LeasingGovernor


class LenderLink:
    """The parent's end, to the worker in this ``slot``."""

    def __init__(self, lender: EdgeLender, slot: int, line: Line) -> None:
        self._lender = lender
        self._line = line
        self._borrower = lender.join(self._send)
        line.on(EdgeNotice, self._received)

    def close(self) -> None:
        """Forget the worker, which has ended."""
        self._lender.leave(self._borrower)

    def _send(self, note: Note) -> None:
        self._line.tell(EdgeNotice, note=encode(note))

    def _received(self, note: bytes) -> None:
        self._lender.received(decode(note), self._borrower)


def lease_over(line: Line, governor: LeasingGovernor) -> None:
    """Connect the governor of a worker to the parent's."""
    line.on(EdgeNotice, lambda note: governor.received(decode(note)))
    governor.send = lambda note: line.tell(EdgeNotice, note=encode(note))
