"""The types of setting that concern a network: URLs, listen addresses, networks and origins.

`autopilot.settings.types` describes what a type is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import SplitResult, urlsplit

from autopilot.settings.types import items_of, quoted

Network = IPv4Network | IPv6Network

NO_PORT = "-"
"""The listen address of what shares the port of the API."""

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*\.?"
)
# RFC 5891 §4.2.3.1: no hyphen first or last, nor hyphens third and fourth.
_LABEL = re.compile(r"(?!-|..--)[a-z0-9-]{1,63}(?<!-)")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#@\\\s]+)")
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class Url:
    """An http or https URL without credentials, query or fragment.

    A base URL loses its trailing slashes, because paths are appended to it.
    """

    base: bool = False

    @property
    def expected(self) -> str:
        """The form of the URL."""
        return "http or https URL"

    def parse(self, text: str) -> object:
        """Parse as ``check`` does."""
        return self.check(text)

    def check(self, value: object) -> object:
        """Accept the URL. No error message quotes a URL that may contain a credential."""
        if not isinstance(value, str):
            raise ValueError(f"{quoted(value)} is not a URL; give an {self.expected}")
        if "@" in value:
            raise ValueError("the URL holds a user name or password; remove it")
        if "?" in value or "#" in value:
            raise ValueError("the URL has a query or fragment; remove it")
        if _UNPRINTABLE.search(value) or "\\" in value or not has_server(value):
            raise ValueError(f"{quoted(value)} is not a URL with a host; give an {self.expected}")
        if not is_reachable(value):
            raise ValueError(
                f"{quoted(value)} names a host that the router cannot connect to; give an"
                " address, or a name of letters, digits and hyphens, at most 63 between dots"
            )
        return value.rstrip("/") if self.base else value

    def show(self, value: object) -> str:
        """Return the URL."""
        return str(value)


def is_host_name(text: str) -> bool:
    """Return whether `text` is a host name, in the wide sense of the settings."""
    return _HOST_NAME.fullmatch(text) is not None


def has_server(url: str) -> bool:
    """Return whether `url` is http or https with a host and a valid port, if it has a port."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and _is_host(parts) and parts.port != 0
    except ValueError:  # a bad port or bracket
        return False


def _is_host(parts: SplitResult) -> bool:
    """Return whether the URL's host is an IPv6 literal, an IPv4 address or a host name."""
    host = parts.hostname or ""
    if ":" in host:
        return bool(IPv6Address(host)) and parts.netloc.startswith("[")
    return is_host_name(host) and not parts.netloc.endswith(":")


def is_reachable(url: str) -> bool:
    """Return whether the router can connect to the URL's host and, with https, verify it.

    Twisted accepts only host names that are valid under IDNA (RFC 5891), so no underscores.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" and host.isdigit():
        return False  # the resolver reads an IPv4 address, TLS a host name
    return ":" in host or all(map(_is_label, host.removesuffix(".").split(".")))


def _is_label(label: str) -> bool:
    """Return whether one label of a host name is valid under IDNA."""
    if not label.startswith("xn--"):
        return _LABEL.fullmatch(label) is not None
    import idna  # takes 100 ms, and few hosts need it

    try:
        return bool(idna.encode(label))
    except UnicodeError:
        return False


def is_loopback(url: str) -> bool:
    """Return whether the host of a valid URL is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def split_address(text: str) -> tuple[str, int]:
    """Split a listen address into host (an IPv6 one without brackets) and port.

    :raises ValueError: `text` is not ``host:port`` or ``[IPv6]:port`` with a port up to 65535.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+)):([0-9]{1,5})", text, re.ASCII)
    if match is None or int(match[3]) > 65535:
        raise ValueError("not host:port")
    try:
        host = str(IPv6Address(match[1])) if match[1] else match[2]
        if host.replace(".", "").isdigit():
            IPv4Address(host)
    except AddressValueError as error:
        raise ValueError("not host:port") from error
    if not match[1] and not is_host_name(host):
        raise ValueError("not host:port")
    return host, int(match[3])


class UsualAddress(str):
    """The default of a listen address: if it is taken, another port may replace it.

    It equals the same address as given by an operator, who expects that one and no other.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to listen on, or ``NO_PORT`` if a port of its own is ``optional``."""

    optional: bool = False

    @property
    def expected(self) -> str:
        """The forms of the address."""
        without = f", {NO_PORT} for no port" if self.optional else ""
        return f"host:port or [IPv6 address]:port, port 0 for any free one{without}"

    def parse(self, text: str) -> object:
        """Parse as ``check`` does."""
        return self.check(text)

    def check(self, value: object) -> object:
        """Accept an address that ``split_address`` accepts."""
        if self.optional and value == NO_PORT:
            return value
        try:
            if isinstance(value, str):
                split_address(value)
                return value
        except ValueError:
            pass
        raise ValueError(
            f"{quoted(value)} is not an address to listen on; give host:port such as 0.0.0.0:8080"
        )

    def show(self, value: object) -> str:
        """Return the address."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Networks:
    """Networks in CIDR notation; a bare address is a network of one address."""

    @property
    def expected(self) -> str:
        """The form of the list."""
        return "CIDR networks separated by commas, such as 10.0.0.0/8,fd00::/8"

    def parse(self, text: str) -> object:
        """Parse the networks, in the given order."""
        return tuple(dict.fromkeys(self._network(item) for item in items_of(text)))

    def _network(self, item: str) -> Network:
        """Parse one network; an address with host bits set is an error, not truncated."""
        try:
            return ip_network(item)
        except ValueError as error:
            raise ValueError(f"{quoted(item)} is not a network; give {self.expected}") from error

    def check(self, value: object) -> object:
        """Accept a tuple of ``ipaddress`` networks."""
        if not isinstance(value, tuple):
            raise ValueError(f"{quoted(value)} is not a tuple of networks; give a tuple")
        for item in value:
            if not isinstance(item, IPv4Network | IPv6Network):
                raise ValueError(f"{quoted(item)} is not an ipaddress network; give networks")
        return value

    def show(self, value: object) -> str:
        """Return the networks, separated by commas."""
        return ",".join(map(str, value)) if isinstance(value, tuple) else ""


@dataclass(frozen=True, slots=True)
class Origins:
    """Browser origins, or ``*`` for every origin."""

    @property
    def expected(self) -> str:
        """The form of the list."""
        return "* or origins separated by commas, such as https://chat.example"

    def parse(self, text: str) -> object:
        """Parse the origins, in the given order."""
        return self.check(items_of(text))

    def check(self, value: object) -> object:
        """Accept a tuple of ``*`` or ``scheme://host[:port]``, and return it as browsers send it.

        Browsers send origins in lower case and without the scheme's default port (RFC 6454 §6.2).
        Desktop and mobile apps built on a browser have schemes of their own.
        """
        if not isinstance(value, tuple):
            raise ValueError(f"{quoted(value)} is not a tuple of origins; give a tuple")
        for item in value:
            if item != "*" and not (isinstance(item, str) and _is_origin(item)):
                raise ValueError(f"{quoted(item)} is not an origin; give {self.expected}")
        return tuple(_as_sent(item.lower()) for item in value)

    def show(self, value: object) -> str:
        """Return the origins, separated by commas."""
        return ",".join(value) if isinstance(value, tuple) else ""


def _is_origin(text: str) -> bool:
    """Return whether `text` is a scheme, a host and an optional port, with nothing behind."""
    match = _ORIGIN.fullmatch(text)
    return match is not None and has_server(f"http://{match[1].lower()}")


def _as_sent(origin: str) -> str:
    """Return `origin` as a browser sends it."""
    for scheme, port in (("http://", ":80"), ("https://", ":443")):
        if origin.startswith(scheme):
            return origin.removesuffix(port)
    return origin
