"""Pool of keep-alive connections to the upstream, opened over Twisted endpoints.

It is a cache, not a limit: without an idle connection a call opens one instead of waiting. Idle
connections are kept for less time than servers keep theirs, and the newest is used first, so that a
call seldom meets a connection that the server is just closing (RFC 9112 §9.3.1).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from typing import Protocol as Shape
from urllib.parse import urlsplit

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.endpoints import _WrappingProtocol
from twisted.internet.error import ConnectionRefusedError as ConnectRefused
from twisted.internet.error import DNSLookupError, SSLError, TCPTimedOutError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import Factory

from autopilot.http.connect_proxy import ProxyError
from autopilot.http.forward_proxy import DIRECT, ForwardProxy, ProxyRules
from autopilot.http.timers import Deadline
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.connection import Connection, ForwardedConnection, innermost
from autopilot.upstream.types import UpstreamCall, UpstreamError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime, IStreamClientEndpoint
    from twisted.python.failure import Failure

# Why no connection could be opened; any other exception is a `CONNECT_ERROR`, such as a network
# without a route, or too few descriptors.
_REASONS: Final[tuple[tuple[tuple[type[BaseException], ...], FailureReason], ...]] = (
    ((ProxyError,), FailureReason.PROXY_ERROR),
    ((DNSLookupError,), FailureReason.DNS_ERROR),
    ((ConnectRefused,), FailureReason.CONNECT_REFUSED),
    ((ConnectTimeout, TCPTimedOutError), FailureReason.CONNECT_TIMEOUT),
    ((SSL.Error, SSLError, VerificationError), FailureReason.TLS_ERROR),
)


# How long the rest of a response that nothing waits for may take (contract §7).
_DRAIN_SECONDS = 2.0


class Origin(NamedTuple):
    """A server, the base path to which a request's path is appended, and the proxy on the way."""

    scheme: str
    host: str
    port: int
    base_path: str = ""
    proxy: ForwardProxy | None = None

    @classmethod
    def of(cls, url: str, rules: ProxyRules = DIRECT) -> Origin:
        """Return the origin of an ``http`` or ``https`` URL that the settings have validated."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        proxy = rules.proxy_of(parts.scheme, host, port)
        return cls(parts.scheme, host, port, parts.path.rstrip("/"), proxy)

    @property
    def secure(self) -> bool:
        """Whether connections use TLS."""
        return self.scheme == "https"

    @property
    def forwarded(self) -> bool:
        """Whether a proxy receives the requests and forwards them, instead of opening a tunnel."""
        return self.proxy is not None and not self.secure

    @property
    def host_field(self) -> bytes:
        """The ``Host`` value, with the port unless it is the scheme's default (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.secure else 80
        return (host if self.port == default else f"{host}:{self.port}").encode("ascii")


class EndpointMaker(Shape):
    """Makes the endpoint of an origin: through its proxy, with TLS if its scheme is https."""

    def __call__(self, origin: Origin) -> IStreamClientEndpoint:
        """Return the endpoint of ``origin``."""


class Pool:
    """Dispatches calls to connections, and keeps idle connections for later calls.

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
        # The connections that drain, with the time at which each is aborted, the earliest first.
        self._draining: dict[Connection, float] = {}
        self._drain_sweep = Deadline(clock, self._close_undrained)
        self._closed = False

    @property
    def open_connections(self) -> int:
        """The number of connections: busy, idle or still opening."""
        return len(self._open) + sum(1 for each in self._openings if each.connection is None)

    def dispatch(
        self, origin: Origin, call: UpstreamCall, timeout: float, fresh: bool = False
    ) -> None:
        """Send ``call`` to ``origin``, on an idle connection if one exists, unless ``fresh``.

        ``timeout`` limits the opening of a connection (name look-up, TCP, the proxy's tunnel and
        TLS), in seconds.
        """
        server = self._servers.get(origin)
        if server is None:
            server = self._servers[origin] = _Server(self)
        idle = server.connections
        while idle and not fresh:
            connection, _ = idle.popitem()  # the newest
            self._idle_count -= 1
            if not connection.closing:
                connection.carry(call, True)
                return
        self._open_for(origin, server, call, timeout)

    def close(self) -> None:
        """Close every connection, also those being opened; later ones close after their call."""
        self._closed = True
        self._sweep.clear()
        self._drain_sweep.clear()
        for opening in list(self._openings):
            opening.abort()
        for connection in list(self._open):
            connection.abort()

    def _open_for(
        self, origin: Origin, server: _Server, call: UpstreamCall, timeout: float
    ) -> None:
        proxied = origin.proxy is not None
        opening = _Opening(self._clock, call, server, proxied, self._openings.discard)
        self._openings.add(opening)
        kind = ForwardedConnection if origin.forwarded else Connection

        def build() -> Connection:
            connection = opening.connection = kind(origin.secure, opening)
            self._open.add(connection)
            return connection

        opening.start(self._endpoint(origin), _ConnectionFactory(build), timeout)

    def forget(self, server: _Server, connection: Connection) -> None:
        """Remove a closed connection."""
        self._open.discard(connection)
        if self._draining:
            self.drained(connection)
        if server.connections.pop(connection, None) is not None:
            self._idle_count -= 1
            if self._idle_count == 0:
                self._sweep.clear()

    def drain(self, connection: Connection) -> None:
        """Abort ``connection`` unless it becomes idle in time."""
        if self._closed:
            connection.abort()
            return
        self._draining[connection] = due = self._clock.seconds() + _DRAIN_SECONDS
        if self._drain_sweep.due == inf:
            self._drain_sweep.set_at(due)

    def drained(self, connection: Connection) -> None:
        """Note that a connection no longer drains, if it did."""
        if self._draining.pop(connection, None) is not None and not self._draining:
            self._drain_sweep.clear()

    def _close_undrained(self) -> None:
        """Abort the connections that have drained for too long."""
        now = self._clock.seconds()
        for connection, due in list(self._draining.items()):
            if due > now:
                self._drain_sweep.set_at(due)
                break
            del self._draining[connection]
            connection.abort()

    def _close_expired(self) -> None:
        """Close connections idle for too long; those of a server are ordered by age."""
        now = self._clock.seconds()
        oldest: float | None = None
        for server in self._servers.values():
            idle = server.connections
            while idle:
                connection, since = next(iter(idle.items()))
                if since + self._idle_seconds > now:
                    oldest = since if oldest is None else min(oldest, since)
                    break
                # Removed at once: its loss is reported only in a later turn of the reactor.
                del idle[connection]
                self._idle_count -= 1
                connection.abort()
        if oldest is not None:
            self._sweep.set(oldest + self._idle_seconds - now)


class _Server:
    """The idle connections to one origin, oldest first; the owner of its open connections."""

    __slots__ = ("_pool", "connections")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.connections: dict[Connection, float] = {}

    def ready(self, connection: Connection) -> None:
        """See `Owner`; the opening handles it."""

    def idle(self, connection: Connection) -> None:
        """See `Owner`: keep the connection for the next call, or close it."""
        pool = self._pool
        if pool._draining:
            pool.drained(connection)
        if pool._closed or pool._idle_count >= pool._size or pool._idle_seconds <= 0:
            connection.abort()
            return
        self.connections[connection] = pool._clock.seconds()
        pool._idle_count += 1
        if pool._sweep.due == inf:
            pool._sweep.set(pool._idle_seconds)

    def draining(self, connection: Connection) -> None:
        """See `Owner`."""
        self._pool.drain(connection)

    def lost(self, connection: Connection) -> None:
        """See `Owner`."""
        self._pool.forget(self, connection)


class _Opening:
    """The opening of a connection for one call, until the end of the TLS handshake.

    Until then it owns the connection, and is the transport of the call.
    """

    def __init__(
        self,
        clock: IReactorTime,
        call: UpstreamCall,
        server: _Server,
        proxied: bool,
        ended: Callable[[_Opening], None],
    ) -> None:
        self._server = server
        self.connection: Connection | None = None
        self._call: UpstreamCall | None = call
        self._proxied = proxied
        self._ended = ended
        self._deadline = Deadline(clock, self._expired)
        self._connecting: Deferred[IProtocol] | None = None
        call.transport = self

    def start(self, endpoint: IStreamClientEndpoint, factory: Factory, timeout: float) -> None:
        """Start opening the connection, in at most ``timeout`` seconds."""
        self._deadline.set(timeout)
        try:
            self._connecting = connecting = endpoint.connect(factory)
        except BaseException:
            self._detach()
            raise
        connecting.addCallbacks(self._connected, self._failed)

    def ready(self, connection: Connection) -> None:
        """See `Owner`: give the connection to the server, and send the call on it."""
        connection.owner = self._server
        call = self._detach()
        if call is None:
            connection.abort()
        else:
            connection.carry(call, reused=False)

    def idle(self, connection: Connection) -> None:
        """See `Owner`; never called, because the connection has not carried a call."""

    def draining(self, connection: Connection) -> None:
        """See `Owner`; never called, because the connection has not carried a call."""

    def lost(self, connection: Connection) -> None:
        """See `Owner`: the connection closed before it was ready, so the call fails.

        Without TLS it is ready as soon as it exists, so this was the handshake, or the certificate.
        """
        self._server.lost(connection)
        self._fail(FailureReason.TLS_ERROR)

    def abort(self) -> None:
        """See `Transport`: stop opening the connection."""
        if self._detach() is not None:
            self._stop()

    drain = abort

    def pause(self) -> None:
        """See `Transport`; nothing is read before the connection is ready."""

    resume = pause

    def _connected(self, _: object) -> None:
        self._connecting = None
        # Twisted's endpoints wrap the protocol, TLS or the connection itself, to learn that it
        # connected. Bypass the wrapper now: it would cost a call for each read.
        connection = self.connection
        transport: Any = None if connection is None else innermost(connection.transport)
        wrapper = getattr(transport, "protocol", None)
        if isinstance(wrapper, _WrappingProtocol):
            transport.protocol = wrapper._wrappedProtocol

    def _failed(self, failure: Failure) -> None:
        # The look-up, the connection or TLS failed, or `_stop` cancelled it. Only the reason is
        # kept, because the failure's text may hold addresses.
        self._connecting = None
        for types, reason in _REASONS:
            if failure.check(*types):
                self._fail(reason)
                return
        self._fail(FailureReason.CONNECT_ERROR)

    def _expired(self) -> None:
        # Behind a proxy the connection exists when its tunnel is open, and only TLS is left to do.
        late = self._proxied and self.connection is None
        self._fail(FailureReason.PROXY_ERROR if late else FailureReason.CONNECT_TIMEOUT)

    def _fail(self, reason: FailureReason) -> None:
        call = self._detach()
        if call is not None:
            self._stop()
            call.transport = None
            call.handler.broken(UpstreamError(reason))

    def _detach(self) -> UpstreamCall | None:
        """End the opening, and return its call, which it no longer carries."""
        self._deadline.close()  # breaks the reference cycle with this opening
        self._ended(self)
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
