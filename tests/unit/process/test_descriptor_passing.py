"""Tests of the worker's side of passed connections."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any
from unittest import mock

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory as TwistedFactory
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Server
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.process import descriptor_passing
from autopilot.process.descriptor_passing import PassedConnections
from autopilot.process.exhaustion import PAUSE_SECONDS
from tests.unit.process.passing import Child, Reactor, Rig


class ReceivingTests(SynchronousTestCase):
    """What a worker does with connections, and without descriptors for them."""

    def setUp(self) -> None:
        """Make a parent with one worker, and capture the log."""
        self.rig = Rig(1)
        self.addCleanup(self.rig.close)
        self.child: Child = self.rig.children[0]
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def pass_on(self, count: int) -> None:
        """Let clients connect, and the parent pass their connections on."""
        self.rig.connect(count)
        self.rig.reactor.turn()

    def test_received(self) -> None:
        """Connections are adopted in their order, and counted; the parent keeps no copy."""
        self.pass_on(3)
        self.child.reactor.turn()
        ports = [each.getpeername()[1] for each in self.child.factory.connections]
        self.assertEqual(ports, [client.getsockname()[1] for client in self.rig.clients])
        self.assertEqual(self.child.slot.received, 3)
        self.child.factory.close()
        for client in self.rig.clients:
            client.settimeout(10)
            self.assertEqual(client.recv(1), b"")

    def test_no_descriptor_left(self) -> None:
        """Without a free descriptor nothing is received, and the parent sees that; then all is."""
        self.pass_on(2)
        with mock.patch.object(os, "dup", side_effect=[os.dup(0), OSError(24, "")] * 2):
            self.child.reactor.turn()
        self.assertEqual(self.rig.counts(), [0])
        self.assertFalse(self.child.reactor.readers)
        self.assertEqual(self.child.slot.exhausted, 1)
        self.assertEqual([event["log_level"].name for event in self.events], ["warn"])
        self.assertIn("LimitNOFILE", str(self.events))
        self.child.reactor.advance(PAUSE_SECONDS)
        self.assertEqual(self.child.slot.exhausted, 0)
        self.child.reactor.turn()
        self.assertEqual(self.rig.counts(), [2])

    def test_lost_to_the_kernel(self) -> None:
        """If another thread took the last descriptor, the loss is logged, and the rest goes on."""
        self.pass_on(2)
        first = [(b"4", None)]
        receive = descriptor_passing.receive

        def lose(receiving: socket.socket) -> Any:
            message = receive(receiving)
            if first and message is not None:
                assert message[1] is not None
                os.close(message[1])
                return first.pop()
            return message

        with mock.patch.object(descriptor_passing, "receive", lose):
            self.child.reactor.turn()
        self.assertEqual(self.rig.counts(), [1])
        self.assertEqual(self.child.slot.received, 2)
        self.assertIn("connection is lost", str(self.events))

    def test_client_gone(self) -> None:
        """A connection that its client has reset is not adopted, and its descriptor is closed."""
        self.pass_on(2)
        gone = self.rig.clients.pop(0)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
        self.child.reactor.turn()
        self.assertEqual(self.rig.counts(), [1])
        self.assertEqual(self.child.slot.received, 2)

    def test_failing_factory(self) -> None:
        """An exception costs its own connection; the log does not name the client."""
        self.pass_on(2)
        failed: list[bool] = []

        def fail(connection: socket.socket) -> None:
            connection.close()
            failed.append(True)
            raise ValueError

        with mock.patch.object(self.child.factory, "adopt", fail):
            self.child.reactor.turn()
        self.assertEqual(len(failed), 2)
        self.assertEqual(len(self.events), 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
        self.assertNotIn("127.0.0.1", str(self.events[0]["log_format"]))
        self.pass_on(1)
        self.child.reactor.turn()
        self.assertEqual(self.rig.counts(), [1])

    def test_end(self) -> None:
        """The worker notices the end of the pair once, behind what was passed before it."""
        self.pass_on(2)
        self.rig.acceptor.close()
        self.child.reactor.turn()
        self.assertEqual((self.rig.counts(), self.child.ended), ([2], 1))
        self.assertFalse(self.child.reactor.readers)
        self.child.passed.stopListening()
        self.assertEqual((self.child.factory.running, self.child.ended), (0, 1))

    def test_stopped(self) -> None:
        """A worker that stops listening receives what has arrived, and then closes its end."""
        self.pass_on(2)
        self.child.passed.stopListening()
        self.child.passed.stopListening()
        self.assertEqual((self.rig.counts(), self.child.ended), ([2], 0))
        self.assertEqual(self.child.factory.running, 0)
        self.assertFalse(self.child.reactor.readers)
        self.pass_on(1)
        self.assertEqual(self.rig.acceptor.remove(0), 1)

    def test_reactor_stops(self) -> None:
        """The reactor's end closes the descriptor."""
        self.child.passed.connectionLost(mock.Mock())
        self.assertEqual(self.child.passed.fileno(), -1)
        self.assertFalse(self.child.reactor.readers)


class _TwistedReactor(Reactor):
    """A reactor whose adopted connections are Twisted's."""

    def adoptStreamConnection(self, descriptor: int, family: Any, factory: Any) -> None:
        """See `IReactorSocket`."""
        Server._fromConnectedSocket(descriptor, family, factory, self)


class _Named(Protocol):
    """Keeps the addresses of its connection."""

    seen: list[Any]

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        self.seen += [transport.getPeer(), transport.getTcpNoDelay(), transport]


class TransportTests(SynchronousTestCase):
    """A passed connection as Twisted's transport."""

    def test_transport(self) -> None:
        """It has the client's address, does not block, and takes the options of a socket."""
        rig = Rig()
        self.addCleanup(rig.close)
        descriptor = rig.acceptor.add(0)
        rig.acceptor.ready(0)
        seen: list[Any] = []
        factory = TwistedFactory.forProtocol(_Named)
        with mock.patch.object(_Named, "seen", seen, create=True):
            passed = PassedConnections(
                _TwistedReactor(), os.dup(descriptor), factory, rig.board.slot(0)
            )
            passed.startListening()
            rig.connect(1)
            rig.reactor.turn()
            passed.doRead()
        peer, undelayed, transport = seen
        self.assertEqual(peer, IPv4Address("TCP", *rig.clients[0].getsockname()))
        self.assertTrue(undelayed)
        self.assertFalse(transport.socket.getblocking())
        passed.stopListening()
        transport.connectionLost(mock.Mock())
