"""Tests of immediate writes: bytes keep their order, and errors are left to Twisted."""

from __future__ import annotations

import socket
from typing import Any
from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.immediate_write import disable, enable


class Poll:
    """The part of a reactor that a transport uses to wait for writability."""

    def __init__(self) -> None:
        self.writers: set[object] = set()
        self.changes = 0

    def addWriter(self, writer: object) -> None:  # noqa: N802
        """See `IReactorFDSet`."""
        self.changes += 1
        self.writers.add(writer)

    def removeWriter(self, writer: object) -> None:  # noqa: N802
        """See `IReactorFDSet`."""
        self.writers.discard(writer)

    def removeReader(self, reader: object) -> None:  # noqa: N802
        """See `IReactorFDSet`."""


class Choosy:
    """A socket that accepts a given number of bytes at a time, or fails."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes
        self.got = b""
        self.calls = 0
        self.broken = False

    def send(self, data: Any) -> int:
        """Accept as many bytes as the next size permits; None means that the socket is full."""
        self.calls += 1
        if self.broken:
            raise BrokenPipeError(32, "broken")
        size = self.sizes.pop(0) if self.sizes else len(data)
        if not size:
            raise BlockingIOError(11, "full")
        self.got += bytes(data[:size])
        return min(size, len(data))


class SendingTests(SynchronousTestCase):
    """A transport with immediate writes."""

    def setUp(self) -> None:
        """Connect a transport to one end of a socket pair."""
        self.poll = Poll()
        ours, self.theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(self.theirs.close)
        self.transport: Any = Connection(ours, Protocol(), self.poll)  # type: ignore[arg-type]
        self.transport.connected = 1
        self.assertTrue(enable(self.transport))

    def choosy(self, *sizes: int) -> Choosy:
        """Install a socket that accepts these sizes."""
        self.transport.socket = sock = Choosy(list(sizes))
        return sock

    def turn(self) -> Any:
        """Let the reactor report the socket as writable until everything is sent."""
        said = None
        while self.poll.writers and said is None:
            said = self.transport.doWrite()
        return said

    def test_at_once(self) -> None:
        """What fits has reached the peer when ``write`` returns, without touching the poll set."""
        self.transport.write(b"now")
        self.assertEqual(self.theirs.recv(10), b"now")
        self.assertEqual(self.poll.changes, 0)

    def test_nothing(self) -> None:
        """Writing nothing sends nothing."""
        sock = self.choosy()
        self.transport.write(b"")
        self.assertEqual((sock.calls, self.poll.changes), (0, 0))

    def test_only_bytes(self) -> None:
        """Text is rejected as usual."""
        with self.assertRaises(TypeError):
            self.transport.write("text")

    @given(
        st.lists(st.binary(max_size=20), max_size=12),
        st.lists(st.integers(0, 25), max_size=30),
        st.sets(st.integers(0, 12)),
    )
    def test_order(self, pieces: list[bytes], sizes: list[int], turns: set[int]) -> None:
        """All bytes leave in order, each once, whatever the socket accepts and when."""
        sock = self.choosy(*sizes)
        for place, piece in enumerate(pieces):
            self.transport.write(piece)
            if place in turns and self.poll.writers:
                self.transport.doWrite()
        self.assertIsNone(self.turn())
        self.assertEqual(sock.got, b"".join(pieces))

    def test_producer_is_paused(self) -> None:
        """A producer is paused when the transport's buffer is full, and resumed later."""
        said: list[str] = []

        class Producer:
            def pauseProducing(self) -> None:
                said.append("pause")

            def resumeProducing(self) -> None:
                said.append("resume")

        self.transport.registerProducer(Producer(), True)
        sock = self.choosy(10, 0)
        self.transport.write(b"x" * 100_000)
        self.assertEqual(said, ["pause"])
        self.turn()
        self.assertEqual((said, len(sock.got)), (["pause", "resume"], 100_000))

    def test_broken(self) -> None:
        """A socket error is left to the transport, which closes as usual."""
        sock = self.choosy()
        sock.broken = True
        self.transport.write(b"x")
        self.assertIsInstance(self.turn(), Exception)

    def test_after_the_end(self) -> None:
        """Nothing is written after the connection is lost."""
        sock = self.choosy()
        self.transport.connected = 0
        self.transport.write(b"x")
        self.assertEqual((sock.calls, self.poll.changes), (0, 0))

    def test_reading(self) -> None:
        """The protocol receives the bytes of each read; Twisted the end, or the error."""
        received: list[bytes] = []
        self.transport.protocol.dataReceived = received.append
        self.transport.bufferSize = 3
        self.theirs.sendall(b"now")
        self.assertIsNone(self.transport.doRead())
        self.assertIsNone(self.transport.doRead())  # a report of the reactor without bytes
        self.assertEqual(received, [b"now"])
        self.theirs.close()
        self.assertIs(self.transport.doRead(), CONNECTION_DONE)
        self.transport.socket = Mock(recv=Mock(side_effect=ConnectionResetError(104, "reset")))
        self.assertIs(self.transport.doRead(), CONNECTION_LOST)
        self.assertEqual(received, [b"now"])

    def test_relax(self) -> None:
        """When a connection ends, it holds no reference to itself."""
        disable(self.transport)
        self.assertNotIn("write", vars(self.transport))
        self.assertNotIn("doRead", vars(self.transport))
        disable(self.transport)
        disable(None)

    def test_other_transports(self) -> None:
        """Other transports, TLS ones included, write as before."""
        plain: Any = StringTransport()
        self.assertFalse(enable(plain))
        plain.write(b"x")
        self.assertEqual(plain.value(), b"x")
        for name, value in (("TLS", True), ("_tempDataLen", None)):
            other: Any = Connection(self.theirs, Protocol(), self.poll)  # type: ignore[arg-type]
            if value is None:
                delattr(other, name)
            else:
                setattr(other, name, value)
            self.assertFalse(enable(other))
            self.assertNotIn("write", vars(other))
