"""The link of shared state between the parent and a worker, over their AMP connection."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from autopilot.service.commands import Events, Line
from autopilot.state.events import size

if TYPE_CHECKING:
    from autopilot.state.sharing.hub import Hub

MOST_WAITING_BYTES: Final = 4 << 20
"""Bytes of batches that wait for a process that does not read; further ones are lost, and counted.
"""


@implementer(IPushProducer)
class EventLink:
    """A hub's way to the process at the other end of ``line``, once `open` was called."""

    def __init__(self, hub: Hub, line: Line) -> None:
        self._hub = hub
        self._line = line
        self._transport: Any = None
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._paused = False

    def open(self) -> None:
        """Join the hub, and pass on what the other process sends."""
        self._transport = self._line.transport
        self._transport.registerProducer(self, True)
        self._line.on(Events, self._received)
        self._hub.join(self)

    def close(self) -> None:
        """Leave the hub, as the connection has ended."""
        self._hub.leave(self)
        self._waiting.clear()
        self._waiting_bytes = 0

    def send(self, batch: bytes) -> None:
        """See `Link`."""
        if not self._paused:
            self._line.tell(Events, batch=batch)
        elif self._waiting_bytes + len(batch) > MOST_WAITING_BYTES:
            self._hub.lost(size(batch))
        else:
            self._waiting.append(batch)
            self._waiting_bytes += len(batch)

    def _received(self, batch: bytes) -> None:
        self._hub.received(batch, self)

    def pauseProducing(self) -> None:
        """Keep further batches: the other process does not read."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Send what waits, until the connection is full again."""
        self._paused = False
        while self._waiting and not self._paused:
            batch = self._waiting.popleft()
            self._waiting_bytes -= len(batch)
            self._line.tell(Events, batch=batch)

    def stopProducing(self) -> None:
        """Leave the hub: the connection is lost."""
        self.close()
