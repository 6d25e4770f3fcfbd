"""Tests of the record-counting TLS: it yields Twisted's bytes, however reads split them."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http import tls
from autopilot.http.tls import TLS, Records
from tests.unit.relay.chunks import cut, places


def record(kind: int, size: int) -> bytes:
    """Return a record in TLS framing, with an arbitrary fragment."""
    return bytes([kind, 3, 3, size >> 8, size & 255]) + bytes(size)


class RecordsTests(SynchronousTestCase):
    """The framing of records, across any reads."""

    @given(
        st.lists(st.tuples(st.sampled_from([21, 22, 23]), st.integers(0, 600)), max_size=8),
        places(4000),
    )
    def test_as_a_whole(self, records: list[tuple[int, int]], where: list[int]) -> None:
        """A read counts exactly if it consists of whole application-data records."""
        ends, at = {0: -1}, 0
        wire = b""
        for place, (kind, size) in enumerate(records):
            wire += record(kind, size)
            ends[len(wire)] = place
        followed = Records()
        for piece in cut(wire, where):
            inside = [n for end, n in ends.items() if at < end <= at + len(piece)]
            exact = at in ends and at + len(piece) in ends
            plain = exact and all(records[n][0] == 23 for n in inside)
            self.assertEqual(followed.whole(piece), len(inside) if plain else 0)
            at += len(piece)


class Hearing(Protocol):
    """A protocol that stores what it receives."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost = False
        self.leaves_at = 1 << 30

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self.heard += data
        if len(self.heard) >= self.leaves_at:
            transport: Any = self.transport
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self.lost = True


class TLSTests(SynchronousTestCase):
    """The router's client and Twisted's server, connected in memory."""

    authority = trustme.CA()
    certificate = authority.issue_cert("upstream.test")

    def setUp(self) -> None:
        """Complete the handshake."""
        self.join(tls._Factory)

    def join(self, kind: type[TLSMemoryBIOFactory]) -> None:
        """Connect a client made by this factory to a new server."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.certificate.configure_cert(context)
        serving = CertificateOptions()
        serving._context = context
        authority = Certificate.loadPEM(self.authority.cert_pem.bytes())
        options = optionsForClientTLS(
            "upstream.test", trustRoot=trustRootFromCertificates([authority])
        )
        self.inside, self.outside = Hearing(), Hearing()
        self.client = self.end(kind(options, True, self.factory(self.inside), clock=Clock()))
        server = TLSMemoryBIOFactory(serving, False, self.factory(self.outside), clock=Clock())
        server.protocol = TLSMemoryBIOProtocol
        self.server = self.end(server)
        self.carry([])

    def factory(self, protocol: Protocol) -> Factory:
        """Return a factory of one protocol."""
        return Factory.forProtocol(lambda: protocol)

    def end(self, factory: TLSMemoryBIOFactory) -> Any:
        """Return one end of the connection."""
        protocol = factory.buildProtocol(None)
        assert protocol is not None
        protocol.makeConnection(StringTransport())
        return protocol

    def carry(self, where: list[int]) -> None:
        """Transfer bytes until both ends are silent, to the client split at these places."""
        while self.server.transport.value() or self.client.transport.value():
            for piece in cut(self.taken(self.server), where):
                if piece and not self.client.transport.disconnecting:
                    self.client.dataReceived(piece)
            if data := self.taken(self.client):
                self.server.dataReceived(data)

    def taken(self, end: Any) -> bytes:
        """Return what an end has written since the last call."""
        data = bytes(end.transport.value())
        end.transport.clear()
        return data

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(1, 40_000), min_size=1, max_size=5), places(60_000))
    def test_bytes(self, sizes: list[int], where: list[int]) -> None:
        """All bytes of the server arrive in order, whatever the records and reads."""
        self.join(tls._Factory)
        said = b"".join(bytes([n]) * size for n, size in enumerate(sizes))
        for n, size in enumerate(sizes):
            self.server.write(bytes([n]) * size)
        self.carry(where)
        self.assertEqual(self.inside.heard, said)

    def test_straight(self) -> None:
        """Whole records pass without OpenSSL's exception for "no more data"."""
        with patch.object(TLS, "_flushReceiveBIO") as slow:
            for _ in range(3):
                self.server.write(b"event")
                self.server.write(b"s")
                self.carry([])
        slow.assert_not_called()
        self.assertEqual(self.inside.heard, b"events" * 3)

    def test_at_once(self) -> None:
        """Written bytes are on their way when ``write`` returns."""
        self.client.write(b"request")
        self.carry([])
        self.assertEqual(self.outside.heard, b"request")

    def test_end(self) -> None:
        """The server's close_notify, alone or after data, is a clean end."""
        for data in (b"", b"last"):
            self.join(tls._Factory)
            if data:
                self.server.write(data)
            self.server.loseConnection()
            self.carry([])
            self.assertEqual(self.inside.heard, data)
            self.assertTrue(self.client.transport.disconnecting)
            self.client.connectionLost(Failure(ConnectionDone()))
            self.assertTrue(self.inside.lost)

    def test_tampered(self) -> None:
        """A modified record ends the connection and is not delivered."""
        self.server.write(b"secret")
        wire = bytearray(self.taken(self.server))
        wire[-1] ^= 1
        self.client.dataReceived(bytes(wire))
        self.assertEqual(self.inside.heard, b"")
        self.assertTrue(self.client.transport.disconnecting)

    def test_gone_in_between(self) -> None:
        """A protocol that closes at one record does not receive the next."""
        self.inside.leaves_at = 1
        self.server.write(b"a")
        self.server.write(b"b")
        self.carry([])
        self.assertEqual(self.inside.heard, b"a")

    def test_another_twisted(self) -> None:
        """If an attribute is missing, Twisted's own way is taken."""
        with patch.object(tls, "_NEEDED", ("_missing",)):
            self.join(tls._Factory)
        with patch.object(TLS, "_read") as quick:
            self.server.write(b"slow")
            self.carry([])
        quick.assert_not_called()
        self.assertEqual(self.inside.heard, b"slow")
