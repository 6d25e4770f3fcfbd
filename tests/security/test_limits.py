"""Limits that `test_channel_limits` does not cover: one below, at, and one above."""

from __future__ import annotations

from autopilot.http.response_parser import MAX_HEAD_BYTES, MAX_HEAD_FIELDS
from autopilot.relay.commit import MAX_HELD_BYTES, MAX_HELD_EVENTS
from autopilot.relay.error_shape import MAX_SHAPED_BYTES
from autopilot.relay.exchange_retries import MAX_DECIDING_BYTES
from autopilot.routing.commit import Commit
from tests.unit.relay.routers import RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, MAX_BODY, SiteTestCase, ask, request

EMPTY = b"data: {}\n\n"


class UpstreamLimitTests(RouterTestCase):
    """Limits on the part of a response that is read before the commit."""

    def test_head_bytes(self) -> None:
        """A response head may have 64 KiB."""
        bare = b"HTTP/1.1 200 OK\r\nX: \r\nContent-Length: 0\r\n\r\n"
        words = len(b"OKXContent-Length0")
        for size, attempts in ((65535, 1), (65536, 1), (65537, 2)):
            self.build()
            self.ask("a,b")
            first = self.wire
            first.says(bare.replace(b"X: ", b"X: " + b"x" * (size - words)))
            self.assertEqual(len(self.upstreams.wires), attempts, size)
            self.assertEqual(first.alive, attempts == 1)
        self.assertEqual(MAX_HEAD_BYTES, 65536)

    def test_head_fields(self) -> None:
        """A response head may have 256 fields."""
        for count, attempts in ((255, 1), (256, 1), (257, 2)):
            self.build()
            self.ask("a,b")
            fields = b"X: y\r\n" * (count - 1)
            self.wire.says(b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 0\r\n\r\n")
            self.assertEqual(len(self.upstreams.wires), attempts, count)
        self.assertEqual(MAX_HEAD_FIELDS, 256)

    def test_error_body(self) -> None:
        """64 KiB of an error body are read to classify it; the rest is relayed."""
        for size, decided in ((65535, False), (65536, True), (65537, True)):
            self.build(shape_errors=False)
            client = self.ask("a,b")
            body = b"{" + b" " * (size - 1)
            self.wire.says(head(500, JSON), chunk(body))
            self.assertEqual(client.down.head is not None, decided, size)
            self.wire.says(chunk(b"}"), chunk(b""))
            self.assertEqual(client.down.body, body + b"}")
        self.assertEqual(MAX_DECIDING_BYTES, 65536)

    def test_error_to_be_shaped(self) -> None:
        """64 KiB of an error body are held for its `error` member; beyond that it is relayed."""
        for size, relayed in ((65535, False), (65536, False), (65537, True)):
            self.build()
            client = self.ask("a,b")
            body = b'{"detail":"no"' + b" " * (size - 14)
            self.wire.says(head(401, JSON), chunk(body))
            self.assertEqual(client.down.head is not None, relayed, size)
            self.wire.says(chunk(b"}"), chunk(b""))
            changed = client.down.body != body + b"}"
            self.assertEqual(changed, size < MAX_SHAPED_BYTES, size)
        self.assertEqual(MAX_SHAPED_BYTES, 65536)

    def test_held_events(self) -> None:
        """After 64 events without content, a stream is committed."""
        for count, committed in ((63, False), (64, True), (65, True)):
            self.build()
            client = self.ask("a,b")
            self.wire.says(head(), *[chunk(EMPTY)] * count)
            self.assertEqual(client.down.head is not None, committed, count)
        self.assertEqual(MAX_HELD_EVENTS, 64)

    def test_held_bytes(self) -> None:
        """256 KiB are held back; one more byte commits, and all are relayed."""
        for size, committed in ((262143, False), (262144, False), (262145, True)):
            self.build()
            client = self.ask("a,b")
            comment = b":" + b"x" * (size - 1)
            self.wire.says(head(), chunk(comment[:100_000]), chunk(comment[100_000:]))
            self.assertEqual(client.down.head is not None, committed, size)
            self.wire.says(chunk(b"\n\n" + TOKEN), chunk(DONE), chunk(b""))
            self.assertEqual(client.down.body, comment + b"\n\n" + TOKEN + DONE)
        self.assertEqual(MAX_HELD_BYTES, 262144)

    def test_commit_max_bytes(self) -> None:
        """COMMIT_MAX_BYTES are held back for a complete response."""
        limit = 1000
        for kind in (b"text/event-stream", JSON):
            for size, committed in ((limit - 1, False), (limit, False), (limit + 1, True)):
                self.build(commit=Commit.COMPLETE, commit_max_bytes=limit)
                client = self.ask("a,b")
                self.wire.says(head(200, kind), chunk(b":" * size))
                self.assertEqual(client.down.head is not None, committed, (kind, size))

    def test_concurrent_requests(self) -> None:
        """MAX_CONCURRENT_REQUESTS are admitted; one more is refused until a slot is free."""
        self.build(max_active=3)
        clients = [self.ask("a") for _ in range(3)]
        self.assertEqual(self.proxy.active, 3)
        for _ in range(2):
            self.assert_refused(self.ask("a"), 503, "overloaded")
        clients[1].leaves()
        self.assertIsNotNone(self.ask("a").exchange)
        self.assert_refused(self.ask("a"), 503, "overloaded")

    def test_list_items(self) -> None:
        """A list may have MAX_MODEL_LIST_ITEMS different names."""
        self.snapshot = type(self.snapshot)(ranking=self.snapshot.ranking)
        names = [f"m{number}" for number in range(9)]
        for count in (7, 8):
            self.assertIsNotNone(self.ask(",".join(names[:count])).exchange)
        self.assertIsNotNone(self.ask(",".join([*names[:8], "m0", " m1 ", ""])).exchange)
        self.assert_refused(self.ask(",".join(names)), 400, "invalid_model_list")


class ClientLimitTests(SiteTestCase):
    """An excess is refused as soon as it is known."""

    def test_head_with_a_body_behind(self) -> None:
        """The limit of a head applies to the head alone, even if a read contains more."""
        bare = request(CHAT, b"A: ", body=ask("a"))
        length = bare.index(b"\r\n\r\n") + 4
        for size, status in ((65535, 200), (65536, 200), (65537, 431)):
            wire = bare.replace(b"A: ", b"A: " + b"x" * (size - length))
            for piece in (0, 60_000, 1000):
                browser = self.browser()
                browser.sends(wire, piece)
                if status == 200:
                    self.wire.says(whole(200, b"{}", JSON, b"Connection: close"))
                    self.clock.advance(0)
                self.assertEqual(browser.response.status, status, (size, piece))

    def test_chunked_at_its_size(self) -> None:
        """A chunked body is refused at the first byte over the limit, whatever its chunks."""
        good = ask("a", pad="x" * (MAX_BODY - len(ask("a", pad=""))))
        self.assertEqual(len(good), MAX_BODY)
        for size in (1, 4096, MAX_BODY):
            pieces = [good[at : at + size] for at in range(0, len(good), size)]
            wire = request(CHAT, b"Transfer-Encoding: chunked") + b"".join(map(chunk, pieces))
            for extra, status in ((b"", 200), (chunk(b" "), 413)):
                browser = self.browser()
                browser.sends(wire + extra)
                self.assertEqual(browser.wire == b"", status == 200)
                if status == 200:
                    browser.sends(chunk(b""))
                    self.wire.says(whole(200, b"{}", JSON, b"Connection: close"))
                    self.clock.advance(0)
                self.assertEqual(browser.response.status, status)

    def test_declared_at_its_size(self) -> None:
        """A declared length over the limit is refused at the head, before the body."""
        for size, refused in ((MAX_BODY - 1, False), (MAX_BODY, False), (MAX_BODY + 1, True)):
            browser = self.browser()
            browser.sends(request(CHAT, b"Content-Length: %d" % size))
            self.assertEqual(browser.closed, refused, size)
            browser.leaves()
