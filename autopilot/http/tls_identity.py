"""Verification that a server's certificate names the host, which fails closed.

Twisted's own check refuses a certificate for another name. It accepts one whose names cannot be
read: a certificate without a ``subjectAltName``, or with a pattern such as ``*.com``, makes
service-identity raise another exception, which Twisted only logs. The client's key would be sent to
whoever holds such a certificate of a trusted authority. The callback of this module replaces
Twisted's, and whatever it raises is a refusal (RFC 9525 §6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from weakref import ref

from OpenSSL import SSL
from service_identity.hazmat import DNS_ID, IPAddress_ID, ServiceID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from OpenSSL.crypto import X509

_ALPN = (b"http/1.1",)
_VERIFY = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT


def verify_identity(certificate: X509, host: str) -> None:
    """Verify that a server's certificate names ``host``, a DNS name or an address.

    :raises Exception: it does not, or its names cannot be read; which exception does not matter.
    """
    expected: ServiceID
    try:
        ip_address(host)
    except ValueError:
        expected = DNS_ID(host)
    else:
        expected = IPAddress_ID(host)
    verify_service_identity(extract_patterns(certificate), [expected], [])


@implementer(IOpenSSLClientConnectionCreator)
class VerifiedClientOptions:
    """Makes TLS connections to ``host`` that fail in the handshake unless chain and name are right.

    ``protocols`` are those to offer by ALPN (RFC 7301), if any.

    :raises ValueError: the host cannot be a TLS server name.
    """

    def __init__(self, host: str, trust: Any, protocols: Sequence[bytes] | None = _ALPN) -> None:
        self._host = host
        offered = None if protocols is None else list(protocols)
        self._options = optionsForClientTLS(host, trustRoot=trust, acceptableProtocols=offered)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N802, N803
        """See `IOpenSSLClientConnectionCreator`."""
        connection: SSL.Connection = self._options.clientConnectionForTLS(tlsProtocol)
        connection.set_verify(_VERIFY, _verification(ref(tlsProtocol), self._host))
        return connection


def _verification(
    protocol: Callable[[], Any], host: str
) -> Callable[[SSL.Connection, X509, int, int, int], bool]:
    """Return OpenSSL's callback for one connection, called for each certificate of the chain."""

    def verified(
        _connection: SSL.Connection, certificate: X509, _error: int, depth: int, ok: int
    ) -> bool:
        if depth or not ok:
            return bool(ok)
        try:
            verify_identity(certificate, host)
        except BaseException:  # noqa: BLE001  OpenSSL's C code is the caller
            with suppress(BaseException):
                protocol().failVerification(Failure())
            return False
        return True

    return verified
