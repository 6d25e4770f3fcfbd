"""Who a client is, for stickiness only: a keyed hash of its token, its key or its address.

The hash cannot be turned back without the key, and nothing but the hash leaves this module's
callers. No header is read here; they hand in the values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

_BLANKS = " \t"
_LONGEST_KEY = blake2b.MAX_KEY_SIZE
_DIGEST_BYTES = 16
_HIGHEST_PORT = 65535
_PORT = re.compile(r":([0-9]{1,5})")

_Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose ``X-Forwarded-For`` is believed: that of peers inside ``networks``, when enabled."""

    enabled: bool = False
    networks: tuple[IPv4Network | IPv6Network, ...] = ()


def client_address(peer: str, forwarded_for: Sequence[str], trust: Trust) -> str:
    """The client's address in canonical text.

    It is the TCP ``peer``, unless that is a trusted proxy. Then ``forwarded_for``, the values of
    all ``X-Forwarded-For`` lines in their order, are read from the right: each trusted proxy wrote
    the entry before it, so the first entry that is not trusted is the client, and what the client
    wrote itself, further left, cannot win. If all are trusted it is the left-most. An entry that is
    no address on the way there gives the peer. Empty entries are skipped (RFC 9110, 5.6.1).
    """
    sender = _parse(peer)
    if sender is None:
        return peer
    if not _trusted(sender, trust):
        return str(sender)
    origin = sender
    for entry in reversed(",".join(forwarded_for).split(",")):
        text = entry.strip(_BLANKS)
        if not text:
            continue
        parsed = _parse(_without_port(text))
        if parsed is None:
            return str(sender)
        origin = parsed
        if not _trusted(origin, trust):
            break
    return str(origin)


class Hasher:
    """Hashes of clients under one secret of any length, made ready once."""

    __slots__ = ("_address", "_api_key", "_token")

    def __init__(self, secret: bytes) -> None:
        key = secret if len(secret) <= _LONGEST_KEY else blake2b(secret).digest()
        self._token, self._api_key, self._address = (
            blake2b(digest_size=_DIGEST_BYTES, key=key, person=kind)
            for kind in (b"token", b"api-key", b"address")
        )

    def token(self, text: str) -> bytes:
        """The name of whoever holds this bearer token."""
        return _digest(self._token, text)

    def api_key(self, text: str) -> bytes:
        """The name of whoever holds this API key."""
        return _digest(self._api_key, text)

    def address(self, text: str) -> bytes:
        """The name of whoever has this address."""
        return _digest(self._address, text)


def client_key(
    authorization: str | None,
    api_key: str | None,
    peer: str,
    forwarded_for: Sequence[str],
    trust: Trust,
    hasher: Hasher,
) -> bytes:
    """A client's 16-byte name: of its bearer token, else of its API key, else of its address.

    The three never meet: a token that spells an address is another client than the address. For
    the address see `client_address`; it is not looked for unless it counts.
    """
    token = _bearer_token(authorization) if authorization else ""
    if token:
        return hasher.token(token)
    key = api_key.strip(_BLANKS) if api_key else ""
    if key:
        return hasher.api_key(key)
    return hasher.address(client_address(peer, forwarded_for, trust))


def _digest(prepared: blake2b, text: str) -> bytes:
    """Hash ``text``, apart from equal texts of another kind."""
    state = prepared.copy()
    state.update(text.encode("utf-8", "surrogatepass"))
    return state.digest()


def _bearer_token(authorization: str) -> str:
    """The token of an ``Authorization`` value, or an empty text if it has none."""
    scheme, _, token = authorization.strip(_BLANKS).replace("\t", " ").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else ""


def _trusted(address: _Address, trust: Trust) -> bool:
    """Whether ``address`` is a proxy whose word counts."""
    return trust.enabled and any(address in network for network in trust.networks)


def _parse(text: str) -> _Address | None:
    """An address, an IPv4 one even if written as IPv6; None for anything else, or with a zone."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:
        return None
    return address.ipv4_mapped or address


def _without_port(text: str) -> str:
    """Take brackets and a port off an entry; a malformed one stays malformed."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        whole = bracket and ":" in host and (not rest or _is_port(rest))
        return host if whole else text
    host, colon, port = text.partition(":")
    return host if "." in host and _is_port(colon + port) else text


def _is_port(text: str) -> bool:
    """Whether ``text`` is a colon and a port number."""
    port = _PORT.fullmatch(text)
    return port is not None and int(port[1]) <= _HIGHEST_PORT
