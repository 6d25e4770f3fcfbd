"""The upstream pool: keep-alive connections by origin, opened over Twisted endpoints.

It is a cache, not a limit: a call never waits for a connection to come free. Idle connections are
kept for less time than servers keep theirs, and used newest first, so that a call seldom meets a
connection that the server is just closing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple
from typing import Protocol as Shape
from urllib.parse import urlsplit

from twisted.internet.protocol import Factory

from autopilot.http.timers import Deadline
from autopilot.routing.retry_policy import CONNECT_ERROR, CONNECT_TIMEOUT
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
    """Opens the way to an origin; TLS, where the origin asks for it, is already around it."""

    def __call__(self, origin: Origin) -> IStreamClientEndpoint:
        """The endpoint to ``origin``."""


class Pool:
    """Keep-alive connections by origin.

    ``size`` bounds the idle connections kept for all origins together; ``idle`` and
    ``connect_timeout`` are seconds. The connect timeout covers name lookup, TCP and the TLS
    handshake.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: EndpointMaker,
        *,
        size: int,
        idle: float,
        connect_timeout: float,
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._size = size
        self._idle_seconds = idle
        self.connect_timeout = connect_timeout
        self._idle: dict[Origin, dict[Connection, float]] = {}
        self._idle_count = 0
        self._open: set[Connection] = set()
        self._dials: set[_Dial] = set()
        self._sweep = Deadline(clock, self._close_expired)
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Connections that exist, busy, idle or still opening."""
        return len(self._open) + sum(1 for dial in self._dials if dial.connection is None)

    def dispatch(
        self,
        origin: Origin,
        call: UpstreamCall,
        *,
        fresh: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Send ``call`` to ``origin``, on an idle connection if there is one and not ``fresh``.

        ``timeout`` is there for calls that began under another connect timeout.
        """
        connection = None if fresh else self._take(origin)
        if connection is not None:
            connection.carry(call, reused=True)
            return
        dial = _Dial(self._clock, call, self._dials.discard)
        self._dials.add(dial)
        if timeout is None:
            timeout = self.connect_timeout
        dial.start(self._endpoint(origin), self._factory(origin, dial), timeout)

    def close(self) -> None:
        """Close every connection, opening ones too; those made later are closed after use."""
        self._closed = True
        self._sweep.clear()
        for dial in list(self._dials):
            dial.abort()
        for connection in list(self._open):
            connection.abort()

    def _factory(self, origin: Origin, dial: _Dial) -> Factory:
        def build() -> Connection:
            connection = Connection(
                origin.secure,
                ready=dial.ready,
                idle=lambda it: self._keep(origin, it),
                lost=lambda it: self._forget(origin, it, dial),
            )
            dial.connection = connection
            self._open.add(connection)
            return connection

        return _ConnectionFactory(build)

    def _take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin, {})
        while idle:
            connection, _ = idle.popitem()
            self._idle_count -= 1
            if not connection.closing:
                return connection
        return None

    def _keep(self, origin: Origin, connection: Connection) -> None:
        if self._closed or self._idle_count >= self._size or self._idle_seconds <= 0:
            connection.abort()
            return
        self._idle.setdefault(origin, {})[connection] = self._clock.seconds()
        self._idle_count += 1
        if self._idle_count == 1:
            self._sweep.set(self._idle_seconds)

    def _forget(self, origin: Origin, connection: Connection, dial: _Dial) -> None:
        self._open.discard(connection)
        if self._idle.get(origin, {}).pop(connection, None) is not None:
            self._idle_count -= 1
            if self._idle_count == 0:
                self._sweep.clear()
        dial.lost()

    def _close_expired(self) -> None:
        """Close what has been idle too long; each origin's connections lie oldest first."""
        now = self._clock.seconds()
        oldest: float | None = None
        for idle in self._idle.values():
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


class _Dial:
    """One connection being opened for one call: from the endpoint to the handshake's end."""

    def __init__(
        self, clock: IReactorTime, call: UpstreamCall, over: Callable[[_Dial], None]
    ) -> None:
        self.connection: Connection | None = None
        self._call: UpstreamCall | None = call
        self._over = over
        self._deadline = Deadline(clock, self._expired)
        self._connecting: Deferred[IProtocol] | None = None
        call.carrier = self

    def start(self, endpoint: IStreamClientEndpoint, factory: Factory, timeout: float) -> None:
        """Open the connection, in at most ``timeout`` seconds."""
        self._deadline.set(timeout)
        self._connecting = connecting = endpoint.connect(factory)
        connecting.addCallbacks(self._connected, self._failed)

    def ready(self, connection: Connection) -> None:
        """The connection may carry the call now."""
        call = self._leave()
        if call is None:
            connection.abort()
        else:
            connection.carry(call, reused=False)

    def lost(self) -> None:
        """The connection closed; that matters only while it was not ready yet."""
        self._fail(CONNECT_ERROR)

    def abort(self) -> None:
        """Nobody wants the connection any more."""
        if self._leave() is not None:
            self._stop()

    def pause(self) -> None:
        """Nothing is read before there is a connection."""

    resume = pause

    def _connected(self, _: object) -> None:
        self._connecting = None

    def _failed(self, _: Failure) -> None:
        # Whatever it was (lookup, refusal, TLS, our own cancellation), there is no connection. Its
        # text may hold addresses, so it goes nowhere.
        self._connecting = None
        self._fail(CONNECT_ERROR)

    def _expired(self) -> None:
        self._fail(CONNECT_TIMEOUT)

    def _fail(self, reason: str) -> None:
        call = self._leave()
        if call is not None:
            self._stop()
            call.carrier = None
            call.receiver.broken(UpstreamError(reason))

    def _leave(self) -> UpstreamCall | None:
        self._deadline.clear()
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
