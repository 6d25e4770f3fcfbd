"""The listening sockets of a site: bound by the router, or passed by a service manager."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError

from autopilot.web.accept_backoff import accept_in_turns, pause_when_exhausted

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IProtocolFactory

    from autopilot.web.site import AutopilotSite

BACKLOG = 1024
"""Connections that may wait to be accepted; the kernel caps it at ``net.core.somaxconn``."""


class Listener:
    """An address to listen on and its site; ``port`` is None unless the listener is open.

    ``factory`` accepts the connections of the site, if it is not the site itself.
    """

    shared = False
    """Whether another process holds the socket too, so that its queue outlives this process."""

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        site: AutopilotSite,
        factory: IProtocolFactory | None = None,
    ) -> None:
        self._reactor = reactor
        self._address = host, port
        self.site = site
        self._factory: IProtocolFactory = site if factory is None else factory
        self.port: IListeningPort | None = None

    def open(self) -> None:
        """Listen. Raises at once if that fails, unlike an endpoint, which fires a Deferred."""
        if self.port is None:
            self.port = self._listen()
            pause_when_exhausted(self.port, self._reactor)
            accept_in_turns(self.port)

    def hand_over(self, accept: Callable[[socket.socket], None]) -> None:
        """Accept nothing more here, but let ``accept`` do it, on a copy of the open socket."""
        port: Any = self.port
        port.stopReading()
        accept(socket.socket(fileno=os.dup(port.fileno())))

    @property
    def address(self) -> tuple[str, int]:
        """The host and port of the open listener."""
        assert self.port is not None
        bound: Any = self.port.getHost()
        return bound.host, bound.port

    def close(self) -> Deferred[Any]:
        """Stop accepting connections; those already open stay open."""
        port, self.port = self.port, None
        return maybeDeferred(port.stopListening if port is not None else _nothing)

    def _listen(self) -> IListeningPort:
        host, port = self._address
        bound: IListeningPort = self._reactor.listenTCP(port, self._factory, BACKLOG, host)
        return bound


class UsualListener(Listener):
    """The address that a listener has if none is given: if it is taken, any free port of its host.

    ``moved`` says that this happened.
    """

    moved = False

    def _listen(self) -> IListeningPort:
        try:
            return super()._listen()
        except CannotListenError:
            self.moved = True
            self._address = self._address[0], 0
            return super()._listen()


class PassedListener(Listener):
    """A listening socket passed by a service manager, which keeps its own copy open."""

    shared = True

    def __init__(
        self,
        reactor: Any,
        descriptor: int,
        family: socket.AddressFamily,
        site: AutopilotSite,
        factory: IProtocolFactory | None = None,
    ) -> None:
        super().__init__(reactor, "", 0, site, factory)
        self._descriptor = descriptor
        self._family = family

    def _listen(self) -> IListeningPort:
        os.set_blocking(self._descriptor, False)
        adopted: IListeningPort = self._reactor.adoptStreamPort(
            self._descriptor, self._family, self._factory
        )
        # adoptStreamPort duplicates the descriptor; the original would keep the socket open after
        # the port has closed.
        os.close(self._descriptor)
        return adopted


def _nothing() -> None:
    pass
