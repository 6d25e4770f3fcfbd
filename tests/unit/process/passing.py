"""A rig for tests of passed connections: a reactor in memory, and workers that are only a slot."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.task import Clock

from autopilot.process.acceptor import Acceptor
from autopilot.process.board import Board, Slot
from autopilot.process.descriptor_passing import PassedConnections


class Reactor(Clock):
    """A clock with the sets of a reactor; a test reads for it."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()

    def addReader(self, reader: Any) -> None:  # noqa: N802  the names are Twisted's
        """See `IReactorFDSet`."""
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:  # noqa: N802
        """See `IReactorFDSet`."""
        self.readers.discard(reader)

    def removeWriter(self, writer: Any) -> None:  # noqa: N802
        """See `IReactorFDSet`."""

    def adoptStreamConnection(self, descriptor: int, family: Any, factory: Any) -> None:
        """See `IReactorSocket`: keep a copy of the descriptor, as a transport does."""
        factory.adopt(socket.fromfd(descriptor, family, socket.SOCK_STREAM))

    def turn(self) -> None:
        """Let every reader read once."""
        for reader in list(self.readers):
            reader.doRead()


class Factory:
    """Keeps the connections that it is given, each with a line in the worker's slot."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.connections: list[socket.socket] = []
        self.running = 0

    def doStart(self) -> None:
        """See `IProtocolFactory`."""
        self.running += 1

    def doStop(self) -> None:
        """See `IProtocolFactory`."""
        self.running -= 1

    def adopt(self, connection: socket.socket) -> None:
        """Take a connection, on which no request has arrived."""
        self.connections.append(connection)
        self.slot.connections += 1
        self.slot.fresh += 1

    def begin(self, requests: int) -> None:
        """Let requests arrive on connections without one."""
        self.slot.fresh -= requests
        self.slot.requests += requests

    def close(self) -> None:
        """Close the connections."""
        for connection in self.connections:
            connection.close()


class Child:
    """A worker's side of its pair, in this process."""

    def __init__(self, rig: Rig, index: int, descriptor: int) -> None:
        self.slot = rig.board.slot(index)
        self.factory = Factory(self.slot)
        self.ended = 0
        self.reactor = Reactor()
        # A child inherits a copy of the parent's descriptor.
        copy = socket.fromfd(descriptor, socket.AF_UNIX, socket.SOCK_SEQPACKET).detach()
        factory: Any = self.factory
        self.passed = PassedConnections(self.reactor, copy, factory, self.slot, self._end)
        self.passed.startListening()

    def _end(self) -> None:
        self.ended += 1

    def die(self) -> None:
        """Close everything without reading, as the system does for a killed process."""
        self.passed._close()
        self.factory.close()


class Rig:
    """An acceptor with a listening socket, and its clients."""

    def __init__(self, workers: int = 0, host: str = "127.0.0.1") -> None:
        self.reactor = Reactor()
        self.board = Board.create(8)
        self.acceptor = Acceptor(self.reactor, self.board)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listening = socket.create_server((host, 0), family=family, backlog=1024)
        self.address = self.listening.getsockname()[:2]
        self.acceptor.listen(self.listening)
        self.clients: list[socket.socket] = []
        self.children: dict[int, Child] = {}
        for index in range(workers):
            self.add(index)

    def add(self, index: int) -> Child:
        """Add a worker that is ready."""
        child = Child(self, index, self.acceptor.add(index))
        self.children[index] = child
        self.acceptor.ready(index)
        return child

    def connect(self, count: int = 1) -> None:
        """Connect clients, which wait in the queue of the listening socket."""
        self.clients += [socket.create_connection(self.address) for _ in range(count)]

    def counts(self) -> list[int]:
        """Return how many connections each worker has received."""
        return [len(child.factory.connections) for child in self.children.values()]

    def receive(self) -> None:
        """Let every worker receive what has been passed to it."""
        for child in self.children.values():
            child.reactor.turn()

    def turns(self, count: int = 1) -> None:
        """Let the parent and then the workers take turns, a retry's time apart."""
        for _ in range(count):
            self.reactor.turn()
            self.receive()
            self.reactor.advance(0.01)

    def close(self) -> None:
        """Close all sockets."""
        self.acceptor.close()
        for child in self.children.values():
            child.die()
        for client in self.clients:
            client.close()
        self.board.close()
