"""One TLS handshake as the router makes it, and what it shows; or why it is no good."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from cryptography.x509 import Certificate
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from zope.interface import implementer

_FAULTS: Final = {
    9: "is not valid yet; is the clock right?",
    10: "has expired",
    18: "is signed by itself",
    19: "leads to an authority that is not trusted",
    20: "is of an issuer that is not known",
    21: "cannot be verified: an intermediate is missing",
    23: "is revoked",
    26: "is not for servers",
}
"""OpenSSL's numbers of what can be wrong with a certificate, in the words that complete it."""


_OTHER_NAME: Final = "the certificate is for another name"


class HandshakeError(Exception):
    """Why there is no trusted connection: a few words, safe to show."""


class Handshake(NamedTuple):
    """What was agreed on; ``expires``, in seconds of wall time, is the soonest in the chain."""

    protocol: str
    certificates: int
    issuer: str
    expires: float


def shake_hands(
    reactor: Any, endpoint: IStreamClientEndpoint, host: str, trust: Any
) -> Deferred[Handshake]:
    """Connect and verify. Fails with `HandshakeError`; cancelling it closes the connection."""
    options = optionsForClientTLS(host, trustRoot=trust, acceptableProtocols=[b"http/1.1"])
    noting = _Noting(options)
    factory = Factory.forProtocol(lambda: _Listener(shaken, noting, host))
    factory.noisy = False
    protocols: list[_Listener] = []

    def cancel(_deferred: object) -> None:
        connecting.cancel()
        for each in protocols:
            each.abort()

    shaken: Deferred[Handshake] = Deferred(cancel)
    connecting: Deferred[Any] = wrapClientTLS(noting, endpoint).connect(factory)

    def refused(_failure: Failure) -> None:
        if not shaken.called:
            shaken.errback(HandshakeError("the connection was not made"))

    connecting.addCallbacks(protocols.append, refused)
    return shaken


@implementer(IOpenSSLClientConnectionCreator)
class _Noting:
    """Verifies as ``options`` do, and keeps what OpenSSL found wrong."""

    def __init__(self, options: Any) -> None:
        self._options = options
        self.fault: int | None = None

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N802, N803
        """See `IOpenSSLClientConnectionCreator`."""
        connection: SSL.Connection = self._options.clientConnectionForTLS(tlsProtocol)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._note)
        return connection

    def _note(self, _connection: object, _cert: object, fault: int, _depth: int, ok: int) -> bool:
        if not ok and self.fault is None:
            self.fault = fault
        return bool(ok)


@implementer(IHandshakeListener)
class _Listener(Protocol):
    """Waits for the end of the handshake, and needs no more of the connection."""

    def __init__(self, shaken: Deferred[Handshake], noting: _Noting, host: str) -> None:
        self._shaken = shaken
        self._noting = noting
        self._host = host

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`. It is called, too, where the name was found to be wrong."""
        transport: Any = self.transport
        connection: SSL.Connection = transport.getHandle()
        named = _is_for(connection, self._host)
        seen = _seen(connection) if named else None
        self.abort()
        if self._shaken.called:
            return
        if seen is None:
            self._shaken.errback(HandshakeError(_OTHER_NAME))
        else:
            self._shaken.callback(seen)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        if not self._shaken.called:
            self._shaken.errback(HandshakeError(_why(reason.value, self._noting.fault)))

    def abort(self) -> None:
        """Close at once."""
        transport: Any = self.transport
        transport.abortConnection()


def _why(error: BaseException | None, fault: int | None) -> str:
    if fault is not None:
        known = _FAULTS.get(fault, f"is not accepted (OpenSSL's error {fault})")
        return f"the certificate {known}"
    if isinstance(error, VerificationError):
        return _OTHER_NAME
    if isinstance(error, SSL.Error):
        return "the server does not speak TLS as it is spoken today"
    return "the connection broke off during the handshake"


def _is_for(connection: SSL.Connection, host: str) -> bool:
    """Whether the certificate names the host, by the library that Twisted asks, too."""
    try:
        ip_address(host)
    except ValueError:
        verify: Callable[[SSL.Connection, str], None] = verify_hostname
    else:
        verify = verify_ip_address
    try:
        verify(connection, host)
    except (VerificationError, CertificateError):
        return False
    return True


def _seen(connection: SSL.Connection) -> Handshake:
    chain: list[Certificate] = connection.get_verified_chain(as_cryptography=True) or []
    names = chain[0].issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME) or chain[
        0
    ].issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Handshake(
        protocol=connection.get_protocol_version_name(),
        certificates=len(chain),
        issuer=str(names[0].value) if names else "an issuer without a name",
        expires=min(each.not_valid_after_utc.timestamp() for each in chain),
    )
