"""The way of reports of keys between the parent and a worker, over their AMP connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopilot.service.commands import KeyReport, Line

if TYPE_CHECKING:
    from autopilot.state.key_ledger import KeyLedger


class KeyLink:
    """The other process of a ledger; ``new`` is one that knows nothing yet."""

    def __init__(self, ledger: KeyLedger, line: Line, *, new: bool = False) -> None:
        self._ledger = ledger
        self._line = line
        line.on(KeyReport, self._received)
        ledger.join(self, new=new)

    def send(self, report: bytes) -> None:
        """See `Peer`."""
        self._line.tell(KeyReport, report=report)

    def close(self) -> None:
        """Forget the other process, which has ended."""
        self._ledger.leave(self)

    def _received(self, report: bytes) -> None:
        self._ledger.received(report, self)
