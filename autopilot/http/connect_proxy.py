"""Connections through an HTTP proxy: to the proxy itself, and tunnels opened with CONNECT.

A proxy cannot read a tunnel: the TLS inside is the origin's, verified as on a direct connection.
Every failure of a proxy is a `ProxyError`, whose text contains no address and no credentials.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionRefusedError,
    DNSLookupError,
    TCPTimedOutError,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from zope.interface import implementer

from autopilot.http.forward_proxy import ForwardProxy, address_of

if TYPE_CHECKING:
    from twisted.python.failure import Failure

MAX_HEAD: Final = 64 * 1024
"""Bytes of the response to CONNECT, interim responses included."""

_START: Final = b"HTTP/1."
_END: Final = b"\r\n\r\n"
# RFC 9112 §4 and §5, without obsolete line folding.
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_FIELD_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")

_UNREACHABLE: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    ((DNSLookupError,), "the proxy's name could not be resolved"),
    ((ConnectionRefusedError,), "the proxy refused the connection"),
    ((ConnectTimeout, TCPTimedOutError), "the proxy could not be reached in time"),
)


class ProxyError(Exception):
    """The proxy could not be reached, or did not open the tunnel; the text is safe to show."""


def connect_request(proxy: ForwardProxy, host: str, port: int) -> bytes:
    """Return the request for a tunnel to a server (RFC 9110 §9.3.6)."""
    target = address_of(host, port).encode("ascii")
    return b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (target, target, proxy.field_line)


@implementer(IStreamClientEndpoint)
class ProxyEndpoint:
    """Connects to a proxy over the endpoint ``plain``."""

    def __init__(self, plain: IStreamClientEndpoint) -> None:
        self._plain = plain

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`. Fails with `ProxyError`, unless it is cancelled."""
        connecting: Deferred[IProtocol] = self._plain.connect(protocolFactory)
        return connecting.addErrback(_unreachable)


def _unreachable(failure: Failure) -> Failure:
    if failure.check(CancelledError, ConnectingCancelledError, ProxyError):
        return failure
    for types, text in _UNREACHABLE:
        if failure.check(*types):
            raise ProxyError(text)
    raise ProxyError("the proxy could not be reached")


@implementer(IStreamClientEndpoint)
class ConnectEndpoint:
    """Opens a tunnel with ``request`` over the endpoint of a proxy, and connects through it."""

    def __init__(self, proxy: IStreamClientEndpoint, request: bytes) -> None:
        self._proxy = proxy
        self._request = request

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"  # the request may hold credentials

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`. Fails with `ProxyError`, unless it is cancelled."""
        factory = Factory.forProtocol(_Tunnel)
        factory.noisy = False
        connecting: Deferred[Any] = self._proxy.connect(factory)
        return connecting.addCallback(lambda tunnel: tunnel.open(self._request, protocolFactory))


class _Tunnel(Protocol):
    """A connection to a proxy until its tunnel is open; the inner protocol takes it over then."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._searched = 0
        self._total = 0
        self._factory: IProtocolFactory | None = None
        self._opened: Deferred[IProtocol] | None = None
        self._inner: Any = None

    def open(self, request: bytes, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Send the request. Fires with the inner protocol; cancelling closes the connection."""
        opened: Deferred[IProtocol] = Deferred(lambda _: self._end())
        self._opened, self._factory = opened, factory
        assert self.transport is not None
        self.transport.write(request)
        return opened

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        if self._inner is not None:  # only with a transport that `_hand_over` could not redirect
            self._inner.dataReceived(data)
        elif self._opened is not None:
            self._received += data
            self._total += len(data)
            self._parse()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        else:
            self._fail("the proxy closed the connection before the tunnel was open")

    def _parse(self) -> None:
        """Parse what has arrived, each byte once, up to the end of the final response's head."""
        received = self._received
        while True:
            if not received.startswith(_START[: len(received)]):
                self._fail("the proxy's response to CONNECT is not valid HTTP")
                return
            end = received.find(_END, self._searched)
            behind = len(received) - end - len(_END) if end >= 0 else 0
            if self._total - behind > MAX_HEAD:
                self._fail("the proxy's response to CONNECT is too long")
                return
            if end < 0:
                self._searched = max(0, len(received) - len(_END) + 1)
                return
            head = bytes(received[:end])
            del received[: end + len(_END)]
            self._searched = 0
            status = _status(head)
            if status is None or status == 101:
                self._fail("the proxy's response to CONNECT is not valid HTTP")
                return
            if status >= 200:
                break
        if status >= 300:
            self._fail(f"the proxy responded to CONNECT with status {status}")
        elif received:
            # The router speaks first in the tunnel, so these bytes are not the origin's.
            self._fail("the proxy sent more than a response to CONNECT")
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        """Connect the inner protocol, to which the transport then delivers without this one."""
        opened, self._opened = self._opened, None
        transport: Any = self.transport
        assert opened is not None
        assert self._factory is not None
        try:
            inner: Any = self._factory.buildProtocol(transport.getPeer())
            self._inner = inner
            if hasattr(transport, "protocol"):
                transport.protocol = inner
            inner.makeConnection(transport)
        except Exception:  # noqa: BLE001  the caller's factory may raise anything
            transport.abortConnection()
            opened.errback()
        else:
            opened.callback(inner)

    def _fail(self, text: str) -> None:
        opened = self._opened
        self._end()
        if opened is not None:
            opened.errback(ProxyError(text))

    def _end(self) -> None:
        self._opened = None
        self._received.clear()
        transport: Any = self.transport
        transport.abortConnection()


def _status(head: bytes) -> int | None:
    """Return the status of a response head without its end, or None if it is not valid."""
    first, *fields = head.split(b"\r\n")
    line = _STATUS_LINE.fullmatch(first)
    if line is None or not all(map(_FIELD_LINE.fullmatch, fields)):
        return None
    return int(line[1])
