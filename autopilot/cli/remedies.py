"""What to do about the failures that ``autopilot check`` finds, one text for each reason.

``source`` is the setting or the option that names the server.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from autopilot.cli.handshake import HandshakeFault
from autopilot.http.fetch_error import (
    INTERNAL,
    JSON,
    NETWORK,
    SHAPE,
    STATUS,
    TIMEOUT,
    TOO_LARGE,
    FetchError,
    FetchFault,
)

CA_FILE: Final = "Give a file of certificates in PEM, or unset UPSTREAM_CA_FILE."
KEY: Final = "Copy the key again, without quotes and blanks."


class NameFault(StrEnum):
    """Why a name has no address; the value is the detail of the result."""

    UNKNOWN = "no such name"
    NO_SERVER = "no name server answers"
    NO_ADDRESS = "the name has no address"


class ConnectFault(StrEnum):
    """Why there is no connection; the value is the detail of the result."""

    REFUSED = "connection refused"
    NO_ROUTE = "no route to the host"
    FORBIDDEN = "this machine does not allow the connection"
    TIMEOUT = "no connection in time"
    OTHER = "no connection"


_NAMES: Final = {
    NameFault.UNKNOWN: "Correct the host name in {source}; if it is right, ask for it in your DNS.",
    NameFault.NO_SERVER: (
        "Check this machine's network and its name servers (/etc/resolv.conf); where only a proxy"
        " resolves names, set {proxy}."
    ),
    NameFault.NO_ADDRESS: "Correct the host name in {source}: its DNS entry has no address.",
}
_DIRECT: Final = {
    ConnectFault.REFUSED: (
        "Check host and port in {source}: no server listens there, or a firewall rejects the"
        " connection."
    ),
    ConnectFault.NO_ROUTE: (
        "Check this machine's network; for an IPv6 address, whether it has IPv6 at all."
    ),
    ConnectFault.FORBIDDEN: (
        "A firewall or sandbox of this machine stops it: allow connections to this port."
    ),
    ConnectFault.TIMEOUT: (
        "A firewall drops the connection, or the server is down: allow the way out, or set {proxy}"
        " where a proxy is the only one."
    ),
    ConnectFault.OTHER: "Check host and port in {source}, and this machine's network.",
}
_TO_PROXY: Final = "Check host and port in {proxy}, or exempt the server with NO_PROXY."

_OWN_AUTHORITY: Final = (
    "Add the issuer's certificate to UPSTREAM_CA_FILE, which replaces the system's authorities."
)
_SYSTEM: Final = (
    "If a proxy or an authority of your own issued it, name that authority's PEM file in"
    " UPSTREAM_CA_FILE; if every server fails, install ca-certificates."
)
_TLS: Final = {
    HandshakeFault.CLOSED: (
        "A firewall may close TLS connections: allow them, or set {proxy} where a proxy is the only"
        " way out."
    ),
    HandshakeFault.EXPIRED: (
        "This machine's clock says {now}: set it if that is wrong, else the server's operator has"
        " to renew the certificate."
    ),
    HandshakeFault.INCOMPLETE: (
        "The server's operator has to send the whole chain; until then, add the intermediate"
        " certificate to UPSTREAM_CA_FILE."
    ),
    HandshakeFault.NOT_YET_VALID: "This machine's clock says {now}: set it.",
    HandshakeFault.NO_TLS: (
        "Check scheme and port in {source}: the server may speak plain HTTP, or a proxy answers in"
        " its place."
    ),
    HandshakeFault.OTHER_NAME: (
        "The connection leads to another server: check the host in {source}, /etc/hosts and DNS,"
        " and whether a proxy answers in its place."
    ),
    HandshakeFault.UNREACHED: "The server stopped answering; check again.",
    HandshakeFault.UNSUITABLE: "The server's operator has to replace the certificate.",
}
_TUNNELS: Final = {
    407: "Put the proxy's user name and password into {proxy}.",
    403: "Have the proxy's operator allow this server, or exempt it with NO_PROXY.",
}
_NO_TUNNEL: Final = (
    "The proxy of {proxy} opens no tunnel to this server: check that it is an HTTP proxy and"
    " reaches the server, or exempt the server with NO_PROXY."
)

_FETCHES: Final = {
    FetchFault.NAME: _NAMES[NameFault.UNKNOWN] + " `--only network` says which it is.",
    FetchFault.REFUSED: _DIRECT[ConnectFault.REFUSED],
    FetchFault.UNREACHED: _DIRECT[ConnectFault.TIMEOUT],
    FetchFault.TLS: "`autopilot check --only network` says what is wrong with the certificate.",
    FetchFault.CONNECT: "`autopilot check --only network` says at which step.",
    FetchFault.PROXY: "`autopilot check --only network` says what to do about the proxy.",
    FetchFault.NOT_HTTP: ("Another program answers: check scheme, host and port in {source}."),
    FetchFault.TRUNCATED: (
        "The server, or a proxy or firewall before it, cuts responses off: check again, without it"
        " if you can."
    ),
    FetchFault.COMPRESSED: (
        "A proxy compresses what the router asked for uncompressed: exempt the server with"
        " NO_PROXY, or correct {source}."
    ),
}
_UNREADABLE: Final = (
    "{source} leads to another page, or a proxy answers in the platform's place: look at it with"
    " curl."
)
_OUTCOMES: Final = {
    TIMEOUT: "The server or the way to it is slow: check again with a longer --timeout.",
    TOO_LARGE: "It is more than the router reads: check {source}.",
    JSON: _UNREADABLE,
    SHAPE: _UNREADABLE,
    NETWORK: _FETCHES[FetchFault.CONNECT],
    STATUS: "Check {source}.",
    INTERNAL: "This is a fault of the router; please report it.",
}
_STATUSES: Final = {
    401: "It needs no key: check {source}, and whether a proxy answers in the platform's place.",
    403: "A firewall or proxy refuses this machine; ask its operator, or check {source}.",
    404: "Check host and path in {source}.",
    407: "Put the proxy's user name and password into HTTP_PROXY.",
    429: "The platform limits requests of this address: wait, and fetch from fewer machines.",
}


def of_name(fault: NameFault, source: str, proxy: str) -> str:
    """Return what to do about a name without an address."""
    return _NAMES[fault].format(source=source, proxy=proxy)


def of_connection(fault: ConnectFault, source: str, proxy: str, *, through_proxy: bool) -> str:
    """Return what to do about a missing connection, to the proxy or directly to the server."""
    text = _TO_PROXY if through_proxy else _DIRECT[fault]
    return text.format(source=source, proxy=proxy)


def of_handshake(
    fault: HandshakeFault, source: str, proxy: str, now: float, *, own_authority: bool
) -> str:
    """Return what to do about a failed handshake; ``own_authority``: UPSTREAM_CA_FILE is set."""
    if fault is HandshakeFault.UNTRUSTED:
        return _OWN_AUTHORITY if own_authority else _SYSTEM
    clock = datetime.fromtimestamp(now, UTC)
    return _TLS[fault].format(source=source, proxy=proxy, now=f"{clock:%Y-%m-%d %H:%M} UTC")


def of_tunnel(text: str, proxy: str) -> str:
    """Return what to do about a proxy's error, by the status in its text."""
    status = text.rpartition(" status ")[2]
    number = int(status) if status.isascii() and status.isdigit() else 0
    return _TUNNELS.get(number, _NO_TUNNEL).format(proxy=proxy)


def of_fetch(error: FetchError, source: str) -> str:
    """Return what to do about a failed fetch."""
    if error.status is not None:
        return of_status(error.status, source)
    text = _FETCHES[error.fault] if error.fault is not None else _OUTCOMES[error.outcome]
    return text.format(source=source, proxy="HTTPS_PROXY")


def of_status(status: int, source: str) -> str:
    """Return what to do about a status that was not expected of the platform."""
    if 300 <= status < 400:
        return f"Redirects are not followed: set {source} to where it leads."
    if status >= 500:
        return "The platform has a fault: check again later; a router tries again by itself."
    return _STATUSES.get(status, _OUTCOMES[STATUS]).format(source=source)
