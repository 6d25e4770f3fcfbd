"""The way of reports of keys between the parent and a worker, over their AMP connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from autopilot.service.commands import KeyReport, Line

if TYPE_CHECKING:
    from twisted.protocols.amp import Command


class Shared(Protocol):
    """What the processes of a router know together: a `KeyLedger`, or `KeyRests`."""

    def join(self, peer: KeyLink, *, new: bool = False) -> None:
        """Exchange reports with a peer."""

    def leave(self, peer: KeyLink) -> None:
        """Forget a peer that has ended."""

    def received(self, data: bytes, peer: KeyLink) -> None:
        """Take a report of a peer."""


class KeyLink:
    """The other process; ``new`` is one that knows nothing yet. Reports are each a ``command``."""

    def __init__(
        self, shared: Shared, line: Line, command: type[Command] = KeyReport, *, new: bool = False
    ) -> None:
        self._shared = shared
        self._line = line
        self._command = command
        line.on(command, self._received)
        shared.join(self, new=new)

    def send(self, report: bytes) -> None:
        """See `Peer`."""
        self._line.tell(self._command, report=report)

    def close(self) -> None:
        """Forget the other process, which has ended."""
        self._shared.leave(self)

    def _received(self, report: bytes) -> None:
        self._shared.received(report, self)
