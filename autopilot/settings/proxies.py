"""The types of setting that concern proxies on the way out: their URLs, and servers without one.

`autopilot.settings.types` describes what a type is. Other programs read the same environment
variables, so the forms that they accept are accepted here too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

from autopilot.settings.network import has_server, is_host_name, is_reachable
from autopilot.settings.types import quoted

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# The only schemes that an error names: any other word may be part of a password.
_KNOWN: Final = frozenset({"https", "socks", "socks4", "socks4a", "socks5", "socks5h", "ftp"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")
_SEPARATORS = re.compile(r"[\s,]+")
_BRACKETS = re.compile(r"\[([^\[\]]+)\](/[0-9]+)?(?::([0-9]+))?")
_HIDDEN_PART = "********@"


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """The http URL of a proxy, which may hold a user name and a password, or ``None``.

    No error message quotes any part of it.
    """

    @property
    def expected(self) -> str:
        """The form of the URL."""
        return "http://host:port or http://user:password@host:port"

    def parse(self, text: str) -> object:
        """Parse as ``check`` does."""
        return self.check(text)

    def check(self, value: object) -> object:
        """Accept the URL, also without a scheme, and return it with one."""
        if value is None:
            return None
        if not isinstance(value, str):
            raise ValueError(f"the value is not a URL; give {self.expected}")
        scheme = _SCHEME.match(value)
        if scheme is not None and scheme[1].lower() != "http":
            named = scheme[1].lower()
            shown = named if named in _KNOWN else "another scheme"
            raise ValueError(f"a proxy of {shown} is not supported; give {self.expected}")
        rest = value[scheme.end() if scheme is not None else 0 :].removesuffix("/")
        if _UNPRINTABLE.search(rest) or "\\" in rest:
            raise ValueError(f"the URL has characters that are not allowed; give {self.expected}")
        if re.search("[/?#]", rest):
            raise ValueError(
                "the URL has a path, query or fragment; remove it, or encode / ? and # of the"
                " password as %2F %3F and %23"
            )
        credentials, _, server = rest.rpartition("@")
        if not (has_server(f"http://{server}") and is_reachable(f"http://{server}")):
            raise ValueError(f"the URL has no valid host and port; give {self.expected}")
        user, _, password = credentials.partition(":")
        # RFC 7617 §2: a colon would end the user name, and control characters are not allowed.
        if ":" in unquote(user) or _CONTROL.search(unquote(user + password)):
            raise ValueError("the user name has a colon, or there is a control character")
        return f"http://{rest}"

    def show(self, value: object) -> str:
        """Return the URL with its credentials; empty if there is none."""
        return "" if value is None else str(value)

    def hide(self, value: object) -> str:
        """Return the URL without its credentials; empty if there is none."""
        if not isinstance(value, str):
            return ""
        credentials, _, server = urlsplit(value).netloc.rpartition("@")
        return f"http://{_HIDDEN_PART if credentials else ''}{server}"


@dataclass(frozen=True, slots=True)
class Exemptions:
    """The servers that are reached without a proxy."""

    @property
    def expected(self) -> str:
        """The form of the list."""
        return "host names, domains, addresses and CIDR networks separated by commas, or *"

    def parse(self, text: str) -> object:
        """Parse the items, separated by commas or blanks, in the given order."""
        return self.check(tuple(dict.fromkeys(filter(None, _SEPARATORS.split(text)))))

    def check(self, value: object) -> object:
        """Accept a tuple of printable ASCII items; those of an unknown form have no effect."""
        if not isinstance(value, tuple):
            raise ValueError(f"{quoted(value)} is not a tuple of texts; give a tuple")
        for item in value:
            if not isinstance(item, str) or not item or _UNPRINTABLE.search(item) or "," in item:
                raise ValueError(f"{quoted(item)} is not a server; give {self.expected}")
        return value

    def show(self, value: object) -> str:
        """Return the items, separated by commas."""
        return ",".join(value) if isinstance(value, tuple) else ""


def has_effect(item: str) -> bool:
    """Return whether an item of ``Exemptions`` can exempt any server."""
    if item == "*":
        return True
    bracketed = _BRACKETS.fullmatch(item)
    if bracketed is not None:
        return _is_network(bracketed[1] + (bracketed[2] or ""))
    if _is_network(item):
        return True
    server, colon, port = item.partition(":")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return False
    if _is_network(server):
        return True
    name = server.removeprefix("*").removeprefix(".")
    return is_host_name(name) and not name.replace(".", "").isdigit()


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True
