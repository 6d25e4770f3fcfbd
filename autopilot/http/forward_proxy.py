"""The proxy through which a server is reached, chosen as the environment variables say.

Pure: `ProxyRules` holds what ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` give.
"""

from __future__ import annotations

import re
import socket
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

# The forms of an IPv4 address that only the resolver reads: 127.1, 0x7f000001, 2130706433.
_NUMERIC = re.compile(r"[0-9][0-9a-fx.]*")
_BRACKETS = re.compile(r"\[([^\[\]]+)\](/[0-9]+)?(?::([0-9]+))?")


class ForwardProxy(NamedTuple):
    """A proxy to which the router connects; ``credentials`` are those of HTTP Basic, encoded."""

    host: str
    port: int
    credentials: bytes = b""

    @classmethod
    def of(cls, url: str) -> ForwardProxy:
        """Return the proxy of an ``http`` URL that the settings have validated."""
        parts = urlsplit(url)
        given, at, _ = parts.netloc.rpartition("@")
        user, _, password = given.partition(":")
        # RFC 7617 §2; a URL without a password has an empty one, as with curl.
        pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
        return cls(parts.hostname or "", parts.port or 80, b64encode(pair) if at else b"")

    def __repr__(self) -> str:
        return f"ForwardProxy({self.address!r})"

    @property
    def address(self) -> str:
        """The host and the port, without credentials."""
        return address_of(self.host, self.port)

    @property
    def authorization(self) -> bytes:
        """The value of ``Proxy-Authorization``, empty without credentials."""
        return b"Basic " + self.credentials if self.credentials else b""

    @property
    def field_line(self) -> bytes:
        """The field line for the proxy with its line end, empty without credentials."""
        if not self.credentials:
            return b""
        return b"Proxy-Authorization: %b\r\n" % self.authorization


def address_of(host: str, port: int) -> str:
    """Return ``host:port``, an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Exemption(NamedTuple):
    """The servers of one item: a name with those below it, a network, or all if both are empty."""

    name: str = ""
    network: IPv4Network | IPv6Network | None = None
    port: int | None = None

    @classmethod
    def of(cls, item: str) -> _Exemption:
        """Parse an item; one of an unknown form becomes a name that no server has."""
        text = item.lower()
        if text == "*":
            return cls()
        bracketed = _BRACKETS.fullmatch(text)
        if bracketed is not None:
            port = int(bracketed[3]) if bracketed[3] else None
            network = _network(bracketed[1] + (bracketed[2] or ""))
            return cls(text if network is None else "", network, port)
        network = _network(text)
        if network is not None:
            return cls("", network)
        server, colon, digits = text.partition(":")
        if colon and not (digits.isascii() and digits.isdigit()):
            return cls(text)
        port = int(digits) if colon else None
        network = _network(server)
        if network is not None:
            return cls("", network, port)
        return cls(server.removeprefix("*").removeprefix(".").rstrip(".") or text, None, port)

    def covers(self, name: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
        """Return whether the server is one of these."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address is not None and address in self.network
        return not self.name or name == self.name or name.endswith(f".{self.name}")


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """Which proxy leads to which server: one for https, one for http, and the exemptions."""

    https: ForwardProxy | None = None
    http: ForwardProxy | None = None
    exemptions: tuple[_Exemption, ...] = ()

    @classmethod
    def of(cls, https: str | None, http: str | None, exempt: Iterable[str]) -> ProxyRules:
        """Return the rules of the validated settings."""
        return cls(
            ForwardProxy.of(https) if https else None,
            ForwardProxy.of(http) if http else None,
            tuple(map(_Exemption.of, exempt)),
        )

    def proxy_of(self, scheme: str, host: str, port: int) -> ForwardProxy | None:
        """Return the proxy for a server, or None if the router connects to it directly."""
        proxy = self.https if scheme == "https" else self.http
        if proxy is None:
            return None
        name, address = host.lower().rstrip("."), _address(host)
        if _is_loopback(name, address):
            return None
        if any(each.covers(name, address, port) for each in self.exemptions):
            return None
        return proxy


DIRECT = ProxyRules()
"""No proxy for any server."""


def _is_loopback(name: str, address: IPv4Address | IPv6Address | None) -> bool:
    """Return whether a server is this host; a proxy would take it for its own (RFC 6761 §6.3)."""
    if address is not None:
        # Connecting to the unspecified address reaches this host too.
        return address.is_loopback or address.is_unspecified
    return name == "localhost" or name.endswith(".localhost")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is, in any form that the resolver reads, or None."""
    try:
        address = ip_address(host)
    except ValueError:
        if not _NUMERIC.fullmatch(host):
            return None
        try:
            return IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    return getattr(address, "ipv4_mapped", None) or address


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
