"""Tests of requests whose bodies nothing reads: answered at the head, the body discarded."""

from __future__ import annotations

from typing import cast

from autopilot.web.channel import Channel
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import SiteTestCase, ask, request
from tests.unit.web.responses import responses

HEAD = b"POST %b HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
PAGE = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"


class DiscardedBodyTests(SiteTestCase):
    """The router's own channel."""

    def test_at_the_head(self) -> None:
        """No byte of a body is awaited, whatever its framing and the path."""
        for path, status in ((b"/nothing", 404), (b"/healthz", 405), (b"/v1/models", 405)):
            for framing in (b"Content-Length: 9", b"Content-Length: 999999999", CHUNKED):
                browser = self.browser()
                browser.sends(HEAD % (path, framing))
                self.assertEqual(browser.response.status, status)

    def test_other_method(self) -> None:
        """A relayed path is answered at the head too, if the method is not its own."""
        browser = self.browser()
        browser.sends((HEAD % (b"/v1/chat/completions", CHUNKED)).replace(b"POST", b"PUT", 1))
        self.assertEqual(browser.response.status, 405)
        self.assertEqual(browser.response.value(b"allow"), b"POST")

    def test_small(self) -> None:
        """A connection persists behind a body of up to 64 KiB, in one read or in many."""
        for framing, body in (
            (b"Content-Length: 65536", b"x" * 65536),
            (b"Content-Length: 4", b"POST"),
            (CHUNKED, b"4\r\nbody\r\n0\r\nTrailer: x\r\n\r\n"),
        ):
            for size in (1, 1000, 100_000):
                if len(body) // size > 1000:
                    continue
                browser = self.browser()
                wire = HEAD % (b"/nothing", framing) + body + request(body=ask("a"))
                for at in range(0, len(wire), size):
                    browser.sends(wire[at : at + size])
                browser.turn()
                self.wire.says(whole(200, b"{}"))
                self.assertEqual([each.status for each in browser.got], [404, 200])
                self.assertIsNone(browser.got[0].value(b"connection"))
                self.assertFalse(browser.closed)
                self.assertEqual(self.refused, [404])
                self.refused.clear()

    def test_large(self) -> None:
        """Behind a larger one it closes, and nothing behind the body is a request."""
        browser = self.browser()
        browser.sends(HEAD % (b"/nothing", b"Content-Length: 65537") + b"x" * 65537 + PAGE)
        self.assertEqual(browser.response.value(b"connection"), b"close")
        self.assertTrue(browser.closed)

    def test_large_in_chunks(self) -> None:
        """A chunked body that proves larger ends the connection, without a second response."""
        browser = self.browser()
        browser.sends(HEAD % (b"/nothing", CHUNKED))
        self.assertEqual(browser.response.status, 404)
        for _ in range(17):
            self.assertFalse(browser.closed)
            browser.sends(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        self.assertTrue(browser.closed)
        browser.sends(b"0\r\n\r\n" + PAGE)
        self.assertEqual((len(browser.got), self.refused), (1, [404]))

    def test_faulty(self) -> None:
        """A framing error in a discarded body ends the connection, without a second response."""
        for late in (False, True):
            browser = self.browser()
            pieces = HEAD % (b"/nothing", CHUNKED), b"x\r\n" + PAGE
            for piece in pieces if late else (b"".join(pieces),):
                browser.sends(piece)
            self.assertEqual(browser.response.status, 404)
            self.assertTrue(browser.closed)

    def test_expected(self) -> None:
        """A client that waits for a 100 (Continue) gets the final response, and no more."""
        browser = self.browser()
        browser.sends(HEAD % (b"/nothing", b"Expect: 100-continue\r\nContent-Length: 4"))
        self.assertEqual(browser.response.status, 404)
        self.assertEqual(browser.response.value(b"connection"), b"close")
        self.assertTrue(browser.closed)

    def test_silent(self) -> None:
        """A client that does not send the body is cut off, without a second response."""
        browser = self.browser()
        browser.sends(HEAD % (b"/nothing", b"Content-Length: 4") + b"x")
        self.assertEqual(browser.response.status, 404)
        self.clock.advance(self.limits.body_timeout - 1)
        self.assertFalse(browser.closed)
        self.clock.advance(2)
        self.assertTrue(browser.closed)
        self.assertEqual(len(responses(browser.wire)), 1)

    def test_upgrade(self) -> None:
        """A request for another protocol is answered in this one, and so is the next request."""
        fields = b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4"
        browser = self.browser()
        browser.sends(HEAD % (b"/nothing", fields) + b"body" + PAGE)
        self.assertEqual([each.status for each in browser.got], [404, 200])

    def test_many_upgrades(self) -> None:
        """A thousand of them in one read are answered one by one."""
        one = b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        browser = self.browser()
        browser.sends(one * 1000)
        self.assertEqual([each.status for each in browser.got], [200] * 1000)

    def test_kept_bytes(self) -> None:
        """Nothing of a discarded body is kept."""
        browser = self.browser()
        browser.sends(HEAD % (b"/nothing", b"Content-Length: 60000") + b"x" * 50_000)
        self.assertEqual(browser.response.status, 404)
        parser = cast(Channel, browser.protocol)._parser
        self.assertEqual((parser._body, parser._read, len(parser.arrived)), (b"", b"", 0))

    def test_draining(self) -> None:
        """A connection on which only a discarded body is awaited is idle."""
        browser = self.browser()
        browser.sends(HEAD % (b"/nothing", b"Content-Length: 4"))
        self.assertEqual(browser.response.status, 404)
        cast(Channel, browser.protocol).drain()
        self.assertTrue(browser.closed)
