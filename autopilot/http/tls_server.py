"""The server side of TLS for clients, whose certificate can be replaced while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from autopilot.http import immediate_write
from autopilot.http.tls import TLS, new_buffer

_HTTP = b"http/1.1"
# Forward secrecy and authenticated encryption for TLS 1.2; those of 1.3 have both (RFC 9325 §4.2).
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
_OPTIONS = SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_RENEGOTIATION


# A record costs some microseconds even if it holds one byte, and other connections wait meanwhile.
# Twisted's reads are four times as long.
_READ_BYTES = 2**14


class CertificateError(Exception):
    """The certificate or its key cannot be used; the text is safe to show."""


@implementer(IOpenSSLServerConnectionCreator)
class ServerCertificate:
    """A certificate with its chain, and its key, from two files in PEM.

    :raises CertificateError: they cannot be used.
    """

    def __init__(self, cert_file: str, key_file: str) -> None:
        self._files = cert_file, key_file
        self._context = _context(cert_file, key_file)

    def load(self) -> None:
        """Read the files again, for later connections.

        :raises CertificateError: they cannot be used; the former certificate stays in use.
        """
        self._context = _context(*self._files)

    def serverConnectionForTLS(self, _protocol: Any) -> SSL.Connection:  # noqa: N802
        """See `IOpenSSLServerConnectionCreator`."""
        return SSL.Connection(self._context, None)


def _context(cert_file: str, key_file: str) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_options(_OPTIONS)
    # An idle connection needs no buffers, and there are many.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(_choose)
    try:
        context.use_certificate_chain_file(cert_file)
        if b"ENCRYPTED" in Path(key_file).read_bytes():
            raise ValueError("OpenSSL would ask for its password on the terminal")
        context.use_privatekey_file(key_file)
        context.check_privatekey()
    except (SSL.Error, OSError, ValueError):
        raise CertificateError("the certificate and its key cannot be used") from None
    return context


def _choose(_connection: SSL.Connection, offered: Sequence[bytes]) -> Any:
    """Choose HTTP/1.1, if a client offers it; else go on without ALPN, as without TLS."""
    return _HTTP if _HTTP in offered else SSL.NO_OVERLAPPING_PROTOCOLS


class ServerTLS(TLS):
    """The server side of one connection; records reach the socket at once."""

    def makeConnection(self, transport: Any) -> None:
        """See `IProtocol`."""
        immediate_write.enable(transport)
        transport.bufferSize = _READ_BYTES
        super().makeConnection(transport)

    def loseConnection(self) -> None:
        """Close after the written bytes and close_notify, without waiting for the client's.

        A client need not respond (RFC 8446 §6.1), and one that keeps an idle connection in its pool
        does not notice.
        """
        super().loseConnection()
        if self._producer is None and not self._appSendBuffer:
            transport: Any = self.transport
            transport.loseConnection()

    def loseWriteConnection(self) -> None:
        """Close the sending side with close_notify, and go on reading until the client closes."""
        super().loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        immediate_write.disable(self.transport)
        super().connectionLost(reason)


class TLSServerFactory(TLSMemoryBIOFactory):
    """Speaks TLS with the clients of another factory."""

    protocol = ServerTLS

    def __init__(
        self, certificate: ServerCertificate, wrapped: IProtocolFactory, clock: IReactorTime
    ) -> None:
        super().__init__(certificate, False, wrapped, clock)
        self.buffer = new_buffer()
