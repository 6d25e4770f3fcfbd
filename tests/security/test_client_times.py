"""Client timeouts: the last moment in time, and the first too late."""

from __future__ import annotations

from autopilot.http.limits import Limits
from tests.unit.relay.upstreams import JSON, chunk, whole
from tests.unit.web.browsers import CHAT, MAX_BODY, Browser, SiteTestCase, ask, request

HEAD = 10.0
BODY = 60.0
TICK = 1 / 1024
"""About a millisecond, and exact as a floating-point number."""


class ClientTimeTests(SiteTestCase):
    """CLIENT_HEADER_TIMEOUT_MS and CLIENT_BODY_TIMEOUT_MS."""

    limits = Limits(head_timeout=HEAD, body_timeout=BODY, body_bytes=MAX_BODY)

    def finishes(self, begun: bytes, rest: bytes, seconds: float, browser: Browser) -> int:
        """Return the status for a client that pauses this long in the middle of its request."""
        before = len(browser.got)
        browser.sends(begun)
        self.clock.advance(seconds)
        browser.sends(rest)
        if not browser.closed and not browser.got[before:]:
            self.wire.says(whole(200, b"{}", JSON, b"Connection: close"))
            self.clock.advance(0)
        (got,) = browser.got[before:]
        self.assertEqual(browser.closed, got.status == 408)
        return got.status

    def test_head(self) -> None:
        """A head may take its whole limit, on a new and on a reused connection."""
        wire = request(b"/healthz", method=b"GET")
        for seconds, status in ((HEAD - TICK, 200), (HEAD, 408), (HEAD + TICK, 408)):
            for begun in (1, len(wire) - 1):
                browser = self.browser()
                got = self.finishes(wire[:begun], wire[begun:], seconds, browser)
                self.assertEqual(got, status, seconds)
                browser = self.browser()
                browser.sends(wire)
                self.clock.advance(3 * HEAD)
                got = self.finishes(wire[:begun], wire[begun:], seconds, browser)
                self.assertEqual(got, status, seconds)

    def test_body(self) -> None:
        """A body may take its whole limit, with either framing, and after a late head.

        The bytes that arrived extend the limit by less than a tick.
        """
        body = ask("a")
        declared = request(body=body)
        chunked = request(CHAT, b"Transfer-Encoding: chunked") + chunk(body) + chunk(b"")
        for seconds, status in ((BODY - TICK, 200), (BODY + TICK, 408)):
            for wire in (declared, chunked):
                browser = self.browser()
                browser.sends(wire[:20])
                self.clock.advance(HEAD - TICK)
                got = self.finishes(wire[20:-1], wire[-1:], seconds, browser)
                self.assertEqual(got, status, seconds)

    def test_bytes_prolong_a_body_by_their_rate(self) -> None:
        """Each body byte extends the limit by 1/65536 s; bytes of a head do not."""
        for wire, limit in (
            (request(b"/healthz", b"A: " + b"x" * 99, method=b"GET"), HEAD),
            (request(CHAT, b"Content-Length: 99"), BODY),
        ):
            browser = self.browser()
            begun = wire[:-90] if limit == HEAD else wire
            browser.sends(begun)
            for _ in range(63):
                browser.sends(b"x")
                self.clock.advance(limit / 64)
            self.assertFalse(browser.closed)
            self.clock.advance(limit / 64)
            self.assertEqual(browser.closed, limit == HEAD)
            self.clock.advance(TICK)
            self.assertEqual(browser.response.status, 408)

    def test_twenty_at_once(self) -> None:
        """Each client has its own limit; a late client does not delay the others."""
        browsers = []
        for number in range(20):
            browsers.append(self.browser())
            browsers[-1].sends(b"GET /healthz HTTP/1.1\r\n")
            self.clock.advance(1.0)
            late = [each.closed for each in browsers]
            self.assertEqual(sum(late), max(0, number - 8))
            self.assertEqual(late, sorted(late, reverse=True))
