"""Feeds that send more than anybody wants: memory stays bounded."""

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
    """Both feeds at once, each of which may be of 16 MiB."""

    room = 80 * _MIB

    def setUp(self) -> None:
        """Start, with time for a flood."""
        self.feed(CONTROL_PLANE_TIMEOUT_MS="1500", UPSTREAM_POOL_IDLE_MS="0")
        self.pid = self.router.process.pid
        self.at_rest = settled(self.pid)
        self.memory = resident(self.pid)

    def assert_bounded(self) -> None:
        """Neither memory nor a descriptor went to it."""
        self.assertLess(peak(self.pid) - self.memory, self.room)
        self.assertTrue(released(self.pid, self.at_rest))
        self.assert_quiet()

    def test_declared(self) -> None:
        """Of what is declared too long nothing is read."""
        flood = _endless(head(200, _JSON, b"Content-Length: 16777217"), b"x" * 65536)
        self.assert_survives(flood, "too_large")
        self.assert_bounded()

    def test_endless_body(self) -> None:
        """What turns out too long is dropped there."""
        for _ in range(2):
            self.assert_survives(_endless(head(200, _JSON), chunk(b" " * 65536)), "too_large")
        self.assert_bounded()

    def test_endless_head(self) -> None:
        """A head without end is not kept either."""
        line = b"X-Filler: " + b"x" * 1000 + b"\r\n"
        self.assert_survives(_endless(b"HTTP/1.1 200 OK\r\n", line * 60), "network")
        self.assert_bounded()

    def test_endless_interim(self) -> None:
        """Interim responses without end are not kept, and end at the deadline."""
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
        self.assert_survives(_endless(b"", interim * 100), "timeout")
        self.assert_bounded()
