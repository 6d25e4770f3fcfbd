"""One connection to a Redis or Valkey server: commands out, replies in, in the same order (RESP 2).

hiredis reads the replies. Everything else is bounded here: how long a reply may take, its size, and
that a server that stopped answering is noticed without a command of the router's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import hiredis
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone

from autopilot.state.sharing.store_fault import (
    StoreFault,
    StoreRefused,
    StoreUnavailable,
    fault_of,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

PATIENCE: Final = 2.0
"""Seconds without a byte from the server after which replies that are due are given up."""

LONGEST: Final = 30.0
"""Seconds after which a reply is given up that arrives byte by byte."""

IDLE: Final = 1.0
"""Seconds without a reply or a message after which the server is asked whether it is there."""

MAX_REPLY: Final = 32 * 2**20
"""The most bytes of one reply: twice the largest value that the router keeps in the store."""

_STEP: Final = 0.25
# A large value takes its time on the way to the server, and nothing arrives meanwhile.
_BYTES_PER_SECOND: Final = 2**20
_PENDING: Final = object()


class RespConnection(Protocol):
    """Commands and their replies, and the messages of subscribed channels.

    ``lost`` is called once, when the connection is gone. ``received`` takes each message, with its
    channel.
    """

    def __init__(
        self,
        clock: IReactorTime,
        lost: Callable[[RespConnection, StoreFault], None],
        received: Callable[[bytes, bytes], None],
    ) -> None:
        self._clock = clock
        self._lost = lost
        self._received = received
        self._reader = hiredis.Reader(replyError=StoreRefused, notEnoughData=_PENDING)
        self._due: deque[tuple[Deferred[object], int, float]] = deque()
        self._partial = 0
        self._heard_at = self._replied_at = 0.0
        self._ticking: IDelayedCall | None = None
        self._fault: StoreFault | None = None
        self.due_bytes = 0
        """Bytes of the commands whose replies are due; to be read, not written."""
        self.round_trip: float | None = None
        """Seconds between the last command and its reply; to be read, not written."""

    @property
    def due(self) -> int:
        """The number of replies that are due."""
        return len(self._due)

    @property
    def ended(self) -> bool:
        """Whether the connection is lost or given up."""
        return self._fault is not None

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self._heard_at = self._replied_at = self._clock.seconds()
        self._ticking = self._clock.callLater(_STEP, self._tick)

    def send(self, args: Sequence[bytes]) -> Deferred[object]:
        """Send a command and return its reply.

        It fails with `StoreRefused` if the reply is an error, and with `StoreUnavailable` if the
        connection ends before. A cancelled command is sent all the same; its reply is dropped.
        """
        reply: Deferred[object] = Deferred()
        if self._fault is not None or self.transport is None:
            reply.errback(StoreUnavailable(self._fault or StoreFault.STOPPED))
            return reply
        packed = hiredis.pack_command(tuple(args))  # type: ignore[arg-type]
        now = self._clock.seconds()
        if not self._due:
            self._heard_at = now
        self._due.append((reply, len(packed), now))
        self.due_bytes += len(packed)
        self.transport.write(packed)
        return reply

    def abort(self, fault: StoreFault) -> None:
        """Give the connection up, because of ``fault``."""
        if self._fault is None:
            self._fault = fault
            transport: Any = self.transport  # there is one until a fault ends the connection
            transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        if self.ended:
            return
        self._heard_at = self._clock.seconds()
        self._partial += len(data)
        self._reader.feed(data)
        while (reply := self._next()) is not _PENDING:
            self._partial = 0
            self._take(reply)
        if self._partial > MAX_REPLY:
            self.abort(StoreFault.PROTOCOL)

    def _next(self) -> Any:
        """Return the next reply that arrived whole, or `_PENDING`; that, too, after the end."""
        if self.ended:
            return _PENDING
        try:
            return self._reader.gets()
        except (hiredis.HiredisError, MemoryError, TypeError):
            # MemoryError: an array of billions. TypeError: a map with a key that cannot be hashed.
            self.abort(StoreFault.PROTOCOL)
            return _PENDING

    def _take(self, reply: Any) -> None:
        self._replied_at = self._heard_at
        if type(reply) is list and len(reply) == 3 and reply[0] == b"message":
            _, channel, message = reply
            if isinstance(channel, bytes) and isinstance(message, bytes):
                self._received(channel, message)
                return
        if not self._due:
            self.abort(StoreFault.PROTOCOL)
            return
        waiting, size, sent_at = self._due.popleft()
        self.due_bytes -= size
        self.round_trip = self._clock.seconds() - sent_at
        if waiting.called:  # cancelled
            return
        if isinstance(reply, StoreRefused):
            waiting.errback(reply)
        else:
            waiting.callback(reply)

    def _tick(self) -> None:
        """Ask a silent server whether it is there; end the connection if it does not answer."""
        self._ticking = self._clock.callLater(_STEP, self._tick)
        now = self._clock.seconds()
        if self._due:
            on_the_way = self.due_bytes / _BYTES_PER_SECOND
            silent, late = now - self._heard_at, now - self._due[0][2]
            if silent >= PATIENCE + on_the_way or late >= LONGEST + on_the_way:
                self.abort(StoreFault.SLOW)
        elif now - self._replied_at >= IDLE:
            # Refused or not, the answer shows that the server is there.
            self.send((b"PING",)).addErrback(lambda _: None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        fault = self._fault = self._fault or fault_of(reason)
        self.transport = None
        due, self._due = self._due, deque()
        self.due_bytes = 0
        self._lost(self, fault)
        for waiting, _, _ in due:
            if not waiting.called:
                waiting.errback(StoreUnavailable(fault))
