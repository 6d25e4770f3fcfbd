"""Tests of the limits on a client's request: size and time."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.interfaces import ITCPTransport
from zope.interface import implementer

from autopilot.http.limits import Limits
from autopilot.web.site import AutopilotSite
from tests.unit.relay.upstreams import chunk, whole
from tests.unit.web.browsers import (
    CHAT,
    MAX_BODY,
    Browser,
    Peer,
    SiteTestCase,
    ask,
    request,
)
from tests.unit.web.rejections import ChannelTestCase, kind


class LimitTests(ChannelTestCase):
    """Sizes below, at and above each limit."""

    def head_of(self, size: int) -> bytes:
        """Return a head of this many bytes."""
        bare = b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: \r\n\r\n"
        return bare.replace(b"A: ", b"A: " + b"x" * (size - len(bare)))

    def test_head_bytes(self) -> None:
        """A head of 64 KiB is accepted, a larger one rejected."""
        for size in (65535, 65536):
            for piece in (0, 1000):
                browser = self.browser()
                browser.sends(self.head_of(size), piece)
                self.assertEqual(browser.response.status, 200)
        self.rejected(self.head_of(65537), 431, "request_head_too_large")
        line = b"GET /" + b"x" * 65536 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        self.rejected(line, 431, "request_head_too_large")

    def test_endless_head(self) -> None:
        """An unfinished head is rejected as soon as it is too large."""
        for beginning in (b"GET /", b"GET / HTTP/1.1\r\nA: ", b"GET / HTTP/1.1\r\n", b"\r\n"):
            browser = self.browser()
            browser.sends(beginning)
            sent = 0
            while not browser.closed:
                browser.sends(
                    b"A: xy\r\n"
                    if beginning.endswith(b"1\r\n")
                    else b"\r\n"
                    if (beginning == b"\r\n")
                    else b"xxxxxxx"
                )
                sent += 1
                self.assertLess(sent, 40_000)
            self.assertEqual(browser.response.status, 431)

    def test_head_fields(self) -> None:
        """A hundred fields are accepted, one more is rejected."""
        for count, status in ((98, 200), (99, 200)):
            browser = self.browser()
            browser.sends(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * count + b"\r\n")
            self.assertEqual(browser.response.status, status)
        wire = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"\r\n"
        self.rejected(wire, 431, "request_head_too_large")

    def test_declared_length(self) -> None:
        """A declared body over the limit is rejected at its head, without 100 Continue."""
        for fields in ((), (b"Expect: 100-continue",)):
            browser = self.browser()
            browser.sends(request(CHAT, *fields, b"Content-Length: %d" % (MAX_BODY + 1)))
            self.assertEqual(browser.response.error, (413, kind(413), "request_too_large"))
            self.assertTrue(browser.closed)

    def test_accepted_lengths(self) -> None:
        """A body of exactly the limit is accepted, with a length and in chunks."""
        for size in (MAX_BODY - 1, MAX_BODY):
            body = ask("a", pad="")
            body = body.replace(b'"pad": ""', b'"pad": "' + b"x" * (size - len(body)) + b'"')
            self.assertEqual(len(body), size)
            for wire in (
                request(body=body),
                request(CHAT, b"Transfer-Encoding: chunked", body=chunk(body) + chunk(b"")),
            ):
                browser = self.browser()
                browser.sends(wire, 9999)
                self.wire.says(whole(200, b"{}"))
                self.assertEqual(browser.response.status, 200)

    def test_chunked_length(self) -> None:
        """A chunked body is rejected as soon as its count exceeds the limit."""
        browser = self.browser()
        browser.sends(request(CHAT, b"Transfer-Encoding: chunked"))
        browser.sends(chunk(b"x" * 50_000) + chunk(b"x" * 50_000))
        self.assertEqual(browser.wire, b"")
        browser.sends(b"1\r\nx")
        self.assertEqual(browser.response.error, (413, kind(413), "request_too_large"))
        self.assertTrue(browser.closed)
        browser.protocol.dataReceived(chunk(b"x" * 50_000))
        self.assertEqual(len(browser.got), 1)

    def test_each_request_anew(self) -> None:
        """The counts restart with each request of a connection."""
        browser = self.browser()
        for number in range(3):
            browser.sends(request(body=b"x" * (MAX_BODY - number)) + self.head_of(60_000), 30_000)
        self.assertEqual([each.status for each in browser.got], [400, 200] * 3)


class DeadlineTests(ChannelTestCase):
    """Slow and silent clients."""

    def timed_out(self, browser: Browser, seconds: float) -> None:
        """Assert that the client gets a 408 and a close after exactly this time."""
        self.clock.advance(seconds - 0.1)
        self.assertFalse(browser.closed)
        self.clock.advance(0.2)
        self.assertEqual(browser.response.error, (408, kind(408), "request_timeout"))
        self.assertTrue(browser.closed)

    def test_silence(self) -> None:
        """An idle new connection is closed without a response."""
        browser = self.browser()
        self.clock.advance(9.9)
        self.assertFalse(browser.closed)
        self.clock.advance(0.2)
        self.assertTrue(browser.closed)
        self.assertEqual(browser.wire, b"")

    def test_slow_head(self) -> None:
        """A head must be complete in time, even if bytes keep arriving."""
        browser = self.browser()
        for byte in b"GET / HTT":
            self.assertFalse(browser.closed)
            browser.sends(bytes([byte]))
            self.clock.advance(1.0)
        self.timed_out(browser, 1.0)

    def test_slow_body(self) -> None:
        """A body must be complete in time after its head."""
        browser = self.browser()
        browser.sends(request(CHAT, b"Content-Length: 1000"))
        for _ in range(59):
            browser.sends(b"x")
            self.clock.advance(1.0)
        self.timed_out(browser, 1.0)

    def test_idle(self) -> None:
        """Between requests the timeout is longer, and ends without an error."""
        browser = self.browser()
        browser.sends(request(b"/healthz", method=b"GET") + b"\r\n")
        self.clock.advance(74.9)
        self.assertFalse(browser.closed)
        self.clock.advance(0.2)
        self.assertTrue(browser.closed)
        self.assertEqual(len(browser.got), 1)

    def test_half_a_head_behind(self) -> None:
        """The time of a pipelined head starts after the previous response."""
        for begun, seconds in ((b"GET / HTTP", 10.0), (request(CHAT, b"Content-Length: 9"), 60.0)):
            browser = self.browser()
            browser.sends(request(body=ask("a")) + begun)
            self.clock.advance(5.0)
            self.wire.says(whole(200, b"{}"))
            browser.turn()
            self.clock.advance(seconds - 0.1)
            self.assertEqual(len(browser.got), 1)
            self.clock.advance(0.2)
            self.assertEqual([each.status for each in browser.got], [200, 408])

    def test_answers_may_take_long(self) -> None:
        """No timeout runs while a request is being answered."""
        browser = self.post(ask("a", stream=False))
        self.clock.advance(300)
        self.assertEqual((browser.wire, browser.closed), (b"", False))

    def test_closing_is_bounded(self) -> None:
        """A client that does not read its response is disconnected eventually."""
        browser = self.browser()
        browser.sends(request(b"/healthz", b"Connection: close", method=b"GET"))
        self.assertTrue(browser.closed)
        self.clock.advance(59.9)
        self.assertFalse(browser.peer.aborted)
        self.clock.advance(0.2)
        self.assertTrue(browser.peer.aborted)

    def test_nothing_is_left(self) -> None:
        """A disconnect at any point leaves no timer."""
        for sent in (
            b"",
            b"GET",
            request(CHAT, b"Content-Length: 9"),
            request(body=ask()),
            request(b"/healthz", method=b"GET"),
            b"nonsense\r\n\r\n",
            request(body=ask()) + request(body=ask()),
        ):
            browser = self.browser()
            browser.sends(sent)
            browser.leaves()
            self.clock.advance(0)
            self.assertEqual(self.clock.getDelayedCalls(), [], sent)

    def test_closing_twice(self) -> None:
        """Closing a lost connection has no effect."""
        browser = self.browser()
        browser.leaves()
        channel: Any = browser.protocol
        channel.loseConnection()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class UplinkTests(ChannelTestCase):
    """A body that arrives slowly, and steadily."""

    limits = Limits(body_bytes=MAX_BODY, body_timeout=60.0, body_rate=500)

    def test_slow_uplink(self) -> None:
        """At the least rate a body may take as long as its size needs; silence is still bounded."""
        browser = self.browser()
        browser.sends(request(CHAT, b"Content-Length: %d" % MAX_BODY))
        for _ in range(100):
            self.clock.advance(1.0)
            self.assertFalse(browser.closed)
            browser.sends(b"x" * 500)
        self.clock.advance(59.9)
        self.assertFalse(browser.closed)
        self.clock.advance(0.2)
        self.assertEqual(browser.response.error, (408, kind(408), "request_timeout"))


@implementer(ITCPTransport)
class _TCPPeer(Peer):
    """A transport that can close one direction."""

    sending_closed = False

    def loseWriteConnection(self) -> None:
        """See `ITCPTransport`."""
        self.sending_closed = True

    def getTcpNoDelay(self) -> bool:
        """See `ITCPTransport`."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`."""

    def getTcpKeepAlive(self) -> bool:
        """See `ITCPTransport`."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See `ITCPTransport`."""


class LastResponseTests(SiteTestCase):
    """The end of a connection after its last response (RFC 9112 §9.6)."""

    def last(self, path: bytes = b"/healthz") -> Browser:
        """Request a page over a TCP connection, as the last one."""
        browser = Browser(self.site, _TCPPeer())
        self.browsers.append(browser)
        browser.sends(request(path, b"Connection: close", method=b"GET"))
        return browser

    def test_in_two_steps(self) -> None:
        """The router closes its sending side, discards what arrives, and waits for the client."""
        browser = self.last()
        peer = cast(_TCPPeer, browser.peer)
        self.assertEqual((peer.sending_closed, browser.closed), (True, False))
        browser.sends(request(b"/healthz", method=b"GET"))
        self.assertEqual(browser.response.status, 200)
        self.assertIsNone(peer.producer)

    def test_bounded(self) -> None:
        """A client that never closes its side is disconnected."""
        browser = self.last()
        self.clock.advance(59.9)
        self.assertFalse(browser.peer.aborted)
        self.clock.advance(0.2)
        self.assertTrue(browser.peer.aborted)

    def test_while_draining(self) -> None:
        """A router that is stopping does not wait."""
        cast(AutopilotSite, self.site).draining = True
        self.assertTrue(self.last().closed)
