"""Tests that an abandoned fetch aborts its connection: on real sockets, over TCP and TLS.

Fakes cannot show this. The transport of a body protocol has no `abortConnection`, and over TLS an
orderly close waits for the peer, which never responds here. The server consists of plain sockets
and the standard library's TLS, driven by the test; the client runs on a reactor of its own.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable

import trustme
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI, Agent
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from autopilot.http.fetch import Fetcher
from autopilot.http.fetch_error import STATUS, TIMEOUT, TOO_LARGE, FetchError

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_ENDLESS = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_PATIENCE = 5.0


@implementer(IAgentEndpointFactory)
class _To:
    """Sends every request to one port of this machine, over TLS if there is an authority."""

    def __init__(self, reactor: SelectReactor, port: int, authority: trustme.CA | None) -> None:
        self._reactor = reactor
        self._port = port
        self._authority = authority

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See `IAgentEndpointFactory`."""
        plain = TCP4ClientEndpoint(self._reactor, "127.0.0.1", self._port)
        if self._authority is None:
            return plain
        root = Certificate.loadPEM(self._authority.cert_pem.bytes())
        trust = trustRootFromCertificates([root])
        return wrapClientTLS(
            optionsForClientTLS("feeds.test", trustRoot=trust), plain, self._reactor
        )


class _Wire:
    """The server's end of one connection. It never closes, and never sends close_notify."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        connection.setblocking(False)
        self.closed = False
        self.received = b""
        self._connection = connection
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        if context is not None:
            self._tls = context.wrap_bio(self._arrived, self._leaving, server_side=True)

    def turn(self) -> None:
        """Read what has arrived and send what is pending."""
        try:
            data = self._connection.recv(65536)
            self.closed = self.closed or not data
        except BlockingIOError:
            data = b""
        except ConnectionResetError:
            self.closed = True
            return
        if self._tls is None:
            self.received += data
            return
        self._arrived.write(data)
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            self.received += self._tls.read(65536)
        self._flush()

    def send(self, data: bytes) -> None:
        """Send a part of the response."""
        if self._tls is not None:
            self._tls.write(data)
            self._flush()
        else:
            self._connection.sendall(data)

    def _flush(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.sendall(self._leaving.read())


class _SocketTestCase(SynchronousTestCase):
    """A fetcher on a reactor of its own, a listening socket, and a clock for the time-out."""

    authority: trustme.CA | None = None

    def setUp(self) -> None:
        """Listen."""
        self.clock = Clock()
        self.reactor = SelectReactor()
        self.addCleanup(self._close_reactor)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.context = self._context()
        to = _To(self.reactor, self.listener.getsockname()[1], self.authority)
        agent = Agent.usingEndpointFactory(self.reactor, to)
        self.fetcher = Fetcher(agent, self.clock, 10.0, max_bytes=100)

    def _context(self) -> ssl.SSLContext | None:
        if self.authority is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("feeds.test").configure_cert(context)
        return context

    def _close_reactor(self) -> None:
        for reader in [*self.reactor.removeAll(), *self.reactor._internalReaders]:
            reader.connectionLost(Failure(ConnectionDone()))

    def fetch(self) -> tuple[Deferred[bytes], _Wire]:
        """Start a fetch; return the server's end once the request has arrived."""
        scheme = "http" if self.authority is None else "https"
        fetched = self.fetcher.get(f"{scheme}://feeds.test/")
        self.listener.settimeout(_PATIENCE)
        self.reactor.iterate(0.01)
        connection, _address = self.listener.accept()
        self.addCleanup(connection.close)
        wire = _Wire(connection, self.context)
        self.until(wire, lambda: b"\r\n\r\n" in wire.received)
        return fetched, wire

    def until(self, wire: _Wire, reached: Callable[[], bool]) -> None:
        """Run both ends until a condition holds, or fail."""
        limit = time.monotonic() + _PATIENCE
        while not reached():
            self.assertLess(time.monotonic(), limit, "nothing happened")
            self.reactor.iterate(0.005)
            wire.turn()

    def settle(self, wire: _Wire) -> None:
        """Let sent bytes arrive."""
        for _ in range(10):
            self.reactor.iterate(0.005)
            wire.turn()

    def assert_aborted(self, fetched: Deferred[bytes], wire: _Wire, outcome: str) -> None:
        """Assert that the fetch failed for this reason and that the server sees the close."""
        error = self.failureResultOf(fetched, FetchError).value
        assert isinstance(error, FetchError)
        self.assertEqual(error.outcome, outcome)
        self.until(wire, lambda: wire.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PlainTests(_SocketTestCase):
    """Over TCP, and over TLS in the class below."""

    def test_whole_body(self) -> None:
        """A fetch from this server can succeed."""
        fetched, wire = self.fetch()
        wire.send(_HEAD + b"Content-Length: 2\r\n\r\n[]")
        self.until(wire, lambda: bool(fetched.called))
        self.assertEqual(self.successResultOf(fetched), b"[]")

    def test_timeout_before_headers(self) -> None:
        """A time-out before the headers closes the connection."""
        fetched, wire = self.fetch()
        self.clock.advance(10.0)
        self.assert_aborted(fetched, wire, TIMEOUT)

    def test_timeout_in_the_body(self) -> None:
        """A time-out within the body closes the connection."""
        fetched, wire = self.fetch()
        wire.send(_ENDLESS + b"1\r\n[\r\n")
        self.settle(wire)
        self.clock.advance(10.0)
        self.assert_aborted(fetched, wire, TIMEOUT)

    def test_too_large_as_counted(self) -> None:
        """A body growing over the limit closes the connection."""
        fetched, wire = self.fetch()
        wire.send(_ENDLESS + b"40\r\n" + b"x" * 64 + b"\r\n")
        self.settle(wire)
        wire.send(b"40\r\n" + b"x" * 64 + b"\r\n")
        self.until(wire, lambda: bool(fetched.called))
        self.assert_aborted(fetched, wire, TOO_LARGE)

    def test_too_large_as_declared(self) -> None:
        """A declared length over the limit closes the connection."""
        fetched, wire = self.fetch()
        wire.send(_HEAD + b"Content-Length: 101\r\n\r\n[")
        self.until(wire, lambda: bool(fetched.called))
        self.assert_aborted(fetched, wire, TOO_LARGE)

    def test_error_status(self) -> None:
        """An endless error response closes the connection."""
        fetched, wire = self.fetch()
        wire.send(_ENDLESS.replace(b"200 OK", b"503 Busy"))
        self.until(wire, lambda: bool(fetched.called))
        self.assert_aborted(fetched, wire, STATUS)

    def test_cancelled_in_the_body(self) -> None:
        """Cancelling within the body closes the connection."""
        fetched, wire = self.fetch()
        wire.send(_ENDLESS)
        self.settle(wire)
        fetched.cancel()
        self.failureResultOf(fetched)
        self.until(wire, lambda: wire.closed)


class TlsTests(PlainTests):
    """The same over TLS, with a server that never sends close_notify."""

    authority = trustme.CA()

    def test_unknown_authority(self) -> None:
        """A certificate of an unknown authority is a TLS failure."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("feeds.test").configure_cert(self.context)
        fetched = self.fetcher.get("https://feeds.test/")
        self.reactor.iterate(0.01)
        connection, _address = self.listener.accept()
        self.addCleanup(connection.close)
        wire = _Wire(connection, self.context)
        with contextlib.suppress(ssl.SSLError):
            self.until(wire, lambda: bool(fetched.called))
        self.settle_client(fetched)
        error = self.failureResultOf(fetched, FetchError).value
        self.assertEqual(str(error), "TLS failed")

    def settle_client(self, fetched: Deferred[bytes]) -> None:
        """Run the client alone until the fetch has ended."""
        limit = time.monotonic() + _PATIENCE
        while not fetched.called:
            self.assertLess(time.monotonic(), limit, "nothing happened")
            self.reactor.iterate(0.005)
