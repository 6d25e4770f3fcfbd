"""The limit on the head of a feed's answer."""

from __future__ import annotations

from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.head_limit import MAX_HEAD_BYTES, limit_head

_START = b"HTTP/1.1 200 OK\r\n"
_INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"


class _Protocol:
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.got = b""
        self.transport = Mock()

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self.got += data


class HeadLimitTests(SynchronousTestCase):
    """What a protocol gets of a head, and when its connection ends."""

    def setUp(self) -> None:
        """Watch one."""
        self.protocol = _Protocol()
        self.assertIs(limit_head(self.protocol), self.protocol)

    def receives(self, data: bytes, piece: int) -> None:
        """Data arrives, until the connection ends."""
        for start in range(0, len(data), piece):
            if not self.ended:
                self.protocol.dataReceived(data[start : start + piece])

    @property
    def ended(self) -> bool:
        """Whether the connection was broken off."""
        return bool(self.protocol.transport.abortConnection.called)

    def test_within(self) -> None:
        """All that belongs to it passes, and then as much body as there is."""
        body = b"\n" * 10 + b"x" * 5 * MAX_HEAD_BYTES
        for piece in (100, 1 << 20):
            self.setUp()
            wire = _START + b"X: " + b"x" * (MAX_HEAD_BYTES - 60) + b"\r\n\r\n"
            self.receives(wire, piece)
            self.receives(body, 65536)
            self.assertFalse(self.ended)
            self.assertEqual(self.protocol.got, wire + body)

    def test_beyond(self) -> None:
        """A longer one ends the connection, whatever came before it."""
        for before in (b"", _INTERIM, _INTERIM * 3):
            self.setUp()
            self.receives(before + _START + b"X: y\r\n" * MAX_HEAD_BYTES, 1000)
            self.assertTrue(self.ended)
            self.assertLessEqual(len(self.protocol.got), len(before) + MAX_HEAD_BYTES)

    def test_interim(self) -> None:
        """Interim responses are counted one by one."""
        wire = _INTERIM * 5000 + _START + b"Content-Length: 2\n\n{}"
        self.receives(wire, 777)
        self.assertFalse(self.ended)
        self.assertEqual(self.protocol.got, wire)
