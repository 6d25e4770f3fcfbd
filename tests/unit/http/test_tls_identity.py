"""Tests of the check of a certificate's name: what cannot be verified is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import trustme
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_PEM, X509, load_certificate
from service_identity import CertificateError, VerificationError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http import tls_identity
from autopilot.http.tls_identity import VerifiedClientOptions, verify_identity
from tests.unit.http.certificates import UNREADABLE, issued

AUTHORITY = trustme.CA()
_REFUSALS = (VerificationError, CertificateError, ValueError)


def parsed(certificate: trustme.LeafCert) -> X509:
    """Return the certificate as OpenSSL has it."""
    return load_certificate(FILETYPE_PEM, certificate.cert_chain_pems[0].bytes())


class IdentityTests(SynchronousTestCase):
    """Which certificates name a host."""

    def test_named(self) -> None:
        """A name, an address, and a wildcard for one label, in any case."""
        certificate = parsed(AUTHORITY.issue_cert("llm.test", "127.0.0.1", "::1", "*.api.test"))
        for host in ("llm.test", "LLM.test", "127.0.0.1", "::1", "a.api.test"):
            verify_identity(certificate, host)

    def test_other(self) -> None:
        """Other names, names below a wildcard's label, and an address as a name are refused."""
        certificate = parsed(AUTHORITY.issue_cert("llm.test", "*.api.test"))
        for host in ("evil.test", "a.llm.test", "a.b.api.test", "api.test", "127.0.0.1"):
            self.assertRaises(VerificationError, verify_identity, certificate, host)

    def test_unreadable(self) -> None:
        """A certificate from which no name can be read raises, too."""
        for names in UNREADABLE:
            with self.subTest(names=names):
                certificate = parsed(issued(AUTHORITY, names))
                self.assertRaises(_REFUSALS, verify_identity, certificate, "localhost")


class Client(Protocol):
    """Sends a secret as soon as it may, and remembers why the connection was lost."""

    reason: BaseException | None = None

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        assert self.transport is not None
        self.transport.write(b"secret")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self.reason = reason.value


class Server(Protocol):
    """Collects what arrives."""

    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self.received += data


def _same(protocol: Protocol) -> Protocol:
    return protocol


class HandshakeTests(SynchronousTestCase):
    """Handshakes in memory."""

    def shake_hands(self, certificate: trustme.LeafCert) -> tuple[Client, Server]:
        """Connect to a server with this certificate, under the name ``localhost``."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        certificate.configure_cert(context)
        serving = CertificateOptions()
        serving._context = context
        trust = trustRootFromCertificates([Certificate.loadPEM(AUTHORITY.cert_pem.bytes())])
        options = VerifiedClientOptions("localhost", trust)
        inner, outer = Client(), Server()
        ends: list[Any] = []
        clock = Clock()  # Twisted gathers small writes until the next turn
        sides: list[tuple[Any, bool, Protocol]] = [(options, True, inner), (serving, False, outer)]
        for each, is_client, protocol in sides:
            factory = Factory.forProtocol(partial(_same, protocol))
            made = TLSMemoryBIOFactory(each, is_client, factory, clock=clock).buildProtocol(None)
            assert made is not None
            made.makeConnection(StringTransport())
            ends.append(made)
        for _ in range(6):
            clock.advance(0)
            for sender, receiver in (ends, reversed(ends)):
                data = sender.transport.value()
                sender.transport.clear()
                if data and not receiver.transport.disconnecting:
                    receiver.dataReceived(data)
        for end in ends:
            if end.transport.disconnecting:
                end.connectionLost(Failure(connectionDone.value))
        return inner, outer

    def test_named(self) -> None:
        """A server whose certificate names the host receives what the client sends."""
        client, server = self.shake_hands(AUTHORITY.issue_cert("localhost"))
        self.assertEqual((client.reason, server.received), (None, b"secret"))

    def test_refused(self) -> None:
        """Any other server receives nothing, and the reason is the one of the check."""
        for certificate in (
            AUTHORITY.issue_cert("other.test"),
            *(issued(AUTHORITY, names) for names in UNREADABLE),
        ):
            client, server = self.shake_hands(certificate)
            self.assertEqual(server.received, b"")
            self.assertIsInstance(client.reason, VerificationError | CertificateError | SSL.Error)

    def test_fault(self) -> None:
        """Whatever the check raises is a refusal."""

        def fail(certificate: X509, host: str) -> None:
            raise KeyboardInterrupt

        self.patch(tls_identity, "verify_identity", fail)
        _, server = self.shake_hands(AUTHORITY.issue_cert("localhost"))
        self.assertEqual(server.received, b"")

    def test_impossible_host(self) -> None:
        """A host that cannot be a TLS server name is refused when the options are made."""
        self.assertRaises(ValueError, VerifiedClientOptions, "my_backend.internal", None)
