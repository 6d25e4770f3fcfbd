"""The identity of a client, for stickiness: a keyed hash of its token, key, hotkey or address.

Without the key the hash cannot be traced back to the client, and only the hash is stored. The
callers read the header fields and pass their values.
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

_OWS = " \t"  # optional whitespace (RFC 9110 §5.6.3)
_MAX_KEY_BYTES = blake2b.MAX_KEY_SIZE
_DIGEST_BYTES = 16
_MAX_RECENT = 4096
_HIGHEST_PORT = 65535
_PORT = re.compile(r":([0-9]{1,5})")

_Address = IPv4Address | IPv6Address


_SCHEMES = frozenset({"bearer", "basic"})


@dataclass(frozen=True, slots=True)
class Trust:
    """The peers whose ``X-Forwarded-For`` the router believes: ``networks``, if enabled."""

    enabled: bool = False
    networks: tuple[IPv4Network | IPv6Network, ...] = ()


def client_address(peer: str, forwarded_for: Sequence[str], trust: Trust) -> str:
    """Return the client's address in canonical text (contract §5).

    That is the TCP ``peer``, unless the peer is a trusted proxy. Then ``forwarded_for``, the values
    of all ``X-Forwarded-For`` lines in order, is read from the right: each trusted proxy appended
    the address of its own peer, so the right-most entry that is not trusted is the client. An entry
    further left may be the client's invention and never counts. If every entry is trusted, the
    left-most one counts; if one on the way is malformed, the peer does. Empty list elements are
    skipped (RFC 9110 §5.6.1).
    """
    sender = _parse(peer)
    if sender is None:
        return peer
    # Any client can send the field, so it counts only from a trusted proxy (contract §5).
    if not _trusted(sender, trust):
        return str(sender)
    client = sender
    for entry in reversed(",".join(forwarded_for).split(",")):
        text = entry.strip(_OWS)
        if not text:
            continue
        parsed = _parse(_without_port(text))
        if parsed is None:
            return str(sender)
        client = parsed
        if not _trusted(client, trust):
            break
    return str(client)


def is_trusted(peer: str, trust: Trust) -> bool:
    """Return whether a TCP peer is a proxy whose forwarding fields the router believes."""
    address = _parse(peer)
    return address is not None and _trusted(address, trust)


class Hasher:
    """Keyed hashes of clients under one secret of any length.

    The keyed states are prepared once and copied for each hash. Those of recent tokens and
    conversations are kept, and found by Python's own hash, which has another secret in each
    process: clients repeat both in every turn, and BLAKE2b takes ten times as long to read them.
    """

    __slots__ = (
        "_address",
        "_api_key",
        "_conversation",
        "_conversations",
        "_holders",
        "_hotkey",
        "_token",
        "_tokens",
    )

    def __init__(self, secret: bytes) -> None:
        key = secret if len(secret) <= _MAX_KEY_BYTES else blake2b(secret).digest()
        self._token, self._api_key, self._hotkey, self._address, self._conversation = (
            # `person` separates the kinds: a token that spells an address is another client.
            blake2b(digest_size=_DIGEST_BYTES, key=key, person=kind)
            for kind in (b"token", b"api-key", b"hotkey", b"address", b"conversation")
        )
        self._tokens: dict[int, bytes] = {}
        # Not among the tokens: text and bytes that spell the same have the same hash.
        self._holders: dict[int, bytes] = {}
        self._conversations: dict[int, bytes] = {}

    def token(self, text: str) -> bytes:
        """Return the identity of the holder of this bearer token."""
        number = hash(text)
        digest = self._tokens.get(number)
        if digest is None:
            digest = _digest(self._token, text)
            _keep(self._tokens, number, digest)
        return digest

    def holder(self, authorization: bytes) -> bytes | None:
        """Return the identity of who sends this ``Authorization``; None without a bearer token.

        It is that of `token`. Of a field that was sent lately, the token is not looked for again.
        """
        number = hash(authorization)
        digest = self._holders.get(number)
        if digest is None and (token := bearer_token(authorization.decode("latin-1"))):
            digest = _digest(self._token, token)
            _keep(self._holders, number, digest)
        return digest

    def api_key(self, text: str) -> bytes:
        """Return the identity of the holder of this API key."""
        return _digest(self._api_key, text)

    def hotkey(self, text: str) -> bytes:
        """Return the identity of the client that signs with this hotkey."""
        return _digest(self._hotkey, text)

    def address(self, text: str) -> bytes:
        """Return the identity of the client at this address."""
        return _digest(self._address, text)

    def conversation(self, client: bytes, identity: bytes) -> bytes:
        """Return the hash of a client's conversation.

        ``client`` is the hash of the client: what two clients say alike are two conversations.
        """
        number = hash((client, identity))
        digest = self._conversations.get(number)
        if digest is None:
            state = self._conversation.copy()
            state.update(client)
            state.update(identity)
            digest = state.digest()
            _keep(self._conversations, number, digest)
        return digest


def client_key(
    authorization: str | None,
    api_key: str | None,
    peer: str,
    forwarded_for: Sequence[str],
    trust: Trust,
    hasher: Hasher,
    hotkey: str | None = None,
) -> bytes:
    """Return a client's 16-byte identity: from its bearer token, else API key, hotkey or address.

    ``hotkey`` is that of a signed request. The kinds never collide. The address (see
    `client_address`) is computed only if it counts.
    """
    if authorization and (token := bearer_token(authorization)):
        return hasher.token(token)
    key = api_key.strip(_OWS) if api_key else ""
    if key:
        return hasher.api_key(key)
    if hotkey:
        return hasher.hotkey(hotkey)
    return hasher.address(client_address(peer, forwarded_for, trust))


def bearer_token(authorization: str) -> str:
    """Return the bearer token in the value of an ``Authorization`` field; empty without one."""
    scheme, _, token = authorization.strip(_OWS).replace("\t", " ").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else ""


def upstream_key(
    authorization: str | None, api_key: str | None, hotkey: str | None, hasher: Hasher
) -> bytes:
    """Return the hash of the key by which the platform counts a request; empty without one.

    The platform reads the last word of ``Authorization``, whatever the scheme (wire §4), so that
    the same key is one, in whichever field it comes; a scheme alone is no key.
    """
    words = authorization.split() if authorization else []
    if len(words) > 1 or (words and words[0].lower() not in _SCHEMES):
        return hasher.token(words[-1])
    key = api_key.strip(_OWS) if api_key else ""
    if key:
        return hasher.token(key)
    return hasher.hotkey(hotkey) if hotkey else b""


def _keep(recent: dict[int, bytes], number: int, digest: bytes) -> None:
    if len(recent) >= _MAX_RECENT:
        recent.clear()
    recent[number] = digest


def _digest(prepared: blake2b, text: str) -> bytes:
    """Hash ``text`` with a copy of the keyed state of its kind."""
    # Copying the keyed state is cheaper than keying a new one for each request.
    state = prepared.copy()
    state.update(text.encode("utf-8", "surrogatepass"))
    return state.digest()


def _trusted(address: _Address, trust: Trust) -> bool:
    """Return whether ``address`` is a proxy whose ``X-Forwarded-For`` the router believes."""
    return trust.enabled and any(address in network for network in trust.networks)


def _parse(text: str) -> _Address | None:
    """Return the address in ``text``, an IPv4-mapped one as IPv4; None if malformed or zoned."""
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
    """Remove brackets and port from an entry; a malformed entry stays malformed."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        whole = bracket and ":" in host and (not rest or _is_port(rest))
        return host if whole else text
    host, colon, port = text.partition(":")
    return host if "." in host and _is_port(colon + port) else text


def _is_port(text: str) -> bool:
    """Return whether ``text`` is a colon and a port number."""
    port = _PORT.fullmatch(text)
    return port is not None and int(port[1]) <= _HIGHEST_PORT
