"""Host-name resolution in which a slow name delays only connections to that name.

A call of getaddrinfo(3) blocks its thread while the name servers do not respond, and cannot be
interrupted. Twisted makes one call per connection, in a pool of ten threads for all names, and
joins those threads when the process ends. One unresponsive name would soon block every other
lookup, and the shutdown. Here concurrent connections share one lookup per name, each lookup has its
own thread, and that thread does not outlive the process.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from threading import Thread
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer

_ADDRESS_TYPES: dict[int, type[IPv4Address] | type[IPv6Address]] = {
    socket.AF_INET: IPv4Address,
    socket.AF_INET6: IPv6Address,
}


def share_lookups(reactor: Any) -> None:
    """Install this resolver on `reactor`, which must belong to the router's own process."""
    reactor.installNameResolver(SharedResolver(reactor))


@implementer(IHostnameResolver)
class SharedResolver:
    """Calls getaddrinfo(3) in a thread of its own for each name and port in demand."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: dict[tuple[str, int], list[IResolutionReceiver]] = {}

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        """See `IHostnameResolver`. Supports what endpoints request: TCP, any address type."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        address = hostName, portNumber
        waiting = self._waiting.setdefault(address, [])
        waiting.append(resolutionReceiver)
        if len(waiting) == 1:
            # A daemon thread: a lookup that never returns must not keep the process alive.
            Thread(target=self._look_up, args=(address,), daemon=True).start()
        return resolution

    def _look_up(self, address: tuple[str, int]) -> None:
        """Resolve in a thread; a failed lookup delivers no addresses."""
        found: list[Any] = []
        try:
            found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            pass
        finally:
            self._reactor.callFromThread(self._deliver, address, found)

    def _deliver(self, key: tuple[str, int], found: list[Any]) -> None:
        """Pass the addresses to every waiting connection, in the reactor's thread."""
        for receiver in self._waiting.pop(key):
            for family, _, _, _, address in found:
                if family in _ADDRESS_TYPES:
                    receiver.addressResolved(_ADDRESS_TYPES[family]("TCP", *address))
            receiver.resolutionComplete()


@implementer(IHostResolution)
class _Resolution:
    """A lookup in progress."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """See `IHostResolution`. A call of getaddrinfo(3) cannot be cancelled."""
        raise NotImplementedError
