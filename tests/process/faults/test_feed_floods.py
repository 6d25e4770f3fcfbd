"""Feeds of excessive size: memory stays bounded."""

from __future__ import annotations

import socket

from tests.process.faults.feeds import Fault, FeedTestCase
from tests.process.faults.vitals import peak, released, resident, settled
from tests.unit.relay.upstreams import chunk, head

_MIB = 1 << 20
_JSON = b"application/json"


def _endless(beginning: bytes, more: bytes) -> Fault:
    def script(connection: socket.socket) -> None:
        connection.sendall(beginning)
        while True:  # until the router closes
            connection.sendall(more)

    return lambda _: script


class FloodTests(FeedTestCase):
    """Both feeds at once, with a limit of 16 MiB each."""

    room = 80 * _MIB

    def setUp(self) -> None:
        """Start, with enough time for the excessive response."""
        self.feed(CONTROL_PLANE_TIMEOUT_MS="1500", UPSTREAM_POOL_IDLE_MS="0")
        self.pid = self.router.process.pid
        self.at_rest = settled(self.pid)
        self.memory = resident(self.pid)

    def assert_bounded(self) -> None:
        """Check that memory and descriptors stay constant."""
        self.assertLess(peak(self.pid) - self.memory, self.room)
        self.assertTrue(released(self.pid, self.at_rest))
        self.assert_quiet()

    def test_declared(self) -> None:
        """If Content-Length exceeds the limit, the body is not read."""
        flood = _endless(head(200, _JSON, b"Content-Length: 16777217"), b"x" * 65536)
        self.assert_survives(flood)
        self.assert_counted("too_large", 1)
        self.assert_bounded()

    def test_endless_body(self) -> None:
        """A body is dropped when it exceeds the limit."""
        for _ in range(2):
            self.assert_survives(_endless(head(200, _JSON), chunk(b" " * 65536)))
        self.assert_counted("too_large", 2)
        self.assert_bounded()

    def test_endless_head(self) -> None:
        """A head without an end is not buffered either."""
        line = b"X-Filler: " + b"x" * 1000 + b"\r\n"
        self.assert_survives(_endless(b"HTTP/1.1 200 OK\r\n", line * 60))
        self.assert_counted("network", 1)
        self.assert_bounded()

    def test_endless_interim(self) -> None:
        """Interim responses without an end are not buffered, and end at the deadline."""
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
        self.assert_survives(_endless(b"", interim * 100))
        self.assert_counted("timeout", 1)
        self.assert_bounded()
