"""TLS that counts records: the same bytes as with Twisted's own, however they are cut."""

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
    """A record in the shape of TLS, with nothing in it."""
    return bytes([kind, 3, 3, size >> 8, size & 255]) + bytes(size)


class RecordsTests(SynchronousTestCase):
    """Where records end, seen through any reads."""

    @given(
        st.lists(st.tuples(st.sampled_from([21, 22, 23]), st.integers(0, 600)), max_size=8),
        places(4000),
    )
    def test_as_a_whole(self, records: list[tuple[int, int]], where: list[int]) -> None:
        """A read counts exactly if it is nothing but whole records of application data."""
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
    """Keeps what it hears."""

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
    """A client of ours and a server of Twisted's, joined in memory."""

    authority = trustme.CA()
    certificate = authority.issue_cert("upstream.test")

    def setUp(self) -> None:
        """Shake hands."""
        self.join(tls._Factory)

    def join(self, kind: type[TLSMemoryBIOFactory]) -> None:
        """Join a client that such a factory makes to a new server."""
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
        """A factory of this one protocol."""
        return Factory.forProtocol(lambda: protocol)

    def end(self, factory: TLSMemoryBIOFactory) -> Any:
        """One end of the connection."""
        protocol = factory.buildProtocol(None)
        assert protocol is not None
        protocol.makeConnection(StringTransport())
        return protocol

    def carry(self, where: list[int]) -> None:
        """Carry bytes to and fro until both are silent, to the client cut at these places."""
        while self.server.transport.value() or self.client.transport.value():
            for piece in cut(self.taken(self.server), where):
                if piece and not self.client.transport.disconnecting:
                    self.client.dataReceived(piece)
            if data := self.taken(self.client):
                self.server.dataReceived(data)

    def taken(self, end: Any) -> bytes:
        """What an end has written since the last time."""
        data = bytes(end.transport.value())
        end.transport.clear()
        return data

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(1, 40_000), min_size=1, max_size=5), places(60_000))
    def test_bytes(self, sizes: list[int], where: list[int]) -> None:
        """All that the server says arrives, in order, whatever records and reads it takes."""
        self.join(tls._Factory)
        said = b"".join(bytes([n]) * size for n, size in enumerate(sizes))
        for n, size in enumerate(sizes):
            self.server.write(bytes([n]) * size)
        self.carry(where)
        self.assertEqual(self.inside.heard, said)

    def test_straight(self) -> None:
        """Whole records go without an exception that says that there are no more."""
        with patch.object(TLS, "_flushReceiveBIO") as slow:
            for _ in range(3):
                self.server.write(b"event")
                self.server.write(b"s")
                self.carry([])
        slow.assert_not_called()
        self.assertEqual(self.inside.heard, b"events" * 3)

    def test_at_once(self) -> None:
        """What is written is on its way when ``write`` returns."""
        self.client.write(b"request")
        self.carry([])
        self.assertEqual(self.outside.heard, b"request")

    def test_end(self) -> None:
        """The server's good-bye, alone or behind data, is an end and not a loss."""
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
        """A record that was changed on its way ends the connection, and none of it is heard."""
        self.server.write(b"secret")
        wire = bytearray(self.taken(self.server))
        wire[-1] ^= 1
        self.client.dataReceived(bytes(wire))
        self.assertEqual(self.inside.heard, b"")
        self.assertTrue(self.client.transport.disconnecting)

    def test_gone_in_between(self) -> None:
        """Who leaves at one record does not hear the next."""
        self.inside.leaves_at = 1
        self.server.write(b"a")
        self.server.write(b"b")
        self.carry([])
        self.assertEqual(self.inside.heard, b"a")

    def test_another_twisted(self) -> None:
        """Where a name is missing, all goes Twisted's way."""
        with patch.object(tls, "_NEEDED", ("_missing",)):
            self.join(tls._Factory)
        with patch.object(TLS, "_read") as quick:
            self.server.write(b"slow")
            self.carry([])
        quick.assert_not_called()
        self.assertEqual(self.inside.heard, b"slow")
