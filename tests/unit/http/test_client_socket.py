"""Tests of what the kernel knows of a client, over real sockets."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any
from unittest.mock import patch

from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.client_socket import buffered_bytes, has_hung_up, unsent_bytes
from tests.unit.http.test_immediate_write import Poll

_MIB = 1 << 20


class Wrapper:
    """A protocol between the channel and the socket, such as TLS."""

    def __init__(self, transport: Any, *held: bytes) -> None:
        self.transport = transport
        self._appSendBuffer = list(held)


class UnsentTests(SynchronousTestCase):
    """A transport whose peer reads as the test decides."""

    if sys.platform != "linux":
        skip = "only Linux tells"

    def setUp(self) -> None:
        """Connect two TCP sockets, the reader's with a small buffer."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.theirs = socket.socket()
            self.addCleanup(self.theirs.close)
            self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.theirs.settimeout(10)
            self.theirs.connect(listening.getsockname())
            ours, _ = listening.accept()
        self.addCleanup(ours.close)
        ours.setblocking(False)
        self.poll = Poll()
        self.transport: Any = Connection(ours, Protocol(), self.poll)  # type: ignore[arg-type]
        self.transport.connected = 1

    def writes(self, size: int) -> None:
        """Write until the socket takes no more; the rest stays in the transport."""
        transport = self.transport
        transport.write(b"x" * size)
        place = -1
        while self.poll.writers and place != transport.offset:
            place = transport.offset
            transport.doWrite()

    def reads(self, size: int) -> None:
        """Let the peer read so many bytes."""
        while size:
            size -= len(self.theirs.recv(size))

    def test_everything_counts(self) -> None:
        """What the kernel and what the transport holds is counted, whatever the peer's buffer."""
        self.writes(8 * _MIB)
        self.assertTrue(self.poll.writers, "everything fitted into the sockets")
        held = unsent_bytes(self.transport)
        assert held is not None
        self.assertTrue(4 * _MIB < held <= 8 * _MIB, held)

    def test_falls_as_the_client_reads(self) -> None:
        """Each look after the peer has read shows fewer, although the socket reports no room."""
        self.writes(8 * _MIB)
        before = unsent_bytes(self.transport)
        assert before is not None
        self.assertEqual(unsent_bytes(self.transport), before)
        for _ in range(3):
            self.reads(64 * 1024)
            after = unsent_bytes(self.transport)
            assert after is not None
            self.assertLess(after, before)
            before = after

    def test_behind_a_wrapper(self) -> None:
        """The socket below TLS is asked, and what TLS holds is added."""
        self.writes(8 * _MIB)
        bare = unsent_bytes(self.transport)
        assert bare is not None
        self.assertEqual(unsent_bytes(Wrapper(self.transport, b"12", b"345")), bare + 5)

    def test_of_this_process(self) -> None:
        """What the kernel has taken is not held by the process, and what TLS holds is."""
        self.transport.write(b"x" * 100)
        self.assertEqual(buffered_bytes(self.transport), 100)
        self.assertEqual(buffered_bytes(Wrapper(Wrapper(self.transport, b"12"), b"345")), 105)
        self.transport.doWrite()
        self.assertEqual(buffered_bytes(self.transport), 0)
        for transport in (None, object(), StringTransport(), Wrapper(None), Wrapper(1, b"x")):
            self.assertIsNone(buffered_bytes(transport))

    def test_unknown(self) -> None:
        """A transport without a socket, a closed one and another system do not say."""
        for transport in (None, object(), StringTransport(), Wrapper(None), Wrapper(1, b"x")):
            self.assertIsNone(unsent_bytes(transport))
        with patch("sys.platform", "win32"):
            self.assertIsNone(unsent_bytes(self.transport))
        self.transport.socket.close()
        self.assertIsNone(unsent_bytes(self.transport))

    def test_hung_up(self) -> None:
        """The end of a connection is seen behind bytes that have not been read."""
        self.theirs.sendall(b"unread")
        self.assertFalse(has_hung_up(self.transport))
        self.theirs.shutdown(socket.SHUT_WR)
        self.assertTrue(has_hung_up(self.transport))

    def test_reset(self) -> None:
        """So is a reset."""
        self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.theirs.close()
        self.assertTrue(has_hung_up(self.transport))

    def test_no_socket(self) -> None:
        """Of a transport in memory nothing is known."""
        self.assertFalse(has_hung_up(StringTransport()))
