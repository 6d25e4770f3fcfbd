"""Ledger of what unfinished requests hold: places, connections and bytes, in all and by address.

A request is refused with 503 if all requests would hold too much with it, and with 429 if its
client's address would have more than its share, before its body is read (contract §11). What is
held already stays held, and so do bytes of responses that a client does not take. The table has
only addresses that hold something.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from math import inf
from typing import Final

from msgspec import Struct

from autopilot.http.headers import Named
from autopilot.routing.identity import Trust, client_address, is_trusted
from autopilot.routing.router_error import RouterError

OVERLOADED: Final = RouterError(
    503, "overloaded", "The router is at its limit; try again.", retry_after=1
)
TOO_MANY_CONNECTIONS: Final = RouterError(
    429,
    "too_many_connections",
    "The requests and connections of this client address already hold its share of the router; try"
    " again when some of them have ended.",
    retry_after=1,
)

RESERVED_BYTES = 16384
"""The longest body that is charged when it is declared; a longer one is charged as it arrives."""

_IPV6_PREFIX_BYTES = 8


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What all unfinished requests may hold, and what those of one client address may.

    ``descriptors`` are those of the process: one for each connection of a client, and one for each
    unfinished request, which has a connection to the upstream.
    """

    requests: float = inf
    body_bytes: float = inf
    client_requests: float = inf
    client_bytes: float = inf
    client_descriptors: float = inf

    @classmethod
    def shared(
        cls, requests: int, body_bytes: int, descriptors: float, share: float, largest_body: int
    ) -> ResourceLimits:
        """Return the limits with a ``share`` of them for each address; 1 means no limit.

        One request with a body of ``largest_body`` is always within the share.
        """

        def of(total: float, least: int) -> float:
            most = total if total == inf else max(least, int(total * share))
            return most if most < total else inf

        return cls(
            requests, body_bytes, of(requests, 1), of(body_bytes, largest_body), of(descriptors, 2)
        )


class ClientUsage:
    """What one client address holds; ``key`` is None for a client without address or limit."""

    __slots__ = ("connections", "held_bytes", "key", "requests")

    def __init__(self, key: str | bytes | None) -> None:
        self.key = key
        self.connections = self.requests = self.held_bytes = 0


class ResourceLedger:
    """What all requests hold together, and a table of what each address does."""

    __slots__ = ("clients", "held_bytes", "limits", "requests", "trust")

    def __init__(self, limits: ResourceLimits | None = None, trust: Trust | None = None) -> None:
        """Without ``limits`` nothing is refused; without ``trust`` no peer is a trusted proxy."""
        self.limits = ResourceLimits() if limits is None else limits
        self.trust = Trust() if trust is None else trust
        self.requests = self.held_bytes = 0
        self.clients: dict[str | bytes, ClientUsage] = {}

    def configure(self, limits: ResourceLimits, trust: Trust) -> None:
        """Use these for later requests and connections."""
        self.limits = limits
        self.trust = trust

    def usage_of(self, peer: str, named: Named) -> ClientUsage:
        """Return what the client address of a request holds (contract §5); it may be new."""
        forwarded = [value.decode("latin-1") for value in named.get(b"x-forwarded-for", ())]
        address = client_address(peer, forwarded, self.trust)
        if self.trust.enabled and is_trusted(address, self.trust):
            return ClientUsage(None)
        key = _key(address)
        if key is None:
            return ClientUsage(None)
        usage = self.clients.get(key)
        if usage is None:
            usage = self.clients[key] = ClientUsage(key)
        return usage

    def forget(self, usage: ClientUsage) -> None:
        """Remove an address from the table if it holds nothing any more."""
        if usage.key is not None and not (usage.connections or usage.requests or usage.held_bytes):
            self.clients.pop(usage.key, None)


class Charge(Struct, gc=False):
    """What the ledger has charged one request with; ``counted``: with a place, too.

    ``held_bytes`` are those of its body, and of a response that is held until its commit point.
    """

    ledger: ResourceLedger
    usage: ClientUsage
    counted: bool = False
    held_bytes: int = 0

    def __repr__(self) -> str:
        return f"Charge(held_bytes={self.held_bytes})"

    def grow(self, size: int) -> RouterError | None:
        """Charge more bytes of a body that arrives, or return the error if they do not fit."""
        ledger, usage = self.ledger, self.usage
        limits = ledger.limits
        if usage.key is not None and usage.held_bytes + size > limits.client_bytes:
            return TOO_MANY_CONNECTIONS
        if ledger.held_bytes + size > limits.body_bytes:
            return OVERLOADED
        self.hold(size)
        return None

    def hold(self, size: int) -> None:
        """Charge bytes that are held in any case; a negative ``size`` releases some."""
        self.held_bytes += size
        self.usage.held_bytes += size
        self.ledger.held_bytes += size

    def release(self) -> None:
        """Release everything, as the request has ended; a second call has no effect."""
        ledger, usage, held = self.ledger, self.usage, self.held_bytes
        if held:
            self.held_bytes = 0
            usage.held_bytes -= held
            ledger.held_bytes -= held
        if self.counted:
            self.counted = False
            usage.requests -= 1
            ledger.requests -= 1
        if not usage.connections:
            ledger.forget(usage)


class Admission:
    """Admits the requests of one client connection, and charges them.

    ``charge`` is that of the request that is arriving. ``excess``: with this connection its address
    has more than its share of descriptors, so that none of its requests is admitted. ``unsent``:
    the bytes of responses that are charged because the client has not taken them.
    """

    __slots__ = ("_ledger", "_peer", "_usage", "charge", "excess", "unsent")

    def __init__(self, ledger: ResourceLedger, peer: str, *, connected: bool = True) -> None:
        """``connected``: the connection counts, unless it is a trusted proxy's."""
        self._ledger = ledger
        self._peer = peer
        self._usage: ClientUsage | None = None
        self.charge: Charge | None = None
        self.excess = False
        self.unsent = 0
        if connected and not (ledger.trust.enabled and is_trusted(peer, ledger.trust)):
            self._usage = usage = ledger.usage_of(peer, {})
            usage.connections += 1
            taken = usage.connections + usage.requests
            self.excess = usage.key is not None and taken > ledger.limits.client_descriptors

    def admit(self, named: Named, length: int) -> RouterError | None:
        """Charge a request that takes a place, or return the error if it must not have one.

        ``length`` is that of its body, 0 if it is unknown. The bytes of a long body are charged as
        they arrive, so that declaring many of them costs other clients nothing.
        """
        if self.excess:
            return TOO_MANY_CONNECTIONS
        ledger, usage = self._ledger, self._usage
        limits = ledger.limits
        if usage is None:  # a trusted proxy, whose requests are those of many addresses
            usage = ledger.usage_of(self._peer, named)
        if usage.key is not None and (
            usage.requests >= limits.client_requests
            or usage.held_bytes + length > limits.client_bytes
            or usage.connections + usage.requests >= limits.client_descriptors
        ):
            ledger.forget(usage)
            return TOO_MANY_CONNECTIONS
        if ledger.requests >= limits.requests or ledger.held_bytes + length > limits.body_bytes:
            ledger.forget(usage)
            return OVERLOADED
        if length > RESERVED_BYTES:
            length = 0
        usage.requests += 1
        usage.held_bytes += length
        ledger.requests += 1
        ledger.held_bytes += length
        self.charge = Charge(ledger, usage, True, length)
        return None

    def grow(self, body_read: int) -> RouterError | None:
        """Charge the bytes of the arriving body, or return the error if they do not fit."""
        charge = self.charge
        if charge is None:  # of a request that takes no place
            usage = ClientUsage(None) if self._usage is None else self._usage
            charge = self.charge = Charge(self._ledger, usage)
        more = body_read - charge.held_bytes
        return charge.grow(more) if more > 0 else None

    def drop(self) -> None:
        """Release the charge of the request that is arriving, because it will not be handled."""
        charge, self.charge = self.charge, None
        if charge is not None:
            charge.release()

    def hold_unsent(self, size: int) -> None:
        """Charge the bytes that the client has not taken, in place of those charged before.

        They are held in any case. A trusted proxy has no share of its own.
        """
        more, self.unsent = size - self.unsent, size
        self._ledger.held_bytes += more
        if self._usage is not None:
            self._usage.held_bytes += more

    def close(self) -> None:
        """Release the connection, with all that is charged to it."""
        self.drop()
        self.hold_unsent(0)
        usage, self._usage = self._usage, None
        if usage is not None:
            usage.connections -= 1
            self._ledger.forget(usage)


def _key(address: str) -> str | bytes | None:
    """Return the key of an address in the table; None if the text is not an address.

    A client with IPv6 has a /64 of them at least.
    """
    if ":" not in address:
        return address if "." in address else None
    try:
        return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:_IPV6_PREFIX_BYTES]
    except OSError:
        return None
