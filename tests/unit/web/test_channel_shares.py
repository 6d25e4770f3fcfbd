"""Tests of what requests hold: refusals by the head of a request, and every release."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

from twisted.internet.testing import StringTransport
from twisted.web.server import Site

from autopilot.http.resource_ledger import RESERVED_BYTES, ResourceLimits
from autopilot.routing.identity import Trust
from tests.unit.relay.upstreams import DONE, JSON, SSE, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, Browser, SiteTestCase, ask, request

OTHER = "192.0.2.8"
LONG = RESERVED_BYTES * 2
MANY = 429, "rate_limit_error", "too_many_connections"
FULL = 503, "server_error", "overloaded"


class SharesTestCase(SiteTestCase):
    """A site with limits."""

    def limit(self, **limits: float) -> None:
        """Set limits on what requests may hold."""
        self.ledger.configure(ResourceLimits(**limits), self.ledger.trust)

    def asks(self, host: str = "192.0.2.7", *fields: bytes, body: bytes | None = None) -> Browser:
        """Send a request that is not answered yet."""
        browser = self.browser(host)
        browser.sends(request(CHAT, *fields, body=ask("a") if body is None else body))
        return browser

    def begins(self, size: int, host: str = "192.0.2.7", *fields: bytes) -> Browser:
        """Send the head of a request with a body of this size."""
        browser = self.browser(host)
        browser.sends(request(CHAT, b"Content-Length: %d" % size, *fields))
        return browser

    def assert_error(self, browser: Browser, error: tuple[int, str, str]) -> None:
        """The client got this error, with the time of its next try."""
        response = browser.response
        self.assertEqual(response.error, error)
        self.assertEqual(response.value(b"retry-after"), b"1")


class RefusalTests(SharesTestCase):
    """Requests that are refused by their head."""

    def test_share_of_requests(self) -> None:
        """Above its share an address gets a 429 before its body is read, and another none."""
        self.limit(requests=4, client_requests=2)
        first, _ = self.asks(), self.asks()
        refused = self.begins(10)
        self.assert_error(refused, MANY)
        self.assertTrue(refused.closed)
        self.assertEqual(self.refused, [429])
        self.asks(OTHER)
        self.asks(OTHER)
        self.assertEqual(len(self.upstreams.wires), 4)
        first.leaves()
        self.asks()
        self.assertEqual(len(self.upstreams.wires), 5)
        self.assert_error(self.begins(10, "192.0.2.9"), FULL)

    def test_arriving_requests_count(self) -> None:
        """A request is unfinished from its head on, not only when its body has arrived."""
        self.limit(requests=2, client_requests=1)
        self.begins(10)
        self.assert_error(self.begins(10), MANY)
        self.begins(10, OTHER)
        self.assert_error(self.begins(10, "192.0.2.9"), FULL)

    def test_order(self) -> None:
        """The share is asked behind the key, and before the size of the body (contract §2)."""
        self.limit(requests=2, client_requests=1)
        self.begins(10)
        self.assert_error(self.begins(1 << 40), MANY)
        self.begins(10, OTHER)
        self.assert_error(self.begins(1 << 40, "192.0.2.9"), FULL)
        self.assertEqual(self.post(b"{}", path=b"/v1/nothing").response.status, 404)
        self.assertEqual(self.get(b"/healthz").status, 200)

    def test_size_beyond_any(self) -> None:
        """A body over the limit of a request is a 413, whether it would fit or not."""
        self.limit(body_bytes=1000)
        self.assertEqual(self.begins(1 << 40).response.error[2], "request_too_large")

    def test_declared_size(self) -> None:
        """A declared body that does not fit is refused at the head."""
        self.limit(body_bytes=LONG, client_bytes=LONG - 1)
        self.assert_error(self.begins(LONG), MANY)
        self.limit(body_bytes=LONG)
        self.asks()
        self.assert_error(self.begins(LONG), FULL)

    def test_arriving_size(self) -> None:
        """A body that stops to fit while it arrives is refused, and what it held is released."""
        for limits, error in (
            ({"body_bytes": LONG}, FULL),
            ({"client_bytes": LONG}, MANY),
        ):
            self.limit(**limits)
            for framing in (b"Content-Length: %d" % LONG, b"Transfer-Encoding: chunked"):
                browser, other = self.browser(), self.begins(RESERVED_BYTES)
                browser.sends(request(CHAT, framing))
                for _ in range(LONG // 4096):
                    piece = b" " * 4096
                    browser.sends(chunk(piece) if b"chunked" in framing else piece)
                self.assert_error(browser, error)
                self.assertEqual(self.ledger.held_bytes, RESERVED_BYTES)
                other.leaves()

    def test_last_piece(self) -> None:
        """A body that arrives at once is refused likewise."""
        self.limit(body_bytes=100)
        browser = self.browser()
        wire = request(CHAT, b"Transfer-Encoding: chunked") + chunk(b" " * 101) + chunk(b"")
        browser.sends(wire)
        self.assert_error(browser, FULL)

    def test_trusted_proxy(self) -> None:
        """Behind a trusted proxy each client has its share, and the proxy no limit."""
        trust = Trust(True, (ip_network("192.0.2.7/32"),))
        self.ledger.configure(ResourceLimits(client_requests=1, client_descriptors=2), trust)
        by = [b"X-Forwarded-For: 198.51.100.%d" % number for number in range(5)]
        browsers = [self.asks("192.0.2.7", each) for each in by]
        self.assertEqual([each.wire for each in browsers], [b""] * 5)
        self.assert_error(self.asks("192.0.2.7", by[0]), MANY)

    def test_connections(self) -> None:
        """Connections above the share are accepted, and their first request is refused."""
        self.limit(client_descriptors=2)
        kept = [self.browser(), self.browser()]
        for path, method in ((CHAT, b"POST"), (b"/healthz", b"GET")):
            above = self.browser()
            above.sends(request(path, method=method))
            self.assert_error(above, MANY)
            self.assertTrue(above.closed)
            above.leaves()
        silent = self.browser()
        kept[0].sends(request(b"/healthz", method=b"GET"))
        self.assertEqual(kept[0].response.status, 200)
        self.assertFalse(silent.closed)
        self.clock.advance(self.limits.head_timeout)
        self.assertTrue(silent.closed)
        self.assertEqual(silent.wire, b"")
        self.browser(OTHER).sends(request(b"/healthz", method=b"GET"))

    def test_pipeline(self) -> None:
        """A refusal within a pipeline waits for the responses before it."""
        self.limit(client_requests=1)
        browser = self.browser()
        browser.sends(request(body=ask("a")) * 3)
        self.wire.says(whole(200, b"{}"))
        self.assertEqual([each.status for each in browser.got], [200, 429])


class TwistedRefusalTests(SharesTestCase):
    """The same on Twisted's own channel, which hands over requests when they are complete."""

    def setUp(self) -> None:
        """Serve by Twisted's own site."""
        super().setUp()
        self.site = Site(self.tree(), reactor=self.clock)

    def test_shares(self) -> None:
        """Requests and bytes are counted for all and for each address."""
        self.limit(requests=2, client_requests=1)
        first = self.asks()
        self.assert_error(self.asks(), MANY)
        self.asks(OTHER)
        self.assert_error(self.asks("192.0.2.9"), FULL)
        self.wire.says(whole(200, b"{}"))
        first.leaves()
        self.limit(body_bytes=LONG)
        body = ask("a", messages="x" * LONG)
        self.assert_error(self.asks(body=body), FULL)
        self.limit(client_bytes=LONG)
        self.assert_error(self.asks(body=body), MANY)

    def test_held(self) -> None:
        """A body counts until commit."""
        body = ask("a", messages="x" * LONG)
        browser = self.asks(body=body)
        self.assertEqual(self.ledger.held_bytes, len(body))
        self.wire.says(head(200, SSE), chunk(TOKEN))
        self.assertEqual((self.ledger.held_bytes, self.ledger.requests), (0, 1))
        self.wire.says(chunk(DONE), chunk(b""))
        self.assertTrue(browser.response.whole)
        self.assert_nothing_held()


class ReleaseTests(SharesTestCase):
    """When what a request holds is released."""

    def held(self) -> tuple[int, int]:
        """Return the unfinished requests and the bytes held."""
        return self.ledger.requests, self.ledger.held_bytes

    def test_commit(self) -> None:
        """The body is released at commit, and the place at the end of the stream."""
        body = ask("a", messages="x" * LONG)
        browser = self.browser()
        wire = request(body=body)
        browser.sends(wire, 4096)
        self.assertEqual(self.held(), (1, len(body)))
        self.wire.says(head(200, SSE))
        self.assertEqual(self.held(), (1, len(body)))
        self.wire.says(chunk(TOKEN))
        self.assertEqual(self.held(), (1, 0))
        self.wire.says(chunk(DONE), chunk(b""))
        self.assertEqual(self.held(), (0, 0))
        self.assertTrue(browser.response.whole)

    def test_held_answer(self) -> None:
        """What is held of an answer counts until it is relayed or another attempt begins."""
        body = ask("a,b", stream=False)
        for kind, piece in ((SSE, b"data: {}\n\n"), (JSON, b'{"choices":')):
            browser = self.browser()
            browser.sends(request(CHAT, b"X-Autopilot-Commit: complete", body=body))
            for _ in range(2):
                self.wire.says(head(200, kind), chunk(piece))
                self.assertEqual(self.held(), (1, len(body) + len(piece)))
                self.wire.says(chunk(piece))
                self.assertEqual(self.held(), (1, len(body) + 2 * len(piece)))
                first = self.wire
                self.wire.resets()
                if first is self.wire:
                    break
                self.assertEqual(self.held(), (1, len(body)))
            self.assertEqual(browser.response.error[2], "upstream_stream_interrupted")
            self.assertEqual(self.held(), (0, 0))

    def test_read_error(self) -> None:
        """The body of an error counts while it is read, and so does one that is to be shaped."""
        body = ask("a,b")
        for status in (429, 401):
            browser = self.browser()
            browser.sends(request(body=body))
            self.wire.says(head(status, JSON), chunk(b'{"detail":'), chunk(b'"no"'))
            self.assertEqual(self.held(), (1, len(body) + 14))
            self.wire.says(chunk(b"}"), chunk(b""))
            self.assertEqual(browser.response.status, status)
            self.assertEqual(self.held(), (0, 0))

    def test_held_answer_is_bounded(self) -> None:
        """While answers hold all there is, new requests are refused, and no answer is."""
        self.limit(body_bytes=1000)
        body = ask("a")
        browser = self.browser()
        browser.sends(request(CHAT, b"X-Autopilot-Commit: complete", body=body))
        self.wire.says(head(), chunk(b":" + b"x" * 2000 + b"\n"))
        self.assert_error(self.asks(OTHER), FULL)
        self.wire.says(chunk(TOKEN + DONE), chunk(b""))
        self.assertEqual(browser.response.status, 200)
        self.asks(OTHER)
        self.assertEqual(self.held(), (1, len(body)))

    def test_ends(self) -> None:
        """However a request ends, nothing of it stays charged."""

        def resets_twice(client: Browser) -> None:
            self.wire.resets()  # a connection that may have been idle for too long
            self.wire.resets()

        def streams(client: Browser) -> None:
            self.wire.says(head(200, SSE), chunk(TOKEN))

        ends: tuple[Callable[[Browser], object], ...] = (
            lambda client: self.wire.says(whole(200, b"{}")),
            resets_twice,
            lambda client: self.clock.advance(1000),
            Browser.leaves,
            lambda client: self.proxy.shut_down(),
        )
        for begin in (lambda client: None, streams):
            for end in ends:
                browser = self.asks(body=ask("a", messages="x" * LONG))
                self.assertNotEqual(self.held(), (0, 0))
                begin(browser)
                end(browser)
                self.assertEqual(self.held(), (0, 0), end)

    def test_refusals(self) -> None:
        """Nothing of a request that is refused stays charged, whenever that is."""
        refused = (
            request(body=b"{" + b" " * LONG),
            request(CHAT, b"Content-Encoding: gzip", body=b"x" * LONG),
            request(CHAT, b"Transfer-Encoding: chunked") + chunk(b"x" * LONG) + b"no chunk\r\n",
            request(CHAT, b"Transfer-Encoding: chunked") + chunk(b"x" * 60_000) * 2,
            request(CHAT, b"Expect: magic", body=b"x"),
            request(b"/v1/models", method=b"GET", body=b"x" * LONG),
        )
        for wire in refused:
            browser = self.browser()
            browser.sends(wire, 4096)
            self.assertNotEqual(browser.wire, b"")
            self.assertEqual(self.held(), (0, 0), wire[:80])

    def test_slow_client(self) -> None:
        """A body that does not arrive in time is released before the connection is."""
        browser = self.begins(LONG)
        browser.sends(b"x" * (LONG - 1))
        self.assertEqual(self.held(), (1, LONG - 1))
        self.clock.advance(1000)
        self.assertEqual(browser.got[0].status, 408)
        self.assertEqual(self.held(), (0, 0))

    def test_client_leaves_early(self) -> None:
        """A client that leaves while its body arrives holds nothing any more."""
        browser = self.begins(LONG)
        browser.sends(b"x" * (LONG - 1))
        browser.leaves()
        self.assertEqual(self.held(), (0, 0))

    def test_pipelined_requests(self) -> None:
        """Requests that wait behind another are released with their connection."""
        browser = self.browser()
        browser.sends(request(body=ask("a")) * 4)
        self.assertEqual(self.ledger.requests, 4)
        browser.leaves()
        self.assertEqual(self.held(), (0, 0))

    def test_full_client(self) -> None:
        """A client that does not read holds the place of its stream, and no bytes of its body."""
        browser = self.asks()
        producer: StringTransport = browser.peer
        self.wire.says(head(200, SSE), chunk(TOKEN))
        assert producer.producer is not None
        self.assertEqual(self.held(), (1, 0))
