"""Endpoints of the upstream servers; with TLS, chain and host name are verified, also by proxy.

Each server has one TLS context and one endpoint, made at start: a context reads the whole trust
store, which blocks the reactor for milliseconds. No setting turns verification off.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from cryptography.x509 import load_pem_x509_certificates
from OpenSSL.crypto import X509
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.ssl import (
    Certificate,
    platformTrust,
    trustRootFromCertificates,
)

from autopilot.http.connect_proxy import ConnectEndpoint, ProxyEndpoint, connect_request
from autopilot.http.tls import TLSEndpoint
from autopilot.http.tls_identity import VerifiedClientOptions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from twisted.internet.interfaces import IStreamClientEndpoint

    from autopilot.upstream.pool import Origin


def trust_root(ca_file: Path | None) -> Any:
    """Return the trust root: the certificates of a PEM file, or those of the system.

    :raises OSError: the file cannot be read.
    :raises ValueError: the file holds no certificate.
    """
    if ca_file is None:
        return platformTrust()
    certificates = load_pem_x509_certificates(ca_file.read_bytes())
    return trustRootFromCertificates(
        [Certificate(X509.from_cryptography(certificate)) for certificate in certificates]
    )


class VerifiedEndpoints:
    """Makes and keeps one endpoint per server; those of ``origins`` are made at once.

    :raises ValueError: the host of an origin cannot be a TLS server name.
    """

    def __init__(self, reactor: Any, trust: Any, origins: Iterable[Origin] = ()) -> None:
        self._reactor = reactor
        self._trust = trust
        self._made: dict[Origin, IStreamClientEndpoint] = {}
        for origin in origins:
            self(origin)

    def __call__(self, origin: Origin) -> IStreamClientEndpoint:
        """Return the endpoint to the server of ``origin``, the same one each time."""
        server = origin._replace(base_path="")
        made = self._made.get(server)
        if made is None:
            made = self._made[server] = self._make(origin)
        return made

    def _make(self, origin: Origin) -> IStreamClientEndpoint:
        plain = self._way(origin)
        if not origin.secure:
            return plain
        name = origin.host.removesuffix(".")  # certificates have no final dot (RFC 6066 §3)
        return TLSEndpoint(VerifiedClientOptions(name, self._trust), plain, self._reactor)

    def _way(self, origin: Origin) -> IStreamClientEndpoint:
        """Return the endpoint below TLS: the server, a tunnel to it, or the forwarding proxy."""
        proxy = origin.proxy
        if proxy is None:
            return self._plain(origin.host, origin.port)
        to_proxy = ProxyEndpoint(self._plain(proxy.host, proxy.port))
        if not origin.secure:
            return to_proxy
        return ConnectEndpoint(to_proxy, connect_request(proxy, origin.host, origin.port))

    def _plain(self, host: str, port: int) -> IStreamClientEndpoint:
        return _plain(self._reactor, host, port)


def server_endpoint(reactor: Any, host: str, port: int, trust: Any) -> IStreamClientEndpoint:
    """Return an endpoint to a server that is not one of HTTP; with ``trust``, TLS is verified.

    :raises ValueError: the host cannot be a TLS server name.
    """
    plain = _plain(reactor, host, port)
    if trust is None:
        return plain
    name = host.removesuffix(".")
    return TLSEndpoint(VerifiedClientOptions(name, trust, protocols=None), plain, reactor)


def _plain(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    """Return an endpoint without TLS; an IP address is not resolved, which saves a thread."""
    try:
        address = ip_address(host)
    except ValueError:
        return HostnameEndpoint(reactor, host, port)
    endpoint = TCP4ClientEndpoint if address.version == 4 else TCP6ClientEndpoint
    return endpoint(reactor, host, port)
