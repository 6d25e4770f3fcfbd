"""One TLS handshake with the router's own verification, for ``autopilot check``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from cryptography.x509 import Certificate
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from zope.interface import implementer

from autopilot.http.connect_proxy import ProxyError
from autopilot.http.tls_identity import verify_identity


class HandshakeFault(StrEnum):
    """Why a handshake failed, as far as the remedies differ."""

    CLOSED = "closed"
    EXPIRED = "expired"
    INCOMPLETE = "incomplete"
    NOT_YET_VALID = "not_yet_valid"
    NO_TLS = "no_tls"
    OTHER_NAME = "other_name"
    PROXY = "proxy"
    UNREACHED = "unreached"
    UNSUITABLE = "unsuitable"
    UNTRUSTED = "untrusted"


_FAULTS: Final = {
    9: (HandshakeFault.NOT_YET_VALID, "is not valid yet"),
    10: (HandshakeFault.EXPIRED, "has expired"),
    18: (HandshakeFault.UNTRUSTED, "is self-signed"),
    19: (HandshakeFault.UNTRUSTED, "is signed by an authority that is not trusted"),
    20: (HandshakeFault.UNTRUSTED, "has an unknown issuer"),
    21: (
        HandshakeFault.INCOMPLETE,
        "cannot be verified: an intermediate certificate is missing",
    ),
    23: (HandshakeFault.UNSUITABLE, "is revoked"),
    26: (HandshakeFault.UNSUITABLE, "is not valid for servers"),
}
"""Messages for OpenSSL's verification errors, by their ``X509_V_ERR_*`` number."""

_OTHER_NAME: Final = HandshakeFault.OTHER_NAME, "the certificate is for another name"


class HandshakeError(Exception):
    """The handshake failed; the text is short and safe to print."""

    def __init__(self, fault: HandshakeFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Handshake:
    """The result of a handshake; ``expires`` is the chain's earliest expiry, in Unix time."""

    protocol: str
    certificates: int
    issuer: str
    expires: float


def shake_hands(
    reactor: Any, endpoint: IStreamClientEndpoint, host: str, trust: Any
) -> Deferred[Handshake]:
    """Connect and verify. Fails with `HandshakeError`; cancelling closes the connection."""
    options = optionsForClientTLS(host, trustRoot=trust, acceptableProtocols=[b"http/1.1"])
    recorder = _VerifyRecorder(options)
    factory = Factory.forProtocol(lambda: _HandshakeProtocol(done, recorder, host))
    factory.noisy = False
    protocols: list[_HandshakeProtocol] = []

    def cancel(_deferred: object) -> None:
        connecting.cancel()
        for each in protocols:
            each.abort()

    done: Deferred[Handshake] = Deferred(cancel)
    connecting: Deferred[Any] = wrapClientTLS(recorder, endpoint).connect(factory)

    def not_connected(failure: Failure) -> None:
        if not done.called:
            if failure.check(ConnectingCancelledError):
                error: Exception = CancelledError()
            elif failure.check(ProxyError):
                error = HandshakeError(HandshakeFault.PROXY, str(failure.value))
            else:
                text = "the connection could not be made"
                error = HandshakeError(HandshakeFault.UNREACHED, text)
            done.errback(error)

    connecting.addCallbacks(protocols.append, not_connected)
    return done


@implementer(IOpenSSLClientConnectionCreator)
class _VerifyRecorder:
    """Verifies as ``options`` do, and records OpenSSL's first verification error."""

    def __init__(self, options: Any) -> None:
        self._options = options
        self.error: int | None = None
        self.refused: Certificate | None = None

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N802, N803
        """See `IOpenSSLClientConnectionCreator`."""
        connection: SSL.Connection = self._options.clientConnectionForTLS(tlsProtocol)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._record)
        return connection

    def _record(self, _connection: object, cert: Any, error: int, _depth: int, ok: int) -> bool:
        if not ok and self.error is None:
            self.error = error
            self.refused = cert.to_cryptography()
        return bool(ok)


@implementer(IHandshakeListener)
class _HandshakeProtocol(Protocol):
    """Waits for the end of the handshake, then closes the connection."""

    def __init__(self, done: Deferred[Handshake], recorder: _VerifyRecorder, host: str) -> None:
        self._done = done
        self._recorder = recorder
        self._host = host

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`.

        Twisted calls this even when its own check of the name failed, so the name is checked here.
        """
        transport: Any = self.transport
        connection: SSL.Connection = transport.getHandle()
        named = _is_for(connection, self._host)
        seen = _seen(connection) if named else None
        self.abort()
        if self._done.called:
            return
        if seen is None:
            self._done.errback(HandshakeError(*_OTHER_NAME))
        else:
            self._done.callback(seen)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        if not self._done.called:
            self._done.errback(_error(reason.value, self._recorder))

    def abort(self) -> None:
        """Close the connection at once."""
        transport: Any = self.transport
        transport.abortConnection()


def _error(error: BaseException | None, recorder: _VerifyRecorder) -> HandshakeError:
    if recorder.error is not None:
        return _not_accepted(recorder.error, recorder.refused)
    if isinstance(error, VerificationError | CertificateError):
        return HandshakeError(*_OTHER_NAME)
    if isinstance(error, SSL.Error):
        return HandshakeError(
            HandshakeFault.NO_TLS, "the server offers no supported TLS version or cipher"
        )
    return HandshakeError(
        HandshakeFault.CLOSED, "the server closed the connection during the handshake"
    )


def _not_accepted(number: int, certificate: Certificate | None) -> HandshakeError:
    """Return the error for a certificate that OpenSSL refused, with its dates if they matter."""
    fault, text = _FAULTS.get(
        number, (HandshakeFault.UNSUITABLE, f"is not accepted (OpenSSL error {number})")
    )
    if certificate is not None and fault is HandshakeFault.NOT_YET_VALID:
        text += f": valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    if certificate is not None and fault is HandshakeFault.EXPIRED:
        text += f": valid until {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    return HandshakeError(fault, f"the certificate {text}")


def _is_for(connection: SSL.Connection, host: str) -> bool:
    """Return whether the certificate names the host, by the router's own check."""
    certificate = connection.get_peer_certificate()
    if certificate is None:
        return False
    try:
        verify_identity(certificate, host)
    except Exception:  # noqa: BLE001  names that cannot be read are refused as well
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
