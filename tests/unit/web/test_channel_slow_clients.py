"""Tests of a stream to a client that reads slowly, over real sockets and a clock of the test."""

from __future__ import annotations

import socket
import ssl
import sys
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import trustme
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot.http.resource_ledger import ResourceLimits
from autopilot.http.tls_server import ServerCertificate, TLSServerFactory
from autopilot.web import channel as channel_module
from tests.unit.http.test_immediate_write import Poll
from tests.unit.http.test_tls_server import Client
from tests.unit.relay.routers import TIMEOUTS
from tests.unit.relay.upstreams import SSE, chunk, head, whole
from tests.unit.web.browsers import CHAT, SiteTestCase, ask, request

ADDRESS = IPv4Address("TCP", "127.0.0.1", 1)
_PAUSED = 1 << 16
"""The bytes above which a transport pauses what is written to it."""
_PART = b"data: " + b"x" * 65_000 + b"\n\n"


class SlowClientTestCase(SiteTestCase):
    """A client whose own buffer is small, and which the kernel's buffer hides from the router."""

    if sys.platform != "linux":
        skip = "only Linux tells what is unsent"

    def setUp(self) -> None:
        """Connect a client over TCP, and stream to it until nothing more is taken."""
        super().setUp()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.client = socket.socket()
            self.addCleanup(self.client.close)
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.client.settimeout(10)
            self.client.connect(listening.getsockname())
            ours, _ = listening.accept()
        self.addCleanup(ours.close)
        ours.setblocking(False)
        self.protocol = cast("IProtocol", self.make_site(self.tree()).buildProtocol(None))
        transport: Any = Connection(ours, self.protocol, Poll())  # type: ignore[arg-type]
        transport.connected = 1
        transport.getPeer = transport.getHost = lambda: ADDRESS
        transport.abortConnection = self.aborts
        self.transport = transport
        self.aborted = False
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(request(CHAT, body=ask()))
        self.wire.says(head(200, SSE), chunk(_PART))
        while self.wire.producerState == "producing" or self.drains():
            if self.wire.producerState == "producing":
                self.wire.says(chunk(_PART))
        # Measure again: what the socket took since the pause is not taken in a later interval.
        self.transport.producer.pauseProducing()
        self.clock.advance(0)

    def drains(self) -> bool:
        """Return whether the socket took anything of what the transport holds."""
        transport = self.transport
        before = transport.offset, len(transport.dataBuffer), transport._tempDataLen
        transport.doWrite()
        self.clock.advance(0)
        return before != (transport.offset, len(transport.dataBuffer), transport._tempDataLen)

    def tearDown(self) -> None:
        """Lose the connection; nothing may remain."""
        self.protocol.connectionLost(Failure(ConnectionDone()))
        super().tearDown()

    def aborts(self) -> None:
        """Note that the router has cut the connection."""
        self.aborted = True

    def reads(self, size: int) -> None:
        """Read so many bytes."""
        while size:
            size -= len(self.client.recv(size))

    def idle(self) -> None:
        """Let the longest pause pass, in which a client may read nothing."""
        self.clock.advance(TIMEOUTS.idle)


class SlowClientTests(SlowClientTestCase):
    """The router's own channel."""

    def test_slow(self) -> None:
        """A client that takes a little in each interval is kept, however long that lasts."""
        for _ in range(4):
            self.reads(64 * 1024)
            self.assertEqual(self.wire.producerState, "paused")
            self.idle()
            self.assertFalse(self.aborted)
        self.idle()
        self.assertTrue(self.aborted)
        self.assertEqual([each.outcome for each in self.records], ["client_stalled"])

    def test_stalled(self) -> None:
        """A client that takes nothing is cut after one interval."""
        self.idle()
        self.assertTrue(self.aborted)
        self.assertEqual([each.outcome for each in self.records], ["client_stalled"])


class UnsentTests(SlowClientTestCase):
    """What the transport holds for the client is in the ledger."""

    @property
    def held(self) -> int:
        """The bytes that the transport holds."""
        transport = self.transport
        size: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        return size

    def test_charged(self) -> None:
        """It is charged to the client's address until the socket has taken all of it."""
        charged = self.ledger.held_bytes
        self.assertTrue(_PAUSED < self.held <= charged < 3 * len(_PART), charged)
        self.assertEqual(self.ledger.clients["127.0.0.1"].held_bytes, charged)
        while self.wire.producerState != "producing":
            self.reads(64 * 1024)
            self.drains()
        self.assertEqual((self.ledger.held_bytes, self.held), (0, 0))

    def test_grows(self) -> None:
        """What is written to it further is charged as well, in the next turn."""
        before = self.ledger.held_bytes
        self.transport.write(b"x" * 100_000)
        self.assertEqual(self.ledger.held_bytes, before)
        self.clock.advance(0)
        self.assertEqual(self.ledger.held_bytes, self.held)
        self.assertGreater(self.held, 100_000 + _PAUSED)

    def test_others(self) -> None:
        """While it is held there is less room for others, and none for the same client."""
        own, other = request(CHAT, b"Content-Length: 1000"), "192.0.2.8"
        held = self.ledger.held_bytes
        self.ledger.configure(
            ResourceLimits(body_bytes=held + 1500, client_bytes=held + 500),
            self.ledger.trust,
        )
        for host, status in (("127.0.0.1", 429), (other, None), (other, 503)):
            browser = self.browser(host)
            browser.sends(own)
            self.assertEqual([each.status for each in browser.got], [status] if status else [])


class Wire(StringTransport):
    """A socket's transport, which sends nothing while it is ``full``."""

    dataBuffer, offset, _tempDataLen = b"", 0, 0  # noqa: N815  Twisted's names
    full = False

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        super().write(data)
        if self.full:
            self._tempDataLen += len(data)
            if self.producer is not None and self._tempDataLen > _PAUSED:
                self.producer.pauseProducing()

    def setTcpNoDelay(self, _enabled: bool) -> None:
        """See `ITCPTransport`."""

    def takes_all(self) -> None:
        """Send everything, and signal that."""
        self.full, self._tempDataLen = False, 0
        assert self.producer is not None
        self.producer.resumeProducing()


class TLSTests(SiteTestCase):
    """A client that speaks TLS, whose whole answer waits in the transport."""

    def test_charged(self) -> None:
        """All that follows the pause in the same write is charged, and released at once."""
        authority, folder = trustme.CA(), Path(self.mktemp())
        folder.mkdir()
        issued = authority.issue_cert("router.test")
        cert, key = folder / "cert.pem", folder / "key.pem"
        issued.cert_chain_pems[0].write_to_path(str(cert))
        issued.private_key_pem.write_to_path(str(key))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        wire = Wire()
        certificate = ServerCertificate(str(cert), str(key))
        client = Client(TLSServerFactory(certificate, self.site, self.clock), context, wire)
        client.shake_hands()
        client.tls.write(request(CHAT, body=ask("a", stream=False)))
        client.pump()
        wire.full = True
        self.wire.says(whole(200, b"x" * 1_000_000))
        self.clock.advance(0)
        self.assertTrue(1_000_000 < self.ledger.held_bytes < 1_100_000, self.ledger.held_bytes)
        self.assertEqual(self.proxy.active, 0)
        wire.takes_all()
        self.assertEqual(self.ledger.held_bytes, 0)
        client.server.connectionLost(Failure(ConnectionDone()))


class ShortPauseTests(SiteTestCase):
    """A transport that is paused for less than a turn."""

    def test_taken_at_once(self) -> None:
        """What is taken in the same turn is not charged, nor looked at."""
        for ends in ("resumeProducing", "forceAbortClient"):
            browser = self.browser()
            channel: Any = browser.protocol
            with patch.object(channel_module, "buffered_bytes", side_effect=AssertionError):
                channel.pauseProducing()
                getattr(channel, ends)()
                if ends == "forceAbortClient":
                    browser.leaves()
                browser.turn()
            self.assertEqual(self.ledger.held_bytes, 0)


class ClosingTests(SlowClientTestCase):
    """A connection that is to close behind what was written."""

    def setUp(self) -> None:
        """Break the stream, which leaves much that is written and unread."""
        super().setUp()
        self.wire.resets()
        self.assertEqual([each.outcome for each in self.records], ["upstream_broken"])

    def flush(self) -> None:
        """Let the time pass in which a client may read nothing of the rest."""
        self.clock.advance(self.limits.flush_timeout)

    def test_slow(self) -> None:
        """As long as the client reads it is not cut, and it gets every byte."""
        for _ in range(4):
            self.reads(64 * 1024)
            self.flush()
            self.assertFalse(self.aborted)
        self.flush()
        self.assertTrue(self.aborted)

    def test_stalled(self) -> None:
        """A client that reads nothing is cut after one interval."""
        self.flush()
        self.assertTrue(self.aborted)


class EmbeddedTests(SlowClientTests):
    """The same on the channel of another Twisted site."""

    def make_site(self, resource: IResource) -> Site:
        """Return a site of Twisted's own."""
        return Site(resource, reactor=self.clock)
