"""Tests of the acceptor: real sockets, whose turns and time the tests give."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any
from unittest import SkipTest, mock

from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.process import acceptor as acceptor_module
from autopilot.process.acceptor import HELD_SECONDS, MOST_ACCEPTED, PATIENCE_SECONDS
from autopilot.process.descriptor_passing import MOST_ON_THE_WAY, send
from tests.unit.process.passing import Child, Rig


class AcceptorTests(SynchronousTestCase):
    """Who gets a connection, and what happens to one that its worker does not receive."""

    def rig(self, workers: int = 0, host: str = "127.0.0.1") -> Rig:
        """Return a rig that is closed at the end of the test."""
        rig = Rig(workers, host)
        self.addCleanup(rig.close)
        return rig

    def assert_served(self, rig: Rig) -> None:
        """Each client is connected to one worker: a byte of it arrives there, once."""
        received = []
        for child in rig.children.values():
            for connection in child.factory.connections:
                connection.setblocking(False)
                try:
                    received.append(connection.recv(16))
                except OSError:
                    received.append(b"")
        self.assertEqual(sorted(received), [b"%03d" % index for index in range(len(rig.clients))])

    def say(self, rig: Rig) -> None:
        """Let each client send its number."""
        for index, client in enumerate(rig.clients):
            client.sendall(b"%03d" % index)

    def test_even(self) -> None:
        """Connections of one burst are even, before any request of them has arrived."""
        rig = self.rig(4)
        rig.connect(40)
        self.say(rig)
        rig.turns(5)
        self.assertEqual(rig.counts(), [10, 10, 10, 10])
        self.assert_served(rig)
        self.assertEqual((rig.acceptor.passed, rig.acceptor.lost), (40, 0))

    def test_least_requests(self) -> None:
        """The worker with fewer requests gets more connections, however many idle ones it has."""
        rig = self.rig(2)
        rig.board.slot(0).requests = 6
        rig.board.slot(1).connections = 100
        rig.connect(6)
        rig.turns()
        self.assertEqual(rig.counts(), [0, 6])
        rig.children[1].factory.begin(6)  # each has become a request, and is not counted twice
        rig.connect(4)
        rig.turns()
        self.assertEqual(rig.counts(), [2, 8])

    def test_on_their_way(self) -> None:
        """A worker that does not read gets no more than the limit; the others get the rest."""
        rig = self.rig(2)
        slow = rig.children.pop(0)
        rig.connect(60)
        rig.turns(int(PATIENCE_SECONDS * 100))
        self.assertLess(sum(rig.counts()), 60 - MOST_ON_THE_WAY)
        rig.turns(10)
        self.assertEqual(rig.counts(), [60 - min(MOST_ON_THE_WAY, rig.acceptor._workers[0].passed)])
        self.assertLessEqual(rig.acceptor._workers[0].passed, MOST_ON_THE_WAY)
        rig.children[0] = slow
        rig.turns()
        self.assertEqual(sum(rig.counts()), 60)

    def test_burst_beside_a_slow_worker(self) -> None:
        """A burst is even although one worker receives later than the others."""
        rig = self.rig(3)
        slow = rig.children[0]
        rig.connect(120)
        for number in range(60):
            rig.reactor.turn()
            for child in rig.children.values():
                if child is not slow or number % 10 == 9:
                    child.reactor.turn()
            rig.reactor.advance(0.01)
        self.assertEqual(rig.counts(), [40, 40, 40])

    def test_full(self) -> None:
        """While no worker can take a connection, the acceptor stops accepting; none is lost."""
        rig = self.rig(1)
        child = rig.children.pop(0)
        rig.connect(MOST_ON_THE_WAY + 30)
        rig.turns(3)
        self.assertFalse(rig.reactor.readers)
        rig.children[0] = child
        rig.turns(30)
        self.say(rig)
        self.assertEqual(rig.counts(), [MOST_ON_THE_WAY + 30])
        self.assertTrue(rig.reactor.readers)
        self.assert_served(rig)

    def test_nobody(self) -> None:
        """Without a ready worker nothing is accepted and no timer runs; the first one gets all."""
        rig = self.rig()
        rig.connect(3)
        rig.turns(3)
        self.assertFalse(rig.reactor.readers)
        self.assertFalse(rig.reactor.getDelayedCalls())
        descriptor = rig.acceptor.add(5)
        self.assertFalse(rig.reactor.readers)
        self.assertRaises(ValueError, rig.acceptor.add, 5)
        rig.acceptor.remove(5)
        self.assertRaises(OSError, os.fstat, descriptor)
        rig.add(5)
        rig.turns()
        self.assertEqual(rig.counts(), [3])

    def test_dead(self) -> None:
        """What a dead worker has not received goes to the others."""
        rig = self.rig(2)
        rig.children[0].passed.stopReading()
        dead = rig.children.pop(0)
        rig.connect(8)
        rig.turns()
        self.assertEqual(rig.counts(), [4])
        dead.die()
        self.assertEqual(rig.acceptor.remove(0), 4)
        self.assertEqual(rig.acceptor.remove(0), 0)
        rig.turns()
        self.say(rig)
        self.assert_served(rig)
        self.assertEqual((rig.acceptor.passed, rig.acceptor.lost), (8, 0))

    def test_last_dead(self) -> None:
        """If it was the only one, its connections wait for the next worker."""
        rig = self.rig(1)
        rig.connect(3)
        rig.reactor.turn()
        rig.children.pop(0).die()
        self.assertEqual(rig.acceptor.remove(0), 3)
        rig.turns(3)
        self.assertFalse(rig.reactor.readers)
        rig.add(1)
        rig.turns()
        self.say(rig)
        self.assert_served(rig)

    def test_replaced(self) -> None:
        """A worker that is removed alive receives the end of its pair; nothing is lost."""
        rig = self.rig(1)
        rig.connect(2)
        rig.turns()
        rig.connect(2)
        rig.reactor.turn()
        rig.add(1)
        self.assertEqual(rig.acceptor.remove(0), 2)
        rig.turns()
        self.assertEqual(rig.counts(), [2, 2])
        self.assertEqual(rig.children[0].ended, 1)
        self.say(rig)
        self.assert_served(rig)

    def test_stopped_workers(self) -> None:
        """As workers stop, the others get what they have not received; the last one keeps it."""
        rig = self.rig(2)
        rig.connect(8)
        rig.reactor.turn()
        rig.acceptor.stop()
        rig.acceptor.release(0)
        rig.acceptor.release(1)
        rig.turns()
        self.assertEqual(rig.counts(), [0, 8])
        self.assertEqual([child.ended for child in rig.children.values()], [1, 1])
        self.say(rig)
        self.assert_served(rig)
        self.assertEqual((rig.acceptor.passed, rig.acceptor.lost), (8, 0))

    def test_stopped_while_full(self) -> None:
        """The last worker gets what waited for a place in its queue as well."""
        rig = self.rig(1)
        rig.connect(MOST_ON_THE_WAY + 1)
        rig.reactor.turn()
        rig.acceptor.stop()
        self.assertEqual(rig.acceptor.passed, MOST_ON_THE_WAY)
        rig.acceptor.release(0)
        rig.acceptor.release(0)
        rig.turns(2)
        self.assertEqual(rig.counts(), [MOST_ON_THE_WAY + 1])
        self.say(rig)
        self.assert_served(rig)

    def test_stopped_before_it_was_ready(self) -> None:
        """A worker that was never ready gets nothing."""
        rig = self.rig()
        child = rig.add(0)
        rig.acceptor.remove(0)
        rig.children[1] = starting = Child(rig, 1, rig.acceptor.add(1))
        rig.connect(2)
        rig.turns()
        rig.acceptor.release(1)
        rig.turns()
        self.assertEqual((starting.ended, rig.counts()), (1, [0, 0]))
        self.assertEqual(child.ended, 1)

    def test_slot_of_a_new_worker(self) -> None:
        """A new worker's numbers begin with 0, even in the slot of a dead one."""
        rig = self.rig(1)
        rig.connect(2)
        rig.turns()
        rig.children.pop(0).die()
        rig.acceptor.remove(0)
        rig.add(0)
        self.assertEqual(rig.board.slot(0).received, 0)
        rig.connect(1)
        rig.turns()
        self.assertEqual(rig.counts(), [1])

    def test_held(self) -> None:
        """A worker whose reactor is held gets nothing, and loses what waits for it."""
        rig = self.rig(2)
        for index in range(2):
            rig.board.slot(index).heartbeat = 1
        held = rig.children.pop(0)
        rig.connect(4)
        rig.turns()
        self.assertEqual(rig.counts(), [2])
        for _ in range(int(HELD_SECONDS) + 2):
            rig.reactor.advance(1)
            rig.board.slot(1).heartbeat = int(rig.reactor.seconds() * 1000)
        rig.turns()
        self.assertEqual(rig.counts(), [4])
        rig.connect(2)
        rig.turns()
        self.assertEqual(rig.counts(), [6])
        rig.children[0] = held
        rig.board.slot(0).heartbeat = int(rig.reactor.seconds() * 1000)
        rig.connect(2)
        rig.turns()
        self.assertEqual(rig.counts(), [6, 2])
        self.say(rig)
        self.assert_served(rig)
        rig.reactor.advance(5)
        self.assertFalse(rig.reactor.getDelayedCalls())

    def test_all_held(self) -> None:
        """If every worker is held, connections are shared out as usual: they may wake again."""
        rig = self.rig(2)
        for index in range(2):
            rig.board.slot(index).heartbeat = 1
        rig.reactor.advance(HELD_SECONDS + 1)
        rig.connect(4)
        rig.turns()
        self.assertEqual(rig.counts(), [2, 2])

    def test_without_descriptors(self) -> None:
        """A worker that has no descriptor left gets no connection."""
        rig = self.rig(2)
        rig.board.slot(0).exhausted = 1
        rig.connect(4)
        rig.turns()
        self.assertEqual(rig.counts(), [0, 4])
        rig.board.slot(1).exhausted = 1
        rig.connect(1)
        rig.turns(3)
        self.assertFalse(rig.reactor.readers)
        rig.board.slot(0).exhausted = 0
        rig.turns(2)
        self.assertEqual(rig.counts(), [1, 4])

    def test_accepted_in_turns(self) -> None:
        """A crowd is accepted a limited number at a time."""
        rig = self.rig(8)
        rig.connect(MOST_ACCEPTED + 1)
        rig.reactor.turn()
        self.assertEqual(rig.acceptor.passed, MOST_ACCEPTED)

    def test_failed_accepts(self) -> None:
        """Without a descriptor the acceptor pauses and warns; a client that left is passed over."""
        events: list[LogEvent] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        rig = self.rig(1)
        rig.connect(1)
        port = rig.acceptor._ports[0]
        failures = [OSError(errno.ECONNABORTED, ""), OSError(errno.EMFILE, "")]
        with mock.patch.object(port, "_socket", wraps=port._socket) as failing:
            failing.accept.side_effect = failures
            rig.reactor.turn()
        self.assertFalse(rig.reactor.readers)
        self.assertEqual([event["log_level"].name for event in events], ["warn"])
        rig.acceptor.ready(0)
        self.assertFalse(rig.reactor.readers)
        rig.reactor.advance(1)
        rig.turns()
        self.assertEqual(rig.counts(), [1])

    def test_broken_listener(self) -> None:
        """Any other failure ends the port: it would be repeated in a busy loop."""
        rig = self.rig(1)
        port = rig.acceptor._ports[0]
        with mock.patch.object(port, "_socket", wraps=port._socket) as failing:
            failing.accept.side_effect = OSError(errno.EBADF, "")
            self.assertRaises(OSError, port.doRead)

    def test_ipv6(self) -> None:
        """The address family travels with the connection."""
        try:
            rig = self.rig(1, "::1")
        except OSError as error:
            raise SkipTest("no IPv6 here") from error
        rig.connect(1)
        rig.turns()
        (connection,) = rig.children[0].factory.connections
        self.assertEqual(connection.family, socket.AF_INET6)
        self.assertEqual(connection.getpeername()[0], "::1")

    def test_stopped(self) -> None:
        """A stop closes the listening sockets, and what was accepted still arrives."""
        rig = self.rig(1)
        child = rig.children.pop(0)
        rig.connect(MOST_ON_THE_WAY + 1)
        rig.turns()
        rig.acceptor.stop()
        self.assertEqual(rig.listening.fileno(), -1)
        rig.children[0] = child
        rig.turns(3)
        served = rig.counts()[0]
        self.assertEqual(served, rig.acceptor.passed)
        self.assertGreater(served, 0)
        rig.acceptor.close()
        rig.turns()
        self.assertEqual(rig.children[0].ended, 1)

    def test_closed(self) -> None:
        """At the end a worker receives what is on its way; what waits for none is counted."""
        rig = self.rig(1)
        child = rig.children.pop(0)
        rig.connect(MOST_ON_THE_WAY + 9)
        rig.turns()
        passed = rig.acceptor.passed
        rig.acceptor.close()
        rig.acceptor.close()
        rig.children[0] = child
        rig.turns()
        self.assertEqual(rig.counts(), [passed])
        self.assertEqual(rig.acceptor.lost, 1)
        self.assertFalse(rig.reactor.readers or rig.reactor.getDelayedCalls())

    def test_pass_without_room_in_the_system(self) -> None:
        """If a worker's queue is full for the kernel, the next one gets the connection."""
        rig = self.rig(2)
        full = rig.acceptor._workers[0].near
        with mock.patch.object(
            acceptor_module, "send", lambda near, each: near is not full and send(near, each)
        ):
            rig.connect(3)
            rig.turns(30)
        self.assertEqual(rig.counts(), [0, 3])
