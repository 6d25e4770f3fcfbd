"""Where a site is listened for: an address of the settings, or a socket that was passed."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred

from autopilot.web.accept_backoff import rest_when_exhausted

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

    from autopilot.web.site import AutopilotSite

BACKLOG = 1024
"""Connections that wait to be accepted, where the system allows as many."""


class Listener:
    """An address to listen on, and the site there; ``port`` while it is listened on."""

    shared = False
    """Whether others hold the socket too, so that its queue outlives this process."""

    def __init__(self, reactor: Any, host: str, port: int, site: AutopilotSite) -> None:
        self._reactor = reactor
        self._address = host, port
        self.site = site
        self.port: IListeningPort | None = None

    def open(self) -> None:
        """Listen, and raise at once if that fails; an endpoint would tell it to nobody."""
        if self.port is None:
            self.port = self._listen()
            rest_when_exhausted(self.port, self._reactor)

    def close(self) -> Deferred[Any]:
        """Accept no more connections; those that exist stay."""
        port, self.port = self.port, None
        return maybeDeferred(port.stopListening if port is not None else _nothing)

    def _listen(self) -> IListeningPort:
        host, port = self._address
        bound: IListeningPort = self._reactor.listenTCP(port, self.site, BACKLOG, host)
        return bound


class PassedListener(Listener):
    """A listening socket that was passed by a service manager, which keeps it open."""

    shared = True

    def __init__(
        self, reactor: Any, descriptor: int, family: socket.AddressFamily, site: AutopilotSite
    ) -> None:
        super().__init__(reactor, "", 0, site)
        self._descriptor = descriptor
        self._family = family

    def _listen(self) -> IListeningPort:
        os.set_blocking(self._descriptor, False)
        adopted: IListeningPort = self._reactor.adoptStreamPort(
            self._descriptor, self._family, self.site
        )
        # The port has a duplicate. This one would keep the socket after the port is closed.
        os.close(self._descriptor)
        return adopted


def _nothing() -> None:
    pass
