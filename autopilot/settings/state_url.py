"""The type of setting that names the store of shared state: the URL of a Redis or Valkey server.

`autopilot.settings.types` describes what a type is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote

from autopilot.settings.network import has_server, is_reachable

_SCHEMES: Final = {"redis": "http", "rediss": "https"}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# Only these are named in an error: any other word may be part of a password.
_KNOWN: Final = frozenset({"http", "https", "unix", "redis+sentinel", "valkey", "valkeys"})
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DATABASE = re.compile(r"[0-9]{1,5}")
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_HIDDEN_PART: Final = "********@"

DEFAULT_PORT: Final = 6379
DEFAULT_PREFIX: Final = "chutes-autopilot"


@dataclass(frozen=True, slots=True)
class StateStore:
    """Where the replicas of one router share state.

    ``tls``: the connection is encrypted and the server verified. ``user`` and ``password`` are
    empty if the server wants none. All of the router's keys and channels begin with ``prefix``.
    """

    host: str
    port: int = DEFAULT_PORT
    tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    prefix: str = DEFAULT_PREFIX

    @property
    def server(self) -> str:
        """Host and port, as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def url(self, credentials: str) -> str:
        """Return the URL with ``credentials``, which end in ``@`` unless they are empty."""
        scheme = "rediss" if self.tls else "redis"
        prefix = "" if self.prefix == DEFAULT_PREFIX else f"?prefix={self.prefix}"
        return f"{scheme}://{credentials}{self.server}/{self.database}{prefix}"


@dataclass(frozen=True, slots=True)
class StateUrl:
    """The URL of a Redis or Valkey server, or ``None``. No error message quotes any part of it."""

    @property
    def expected(self) -> str:
        """The form of the URL."""
        return "redis://[user:password@]host[:port][/database][?prefix=name], or rediss://"

    def parse(self, text: str) -> object:
        """Parse as ``check`` does."""
        return self.check(text)

    def check(self, value: object) -> object:
        """Accept the URL as text, or a `StateStore`, and return a `StateStore`."""
        if value is None or isinstance(value, StateStore):
            return value
        if not isinstance(value, str):
            raise ValueError(f"the value is not a URL; give {self.expected}")
        match = _URL.fullmatch(value)
        if match is None:
            raise ValueError(f"the value is not a URL; give {self.expected}")
        scheme = match[1].lower()
        if scheme not in _SCHEMES:
            shown = f"a {scheme}:// URL" if scheme in _KNOWN else "another scheme"
            raise ValueError(f"{shown} is not supported; give {self.expected}")
        if _UNPRINTABLE.search(match[2]) or "\\" in match[2] or "#" in match[2]:
            raise ValueError(
                "the URL has a character that is not allowed; encode those of user and password"
                " as %XX"
            )
        return self._store(scheme == "rediss", match[2])

    def _store(self, tls: bool, rest: str) -> StateStore:
        """Read what follows the scheme."""
        credentials, _, location = rest.rpartition("@")
        location, _, query = location.partition("?")
        server, _, path = location.partition("/")
        user, colon, password = (unquote(part) for part in credentials.partition(":"))
        if credentials and not colon:
            raise ValueError("a user name without a password; give user:password@ or :password@")
        if "/" in credentials or "?" in credentials:
            raise ValueError("encode / and ? in the user name and the password as %2F and %3F")
        if user and not password:
            raise ValueError("the password is empty; give user:password@ or :password@")
        if _CONTROL.search(user + password):
            raise ValueError("the user name or the password has a control character")
        as_web = f"{_SCHEMES['rediss' if tls else 'redis']}://{server}"
        if not (has_server(as_web) and is_reachable(as_web)):
            raise ValueError(f"the URL has no valid host and port; give {self.expected}")
        host, port = _split(server)
        if path and not _DATABASE.fullmatch(path):
            raise ValueError("the path is not the number of a database; give / and digits")
        name, _, prefix = query.partition("=")
        if query and (name != "prefix" or not _PREFIX.fullmatch(prefix)):
            raise ValueError(
                "the query is not prefix=name, with 1 to 64 letters, digits and ._:- in the name"
            )
        return StateStore(
            host=host,
            port=port,
            tls=tls,
            user=user,
            password=password,
            database=int(path or 0),
            prefix=prefix or DEFAULT_PREFIX,
        )

    def show(self, value: object) -> str:
        """Return the URL with its credentials; empty if there is none."""
        if not isinstance(value, StateStore):
            return ""
        parts = f"{quote(value.user, safe='')}:{quote(value.password, safe='')}@"
        return value.url(parts if value.password else "")

    def hide(self, value: object) -> str:
        """Return the URL without its credentials; empty if there is none."""
        if not isinstance(value, StateStore):
            return ""
        return value.url(_HIDDEN_PART if value.password else "")


def _split(server: str) -> tuple[str, int]:
    """Return the host, an IPv6 one without brackets, and the port of a valid server."""
    host, colon, port = server.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = server, ""
    return host.strip("[]").lower(), int(port or DEFAULT_PORT)
