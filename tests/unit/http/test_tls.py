"""Tests of the record-counting TLS: it yields Twisted's bytes, however reads split them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
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
from zope.interface import implementer

from autopilot.http import tls
from autopilot.http.tls import TLS, Records
from tests.unit.relay.chunks import cut, places

LIBRARY: Any = vars(SSL)["_lib"]


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
        self.add(data)
        if len(self.heard) >= self.leaves_at:
            transport: Any = self.transport
            transport.abortConnection()

    def add(self, data: bytes) -> None:
        """Store bytes."""
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self.lost = True


class Greeting(Hearing):
    """Writes as soon as it is connected, which is before the handshake."""

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        assert self.transport is not None
        self.transport.write(b"hello")


@implementer(IStreamClientEndpoint)
class Plain:
    """An endpoint that stores the factories of its connections."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        self.asked.append(protocolFactory)
        return Deferred()


class Calls:
    """OpenSSL's functions, counted, with others in place of some."""

    def __init__(self, **others: Callable[..., int]) -> None:
        self.made: Counter[str] = Counter()
        self._others = others

    def __getattr__(self, name: str) -> Any:
        """Return the function of this name."""
        self.made[name] += 1
        return self._others.get(name) or getattr(LIBRARY, name)


class TLSTests(SynchronousTestCase):
    """The router's client and Twisted's server, connected in memory."""

    authority = trustme.CA()
    certificate = authority.issue_cert("upstream.test")

    def setUp(self) -> None:
        """Complete the handshake."""
        self.join()

    def join(self, inside: Hearing | None = None, newest: int = SSL.TLS1_3_VERSION) -> None:
        """Connect a client, of this protocol, to a new server, up to this version of TLS."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_max_proto_version(newest)
        self.certificate.configure_cert(context)
        serving = CertificateOptions()
        serving._context = context
        authority = Certificate.loadPEM(self.authority.cert_pem.bytes())
        options = optionsForClientTLS(
            "upstream.test", trustRoot=trustRootFromCertificates([authority])
        )
        self.inside, self.outside = inside or Hearing(), Hearing()
        self.plain = Plain()
        self.endpoint = tls.TLSEndpoint(options, self.plain, Clock())
        self.endpoint.connect(self.factory(self.inside))
        self.client = self.end(self.plain.asked.pop())
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
        self.join()
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
            self.join()
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
        """If an undocumented name is missing, of whichever library, Twisted's own way is taken."""
        for name, value in (
            ("_NEEDED", ("_missing",)),
            ("_CONNECTION", ("_missing",)),
            ("_FUNCTIONS", ("SSL_missing",)),
            ("_lib", None),
            ("_ffi", None),
        ):
            with patch.object(tls, name, value):
                self.join()
            with patch.object(tls, "_lib", Calls()) as quick:
                self.server.write(b"slow")
                self.client.write(b"request")
                self.carry([])
            self.assertEqual(quick.made, {}, name)
            self.assertEqual(self.outside.heard, b"request", name)
            self.assertEqual(self.inside.heard, b"slow", name)

    def test_calls(self) -> None:
        """A record takes two calls of OpenSSL each way, and none asks for an error."""
        with patch.object(tls, "_lib", Calls()) as quick:
            self.server.write(b"event")
            self.client.write(b"request")
            self.carry([])
        each = {"BIO_write": 1, "SSL_read": 1, "SSL_write": 1, "BIO_read": 1}
        self.assertEqual(quick.made, each)
        self.assertEqual((self.inside.heard, self.outside.heard), (b"event", b"request"))

    def test_refused(self) -> None:
        """What OpenSSL refuses is repeated in Twisted's way, and nothing is lost or doubled."""
        for name in ("BIO_write", "SSL_read", "SSL_write"):
            self.join()
            refused = Calls(**{name: lambda *_: -1})
            with patch.object(tls, "_lib", refused):
                for _ in range(3):
                    self.server.write(b"event")
                    self.client.write(b"request")
                    self.carry([])
            self.assertEqual(refused.made[name], 3)
            self.assertEqual(self.inside.heard, b"event" * 3, name)
            self.assertEqual(self.outside.heard, b"request" * 3, name)

    def test_part_written(self) -> None:
        """If OpenSSL takes a part of a write, the rest follows it, once and in order."""

        def part(connection: Any, data: bytes, size: int) -> int:
            return int(LIBRARY.SSL_write(connection, data, min(size, 3)))

        with patch.object(tls, "_lib", Calls(SSL_write=part)):
            self.client.write(b"request")
            self.client.write(b"s")
        self.carry([])
        self.assertEqual(self.outside.heard, b"requests")

    def test_sizes_of_writes(self) -> None:
        """Writes of any size arrive whole, in order; what needs two records is Twisted's."""
        said = b""
        for size, direct in ((0, 0), (1, 1), (2**14, 1), (2**14 + 1, 0), (100_000, 0)):
            data = bytes([65 + size % 26]) * size
            said += data
            with patch.object(tls, "_lib", Calls()) as quick:
                self.client.write(data)
            self.assertEqual(quick.made["SSL_write"], direct, size)
        self.carry([])
        self.assertEqual(self.outside.heard, said)

    def test_before_the_handshake(self) -> None:
        """What is written on connecting waits for the handshake, before later writes."""
        self.join(Greeting())
        self.client.write(b" again")
        self.carry([])
        self.assertEqual(self.outside.heard, b"hello again")

    def test_renegotiated(self) -> None:
        """While a server of TLS 1.2 renegotiates, bytes of both sides arrive in order."""
        self.join(newest=SSL.TLS1_2_VERSION)
        handle = self.server.getHandle()
        for n in b"123":
            handle.renegotiate()
            self.server._checkHandshakeStatus()
            self.server._flushSendBIO()
            self.client.write(b"before%c " % n)
            self.client.dataReceived(self.taken(self.server))
            self.client.write(b"amid%c " % n)
            self.carry([])
            self.client.write(b"after%c " % n)
            self.server.write(b"event%c " % n)
            self.carry([])
        self.assertEqual(handle.total_renegotiations(), 3)
        wanted = b"".join(b"before%c amid%c after%c " % (n, n, n) for n in b"123")
        self.assertEqual(self.outside.heard, wanted)
        self.assertEqual(self.inside.heard, b"event1 event2 event3 ")

    def test_no_more_writes(self) -> None:
        """After a close, an abort or a loss nothing is written."""

        def lost() -> None:
            self.client.connectionLost(Failure(ConnectionDone()))

        for how in ("loseConnection", "abortConnection", ""):
            self.join()
            (getattr(self.client, how) if how else lost)()
            self.taken(self.client)
            self.client.write(b"late")
            self.assertEqual(self.taken(self.client), b"", how)

    def test_no_error_stays(self) -> None:
        """A failed connection leaves no error in OpenSSL's queue, where others would meet it."""
        failed = self.client
        self.test_tampered()
        self.assertEqual(LIBRARY.ERR_peek_error(), 0)
        failed.write(b"late")
        self.assertEqual(LIBRARY.ERR_peek_error(), 0)
        self.test_end()
        self.assertEqual(LIBRARY.ERR_peek_error(), 0)
        self.join()
        self.client.getHandle().shutdown()
        self.client.write(b"after close_notify")
        self.assertTrue(self.client.transport.disconnecting)
        self.assertEqual(LIBRARY.ERR_peek_error(), 0)

    def test_one_buffer(self) -> None:
        """Connections of an endpoint share its buffer, even if one writes while another reads."""
        first, told, server = self.client, self.inside, self.server
        self.endpoint.connect(self.factory(Hearing()))
        self.assertIs(self.plain.asked.pop().buffer, first.factory.buffer)
        self.join()
        second = self.client
        second._buffer = first._buffer

        def told_and_sent(data: bytes) -> None:
            second.write(data)
            told.add(data)

        with patch.object(told, "dataReceived", told_and_sent):
            for data in (b"a long event", b"short"):
                server.write(data)
            first.dataReceived(self.taken(server))
        self.carry([])
        self.assertEqual(told.heard, b"a long eventshort")
        self.assertEqual(self.outside.heard, b"a long eventshort")
