"""The upstream pool: keep-alive connections by origin, opened over Twisted endpoints.

It is a cache, not a limit: a call never waits for a connection to become idle. Idle connections are
kept for less time than servers keep theirs, and the newest is used first, so that a call seldom
meets a connection that the server is just closing.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple
from typing import Protocol as Shape
from urllib.parse import urlsplit

from twisted.internet.endpoints import _WrappingProtocol
from twisted.internet.protocol import Factory

from autopilot.http.timers import Deadline
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.connection import Connection
from autopilot.upstream.types import UpstreamCall, UpstreamError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime, IStreamClientEndpoint
    from twisted.python.failure import Failure


class Origin(NamedTuple):
    """Where calls go: scheme, host, port and the path every request path is appended to."""

    scheme: str
    host: str
    port: int
    base_path: str = ""

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of an ``http`` or ``https`` URL that configuration has checked."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        return cls(
            parts.scheme,
            parts.hostname or "",
            parts.port or (443 if secure else 80),
            parts.path.rstrip("/"),
        )

    @property
    def secure(self) -> bool:
        """Whether the way there is TLS."""
        return self.scheme == "https"

    @property
    def host_field(self) -> bytes:
        """The ``Host`` field: with the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.secure else 80
        return (host if self.port == default else f"{host}:{self.port}").encode("ascii")


class EndpointMaker(Shape):
    """Makes the endpoint to an origin, with TLS around it where the origin asks for it."""

    def __call__(self, origin: Origin) -> IStreamClientEndpoint:
        """Return the endpoint to ``origin``."""


class Pool:
    """Keep-alive connections by origin.

    ``size`` bounds the idle connections kept for all origins together; ``idle`` is in seconds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: EndpointMaker,
        *,
        size: int,
        idle: float,
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._size = size
        self._idle_seconds = idle
        self._servers: dict[Origin, _Server] = {}
        self._idle_count = 0
        self._open: set[Connection] = set()
        self._openings: set[_Opening] = set()
        self._sweep = Deadline(clock, self._close_expired)
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Connections that exist, busy, idle or still opening."""
        return len(self._open) + sum(1 for each in self._openings if each.connection is None)

    def dispatch(
        self, origin: Origin, call: UpstreamCall, *, fresh: bool = False, timeout: float
    ) -> None:
        """Send ``call`` to ``origin``, on an idle connection if there is one and not ``fresh``.

        ``timeout``: seconds for opening a connection: name lookup, TCP and the TLS handshake.
        """
        server = self._servers.get(origin)
        if server is None:
            server = self._servers[origin] = _Server(self)
        idle = server.connections
        while idle and not fresh:
            connection, _ = idle.popitem()
            self._idle_count -= 1
            if not connection.closing:
                connection.carry(call, reused=True)
                return
        self._open_for(origin, server, call, timeout)

    def close(self) -> None:
        """Close every connection, opening ones too; those made later are closed after use."""
        self._closed = True
        self._sweep.clear()
        for opening in list(self._openings):
            opening.abort()
        for connection in list(self._open):
            connection.abort()

    def _open_for(
        self, origin: Origin, server: _Server, call: UpstreamCall, timeout: float
    ) -> None:
        opening = _Opening(self._clock, call, server, self._openings.discard)
        self._openings.add(opening)

        def build() -> Connection:
            connection = opening.connection = Connection(origin.secure, opening)
            self._open.add(connection)
            return connection

        opening.start(self._endpoint(origin), _ConnectionFactory(build), timeout)

    def forget(self, server: _Server, connection: Connection) -> None:
        """Drop a connection that is gone."""
        self._open.discard(connection)
        if server.connections.pop(connection, None) is not None:
            self._idle_count -= 1
            if self._idle_count == 0:
                self._sweep.clear()

    def _close_expired(self) -> None:
        """Close what has been idle too long; each server's connections are ordered by age."""
        now = self._clock.seconds()
        oldest: float | None = None
        for server in self._servers.values():
            idle = server.connections
            while idle:
                connection, since = next(iter(idle.items()))
                if since + self._idle_seconds > now:
                    oldest = since if oldest is None else min(oldest, since)
                    break
                # Out of the table at once: it is lost only in a later turn of the reactor.
                del idle[connection]
                self._idle_count -= 1
                connection.abort()
        if oldest is not None:
            self._sweep.set(oldest + self._idle_seconds - now)


class _Server:
    """The idle connections to one origin, oldest first, and the owner of those that were opened."""

    __slots__ = ("_pool", "connections")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.connections: dict[Connection, float] = {}

    def ready(self, connection: Connection) -> None:
        """See `Owner`; reported to the opening."""

    def idle(self, connection: Connection) -> None:
        """See `Owner`: keep the connection for the next call, or close it."""
        pool = self._pool
        if pool._closed or pool._idle_count >= pool._size or pool._idle_seconds <= 0:
            connection.abort()
            return
        self.connections[connection] = pool._clock.seconds()
        pool._idle_count += 1
        if pool._sweep.due == inf:
            pool._sweep.set(pool._idle_seconds)

    def lost(self, connection: Connection) -> None:
        """See `Owner`."""
        self._pool.forget(self, connection)


class _Opening:
    """One connection being opened for one call: from the endpoint to the handshake's end.

    Until then it owns the connection, and stands in for it as the call's transport.
    """

    def __init__(
        self,
        clock: IReactorTime,
        call: UpstreamCall,
        server: _Server,
        over: Callable[[_Opening], None],
    ) -> None:
        self._server = server
        self.connection: Connection | None = None
        self._call: UpstreamCall | None = call
        self._over = over
        self._deadline = Deadline(clock, self._expired)
        self._connecting: Deferred[IProtocol] | None = None
        call.transport = self

    def start(self, endpoint: IStreamClientEndpoint, factory: Factory, timeout: float) -> None:
        """Open the connection, in at most ``timeout`` seconds."""
        self._deadline.set(timeout)
        try:
            self._connecting = connecting = endpoint.connect(factory)
        except BaseException:
            self._leave()
            raise
        connecting.addCallbacks(self._connected, self._failed)

    def ready(self, connection: Connection) -> None:
        """See `Owner`: the connection may carry the call now."""
        connection.owner = self._server
        call = self._leave()
        if call is None:
            connection.abort()
        else:
            connection.carry(call, reused=False)

    def idle(self, connection: Connection) -> None:
        """See `Owner`; a connection that was never ready is never idle."""

    def lost(self, connection: Connection) -> None:
        """See `Owner`: the connection closed before it was ready."""
        self._server.lost(connection)
        self._fail(FailureReason.CONNECT_ERROR)

    def abort(self) -> None:
        """The connection is no longer wanted."""
        if self._leave() is not None:
            self._stop()

    def pause(self) -> None:
        """Nothing is read before there is a connection."""

    resume = pause

    def _connected(self, _: object) -> None:
        self._connecting = None
        # Twisted's endpoints put a wrapper around the protocol until this moment, which from now on
        # would only cost a call for each read.
        connection = self.connection
        transport: Any = None if connection is None else connection.transport
        if isinstance(getattr(transport, "protocol", None), _WrappingProtocol):
            transport.protocol = connection

    def _failed(self, _: Failure) -> None:
        # Lookup, refusal, TLS or our own cancellation: there is no connection. The failure's text
        # may hold addresses, so it is dropped.
        self._connecting = None
        self._fail(FailureReason.CONNECT_ERROR)

    def _expired(self) -> None:
        self._fail(FailureReason.CONNECT_TIMEOUT)

    def _fail(self, reason: FailureReason) -> None:
        call = self._leave()
        if call is not None:
            self._stop()
            call.transport = None
            call.handler.broken(UpstreamError(reason))

    def _leave(self) -> UpstreamCall | None:
        self._deadline.close()  # it refers to this opening in turn
        self._over(self)
        call, self._call = self._call, None
        return call

    def _stop(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self.connection is not None and self.connection.transport is not None:
            self.connection.abort()


class _ConnectionFactory(Factory):
    noisy = False

    def __init__(self, build: Callable[[], Connection]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        return self._build()
