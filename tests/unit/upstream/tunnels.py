"""A proxy on a real socket that opens tunnels to ports of this machine, whatever their names."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure


class TunnelProxy(Factory):
    """A proxy that gives one response to each CONNECT, and relays what follows a 200."""

    noisy = False

    def __init__(self, reactor: Any, response: bytes) -> None:
        self.reactor = reactor
        self.response = response
        self.requests: list[bytes] = []
        self.after = b""
        self.open = 0

    def buildProtocol(self, addr: IAddress | None) -> Tunnelling:
        """See `IProtocolFactory`."""
        protocol = Tunnelling()
        protocol.factory = self
        return protocol


class Tunnelling(Protocol):
    """One connection to the proxy."""

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        self.factory.open += 1
        self.peer: Any = None
        self.asked = False
        self.early = b""

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        proxy: Any = self.factory
        transport: Any = self.transport
        if self.peer is not None:
            self.peer.transport.write(data)
        elif self.asked:
            self.early += data
            proxy.after += data
        else:
            self.asked = True
            proxy.requests.append(data)
            if not proxy.response.startswith(b"HTTP/1.1 200"):
                transport.write(proxy.response)
                return
            port = int(data.split(b" ")[1].rpartition(b":")[2])
            endpoint = TCP4ClientEndpoint(proxy.reactor, "127.0.0.1", port)
            endpoint.connect(Factory.forProtocol(Beyond)).addCallback(self.reached)

    def reached(self, peer: Any) -> None:
        """Open the tunnel."""
        self.peer, peer.peer = peer, self
        transport: Any = self.transport
        transport.write(self.factory.response)
        peer.transport.write(self.early)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self.factory.open -= 1
        if self.peer is not None:
            self.peer.transport.loseConnection()


class Beyond(Protocol):
    """The proxy's connection to an origin."""

    peer: Any = None

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self.peer.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self.peer.transport.loseConnection()
