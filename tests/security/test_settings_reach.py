"""Limits as settings: each takes effect, in its own unit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autopilot import AutopilotService
from tests.unit.relay.upstreams import JSON, SSE, chunk, head, whole
from tests.unit.service.platforms import NAMES, ServiceTestCase
from tests.unit.web.browsers import CHAT, Browser, ask, request


class SettingTests(ServiceTestCase):
    """Each setting, tested below, at and above its limit."""

    @contextmanager
    def router(self, **given: Any) -> Iterator[AutopilotService]:
        """Start a router with these settings, in place of the previous one."""
        service = self.running(**given)
        yield service
        for browser in self.browsers:
            browser.leaves()
        self.reactor.advance(0)
        self.successResultOf(service.stopService())
        self.assert_at_rest()

    def posts(self, body: bytes, *fields: bytes) -> Browser:
        """Return a client that has sent this to the current router."""
        browser = self.browser(-1)
        browser.sends(request(CHAT, *fields, body=body))
        return browser

    def calls(self) -> int:
        """The number of upstream calls so far."""
        self.platform.take()
        return sum(wire.value().count(b"POST ") for wire in self.platform.wires)

    def test_max_request_bytes(self) -> None:
        """MAX_REQUEST_BYTES limits the declared length and the received bytes."""
        limit = 200
        for size, status in ((limit - 1, 400), (limit, 400), (limit + 1, 413)):
            body = b"x" * size
            with self.router(max_request_bytes=limit):
                self.assertEqual(self.posts(body).response.status, status)
                wire = request(CHAT, b"Transfer-Encoding: chunked") + chunk(body) + chunk(b"")
                browser = self.browser(-1)
                browser.sends(wire, 7)
                self.assertEqual(browser.response.status, status)
                browser = self.browser(-1)
                browser.sends(request(CHAT, b"Content-Length: %d" % size))
                self.assertEqual(browser.closed, status == 413)  # the head suffices

    def test_max_concurrent_requests(self) -> None:
        """MAX_CONCURRENT_REQUESTS counts active requests only."""
        limit = 3
        with self.router(max_concurrent_requests=limit, client_max_share=1.0):
            idle = [self.posts(b"{}") for _ in range(5)]
            self.assertEqual({each.response.status for each in idle}, {400})
            active = [self.posts(ask()) for _ in range(limit)]
            self.assertEqual((self.calls(), [each.wire for each in active]), (limit, [b""] * limit))
            one_more = self.posts(ask()).response
            self.assertEqual(one_more.error, (503, "server_error", "overloaded"))
            self.assertIsNotNone(one_more.value(b"retry-after"))
            active[1].leaves()
            self.reactor.advance(0)
            self.assertEqual(self.posts(ask()).wire, b"")
            self.assertEqual(self.posts(ask()).response.status, 503)

    def test_max_model_list_items(self) -> None:
        """MAX_MODEL_LIST_ITEMS limits a list."""
        for limit, status in ((3, 200), (2, 200), (1, 400)):
            with self.router(max_model_list_items=limit):
                browser = self.posts(ask(",".join(NAMES)))
                if status == 200:
                    self.platform.wire.says(whole(200, b"{}", JSON))
                self.assertEqual(browser.response.status, status)

    def test_client_times(self) -> None:
        """CLIENT_HEADER_TIMEOUT_MS and CLIENT_BODY_TIMEOUT_MS are milliseconds."""
        with self.router(client_header_timeout_ms=250, client_body_timeout_ms=500):
            for sent, seconds in ((b"GET / HT", 0.25), (request(CHAT, b"Content-Length: 9"), 0.5)):
                browser = self.browser(-1)
                browser.sends(sent)
                self.reactor.advance(seconds - 1 / 1024)
                self.assertFalse(browser.closed)
                self.reactor.advance(1 / 512)
                self.assertEqual(browser.response.status, 408)

    def test_commit_max_bytes(self) -> None:
        """COMMIT_MAX_BYTES are held back for a complete response."""
        limit = 100
        for size, committed in ((limit - 1, False), (limit, False), (limit + 1, True)):
            with self.router(commit="complete", commit_max_bytes=limit):
                browser = self.posts(ask())
                self.platform.wire.says(head(200, SSE), chunk(b":" * size))
                self.assertEqual(browser.wire != b"", committed, size)

    def test_max_attempts(self) -> None:
        """MAX_ATTEMPTS limits the attempts if both of two models fail."""
        for limit, tried in ((1, 1), (2, 2), (3, 2)):
            with self.router(max_attempts=limit):
                before = self.calls()
                browser = self.posts(ask())
                for _ in range(tried):
                    self.platform.wire.says(whole(503, b"{}", JSON, b"Connection: close"))
                    self.reactor.advance(0)
                self.assertEqual(self.calls() - before, tried)
                self.assertEqual(browser.response.status, 503)

    def test_sticky_max_entries(self) -> None:
        """STICKY_MAX_ENTRIES clients are stored."""
        limit = 3
        with self.router(sticky_max_entries=limit) as service:
            for number in range(1, limit + 2):
                self.posts(ask(), b"Authorization: Bearer t%d" % number)
                self.platform.wire.says(whole(200, b"{}", JSON, b"Connection: close"))
                self.reactor.advance(0)
                remembered = len(service._parts.tables.affinity)
                self.assertEqual(remembered, min(number, limit))
