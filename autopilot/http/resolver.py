"""Name lookups that keep waiting nobody but those who asked for the name.

A lookup blocks its thread for as long as the name's servers are silent, and cannot be interrupted.
Twisted makes one for each connection, in ten threads for all names, and waits for those threads
when the process ends. So one silent name would soon stop the lookups of all others, and the end.
Here a name is looked up once at a time, whoever asks for it, and its thread ends with the process.
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

_KINDS: dict[int, type[IPv4Address] | type[IPv6Address]] = {
    socket.AF_INET: IPv4Address,
    socket.AF_INET6: IPv6Address,
}


def share_lookups(reactor: Any) -> None:
    """Look names up in this way on `reactor`, which is the process's own."""
    reactor.installNameResolver(SharedResolver(reactor))


@implementer(IHostnameResolver)
class SharedResolver:
    """Asks the system's resolver for a name and a port, with one thread for each that is asked."""

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
        """See `IHostnameResolver`; only what endpoints ask for is known: TCP, any kind."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        asked = hostName, portNumber
        waiting = self._waiting.setdefault(asked, [])
        waiting.append(resolutionReceiver)
        if len(waiting) == 1:
            Thread(target=self._look_up, args=(asked,), daemon=True).start()
        return resolution

    def _look_up(self, asked: tuple[str, int]) -> None:
        """In a thread: ask, and hand over what is found; a name without an address has none."""
        found: list[Any] = []
        try:
            found = socket.getaddrinfo(*asked, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            pass
        finally:
            self._reactor.callFromThread(self._deliver, asked, found)

    def _deliver(self, asked: tuple[str, int], found: list[Any]) -> None:
        for receiver in self._waiting.pop(asked):
            for family, _, _, _, address in found:
                if family in _KINDS:
                    receiver.addressResolved(_KINDS[family]("TCP", *address))
            receiver.resolutionComplete()


@implementer(IHostResolution)
class _Resolution:
    """A lookup under way."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """See `IHostResolution`; there is no way to."""
        raise NotImplementedError
