"""A reactor with a network in memory and a virtual clock: connections take no time.

Everything above the transport is real: the router's channel, engine and pool on one side of each
connection, the stub's site on the other. Durations are therefore exact, and a minute costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

_ADDRESS = IPv4Address("TCP", "192.0.2.1", 80)


class Network(Clock):
    """A clock that is also a reactor, on which each host is ``server``, or one of ``others``."""

    def __init__(self) -> None:
        super().__init__()
        self.server: Any = None
        self.others: dict[str, Any] = {}

    def connectTCP(  # noqa: N802
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: object = None,  # noqa: N803
    ) -> None:
        """See `IReactorTCP`; the protocol is connected before this returns."""
        server = self.others.get(host, self.server)
        self.join(factory.buildProtocol(_ADDRESS), server.buildProtocol(_ADDRESS))

    def join(self, client: Any, server: Any) -> None:
        """Connect two protocols."""
        near, far = _Side(self, client), _Side(self, server)
        near.other, far.other = far, near
        server.makeConnection(far)
        client.makeConnection(near)

    def run(self, until: Callable[[], bool], limit: float) -> None:
        """Advance the time from event to event until a condition holds.

        Raise ``AssertionError`` if it does not within ``limit`` virtual seconds.
        """
        end = self.seconds() + limit
        while not until():
            calls = self.getDelayedCalls()
            at = min(call.getTime() for call in calls) if calls else end + 1
            assert at <= end, f"nothing came of it within {limit} s"
            self.advance(max(0.0, at - self.seconds()))

    def pass_time(self, seconds: float) -> None:
        """Advance the time by exactly this much."""
        end = self.seconds() + seconds
        self.callLater(seconds, lambda: None)
        self.run(lambda: self.seconds() >= end, seconds + 1)


@implementer(ITCPTransport)
class _Side:
    """One side of a connection. Written bytes arrive in the next turn."""

    disconnecting = False
    disconnected = False

    def __init__(self, network: Network, protocol: Any) -> None:
        self._network = network
        self._protocol = protocol
        self._arrived: list[bytes] = []
        self._paused = False
        self._ending: Exception | None = None
        self._producer: Any = None
        self.other: _Side

    # -- calls of the protocol

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        if data and not self.disconnecting and not self.disconnected:
            self._network.callLater(0, self.other.arrive, bytes(data))

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport`."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """See `ITransport`."""
        if not self.disconnecting:
            self.disconnecting = True
            self._network.callLater(0, self.end, ConnectionDone())
            self._network.callLater(0, self.other.end, ConnectionDone())

    def abortConnection(self) -> None:
        """See `ITCPTransport`."""
        self.disconnecting = True
        self._network.callLater(0, self.end, ConnectionAborted())
        self._network.callLater(0, self.other.end, ConnectionLost())

    def loseWriteConnection(self) -> None:
        """See `IHalfCloseableDescriptor`; both sides close after a half-close."""
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`; there is always room."""
        self._producer = producer
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._producer = None

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = False
        self._network.callLater(0, self._deliver)

    def stopProducing(self) -> None:
        """See `IProducer`."""
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        """See `ITransport`."""
        return _ADDRESS

    getHost = getTcpPeer = getPeer

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See `ITCPTransport`."""

    def getTcpNoDelay(self) -> bool:
        """See `ITCPTransport`."""
        return True

    getTcpKeepAlive = getTcpNoDelay

    # -- events of the other side

    def arrive(self, data: bytes) -> None:
        """Receive bytes."""
        self._arrived.append(data)
        self._deliver()

    def end(self, why: Exception) -> None:
        """End the connection after the bytes in transit."""
        self._ending = self._ending or why
        self._deliver()

    def _deliver(self) -> None:
        while self._arrived and not self._paused and not self.disconnected:
            self._protocol.dataReceived(self._arrived.pop(0))
        if self._ending is not None and not self.disconnected:
            if self._arrived and self._paused and not self.disconnecting:
                return
            self.disconnected = True
            self._protocol.connectionLost(Failure(self._ending))
