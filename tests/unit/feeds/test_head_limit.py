"""Tests of the size limit on response heads."""

from __future__ import annotations

from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.head_limit import MAX_HEAD_BYTES, limit_head

_START = b"HTTP/1.1 200 OK\r\n"
_INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"


class _Protocol:
    """A protocol that stores what it receives."""

    def __init__(self) -> None:
        self.got = b""
        self.transport = Mock()

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self.got += data


class HeadLimitTests(SynchronousTestCase):
    """The delivered bytes, and the end of the connection."""

    def setUp(self) -> None:
        """Limit a protocol's heads."""
        self.protocol = _Protocol()
        self.assertIs(limit_head(self.protocol), self.protocol)

    def receives(self, data: bytes, piece: int) -> None:
        """Deliver data until the connection ends."""
        for start in range(0, len(data), piece):
            if not self.ended:
                self.protocol.dataReceived(data[start : start + piece])

    @property
    def ended(self) -> bool:
        """Return whether the connection was aborted."""
        return bool(self.protocol.transport.abortConnection.called)

    def test_within(self) -> None:
        """A head within the limit passes, followed by a body of any size."""
        body = b"\n" * 10 + b"x" * 5 * MAX_HEAD_BYTES
        for piece in (100, 1 << 20):
            self.setUp()
            wire = _START + b"X: " + b"x" * (MAX_HEAD_BYTES - 60) + b"\r\n\r\n"
            self.receives(wire, piece)
            self.receives(body, 65536)
            self.assertFalse(self.ended)
            self.assertEqual(self.protocol.got, wire + body)

    def test_beyond(self) -> None:
        """A longer head aborts the connection, whatever preceded it."""
        for before in (b"", _INTERIM, _INTERIM * 3):
            self.setUp()
            self.receives(before + _START + b"X: y\r\n" * MAX_HEAD_BYTES, 1000)
            self.assertTrue(self.ended)
            self.assertLessEqual(len(self.protocol.got), len(before) + MAX_HEAD_BYTES)

    def test_interim(self) -> None:
        """Each interim response has the limit for itself."""
        wire = _INTERIM * 5000 + _START + b"Content-Length: 2\n\n{}"
        self.receives(wire, 777)
        self.assertFalse(self.ended)
        self.assertEqual(self.protocol.got, wire)
