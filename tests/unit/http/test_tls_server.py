"""Tests of the server side of TLS: versions, ALPN, the replacement of its certificate."""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch

import trustme
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.tls import TLS
from autopilot.http.tls_server import CertificateError, ServerCertificate, TLSServerFactory


class Echo(Protocol):
    """Returns what it receives."""

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        self.heard = b""
        self.lost = False
        self.factory.made.append(self)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self.heard += data
        assert self.transport is not None
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self.lost = True


class Client:
    """The standard library's client, connected to a server in memory."""

    def __init__(
        self,
        factory: TLSServerFactory,
        context: ssl.SSLContext,
        wire: StringTransport | None = None,
    ) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="router.test")
        self.server: Any = factory.buildProtocol(None)
        self.wire = StringTransport() if wire is None else wire
        self.server.makeConnection(self.wire)

    def pump(self) -> None:
        """Deliver what both sides have sent."""
        self.incoming.write(self.wire.value())
        self.wire.clear()
        if sent := self.outgoing.read():
            self.server.dataReceived(sent)
        self.incoming.write(self.wire.value())
        self.wire.clear()

    def shake_hands(self) -> None:
        """Complete the handshake."""
        for _ in range(5):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.pump()
            else:
                self.pump()
                return
        raise AssertionError("no handshake")

    def says(self, data: bytes) -> bytes:
        """Send data, and return the response."""
        self.tls.write(data)
        self.pump()
        return self.tls.read(1 << 16)


class ServerTests(SynchronousTestCase):
    """A server with a certificate of an authority that the client trusts."""

    def setUp(self) -> None:
        """Make the server."""
        self.authority = trustme.CA()
        folder = Path(self.mktemp())
        folder.mkdir()
        self.cert_file, self.key_file = folder / "cert.pem", folder / "key.pem"
        self.write(self.authority.issue_cert("router.test"))
        self.certificate = ServerCertificate(str(self.cert_file), str(self.key_file))
        echo: Any = Factory.forProtocol(Echo)
        self.made: list[Any] = []
        echo.made = self.made
        self.factory = TLSServerFactory(self.certificate, echo, Clock())

    def write(self, leaf: trustme.LeafCert) -> None:
        """Replace the files."""
        self.cert_file.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
        self.key_file.write_bytes(leaf.private_key_pem.bytes())

    def context(self) -> ssl.SSLContext:
        """Return a client's context."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def client(self, context: ssl.SSLContext | None = None) -> Client:
        """Connect."""
        return Client(self.factory, context or self.context())

    def serial(self, client: Client) -> str:
        """Return the serial number of the server's certificate."""
        found: Any = client.tls.getpeercert()
        return str(found["serialNumber"])

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are spoken, with forward secrecy; nothing older is."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context()
            context.minimum_version = context.maximum_version = version
            client = self.client(context)
            client.shake_hands()
            self.assertEqual(client.says(b"hello"), b"hello")
            cipher: Any = client.tls.cipher()
            self.assertRegex(cipher[0], r"\A(TLS_AES|TLS_CHACHA20|ECDHE-)")
        old = self.context()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python deprecates it as well
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        self.assertRaises((ssl.SSLError, AssertionError), self.client(old).shake_hands)
        weak = self.context()
        weak.maximum_version = ssl.TLSVersion.TLSv1_2
        weak.set_ciphers("AES128-SHA")
        self.assertRaises((ssl.SSLError, AssertionError), self.client(weak).shake_hands)

    def test_protocols(self) -> None:
        """HTTP/1.1 is chosen by ALPN if it is offered; otherwise nothing is."""
        for offered, chosen in (
            (["h2", "http/1.1"], "http/1.1"),
            (["http/1.1"], "http/1.1"),
            (["h2"], None),
            ([], None),
        ):
            context = self.context()
            if offered:
                context.set_alpn_protocols(offered)
            client = self.client(context)
            client.shake_hands()
            self.assertEqual(client.tls.selected_alpn_protocol(), chosen, offered)
            self.assertEqual(client.says(b"hello"), b"hello")

    def test_at_once(self) -> None:
        """Each write is on its way at once, and not at the reactor's next turn."""
        client = self.client()
        client.shake_hands()
        for data in (b"a", b"b" * 100_000):
            self.made[0].transport.write(data)
            client.pump()
            got = b""
            while len(got) < len(data):
                got += client.tls.read(1 << 20)
            self.assertEqual(got, data)

    def test_straight(self) -> None:
        """Whole records are read and written without Twisted's exceptions for "no more data"."""
        client = self.client()
        client.shake_hands()
        with patch.object(TLS, "_flushReceiveBIO") as read, patch.object(TLS, "_write") as write:
            self.assertEqual(client.says(b"hello"), b"hello")
        read.assert_not_called()
        write.assert_not_called()

    def test_replaced(self) -> None:
        """After a load later connections get the new certificate; open ones stay as they are."""
        first = self.client()
        first.shake_hands()
        self.write(self.authority.issue_cert("router.test"))
        before = self.client()
        before.shake_hands()
        self.assertEqual(self.serial(before), self.serial(first))
        self.certificate.load()
        after = self.client()
        after.shake_hands()
        self.assertNotEqual(self.serial(after), self.serial(first))
        self.assertEqual(first.says(b"hello"), b"hello")

    def test_not_replaced(self) -> None:
        """A pair that cannot be used is an error, and the former stays in use."""
        first = self.client()
        first.shake_hands()
        good = self.cert_file.read_bytes()
        for cert, key in (
            (b"", self.key_file.read_bytes()),
            (good, b""),
            (good, self.authority.issue_cert("router.test").private_key_pem.bytes()),
            (None, self.key_file.read_bytes()),
        ):
            if cert is None:
                self.cert_file.unlink()
            else:
                self.cert_file.write_bytes(cert)
            self.key_file.write_bytes(key)
            error = self.assertRaises(CertificateError, self.certificate.load)
            self.assertNotIn("pem", str(error))
            client = self.client()
            client.shake_hands()
            self.assertEqual(self.serial(client), self.serial(first))
        self.assertRaises(
            CertificateError, ServerCertificate, str(self.cert_file), str(self.key_file)
        )

    def test_short_reads(self) -> None:
        """One read of the socket holds few records, for each costs time even if it is empty."""
        client = self.client()
        client.shake_hands()
        wire: Any = client.wire
        records = 0
        sent = b""
        while len(sent) < wire.bufferSize:
            client.tls.write(b"x")
            sent += client.outgoing.read()
            records += 1
        self.assertLess(records, 800)
        client.server.dataReceived(sent)
        self.assertEqual(len(self.made[0].heard), records)

    def test_plain_text(self) -> None:
        """A client that does not speak TLS reaches nothing, and is disconnected."""
        client = self.client()
        client.server.dataReceived(b"GET /healthz HTTP/1.1\r\nHost: router.test\r\n\r\n")
        self.assertTrue(client.wire.disconnecting)
        self.assertEqual(self.made[0].heard, b"")
