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


def client_key(
    authorization: str | None, api_key: str | None, address: str, hash_key: bytes
) -> bytes:
    """A client's 16-byte name: of its bearer token, else of its API key, else of its address.

    The three never meet: a token that spells an address is another client than the address.
    ``hash_key`` is secret and of any length.
    """
    token = _bearer_token(authorization)
    if token:
        return _digest(b"token", token, hash_key)
    key = (api_key or "").strip(_BLANKS)
    if key:
        return _digest(b"api-key", key, hash_key)
    return _digest(b"address", address, hash_key)


def _bearer_token(authorization: str | None) -> str:
    """The token of an ``Authorization`` value, or an empty text if it has none."""
    words = (authorization or "").strip(_BLANKS).replace("\t", " ").split(" ", 1)
    return words[-1].strip(_BLANKS) if len(words) > 1 and words[0].lower() == "bearer" else ""


def _digest(kind: bytes, text: str, hash_key: bytes) -> bytes:
    """Hash ``text``, apart from equal texts of another ``kind``."""
    key = hash_key if len(hash_key) <= _LONGEST_KEY else blake2b(hash_key).digest()
    data = text.encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=_DIGEST_BYTES, key=key, person=kind).digest()


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
