"""Tests of the channel: keep-alive connections and draining."""

from __future__ import annotations

from typing import Any

from autopilot.http.request_parser import RequestParser
from tests.unit.relay.upstreams import DONE, SSE, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, Browser, ask, request
from tests.unit.web.rejections import ChannelTestCase


class TurnTests(ChannelTestCase):
    """Several requests on one connection."""

    def test_continue_waits_its_turn(self) -> None:
        """A 100 Continue is not sent within the previous response."""
        browser = self.browser()
        fields = b"Expect: 100-continue", b"Content-Length: %d" % len(ask("b"))
        browser.sends(request(body=ask("a")) + request(CHAT, *fields))
        self.assertEqual(browser.wire, b"")
        self.wire.says(whole(200, b"{}"))
        self.assertEqual([each.status for each in browser.got], [200, 100])
        browser.sends(ask("b"))
        self.wire.says(whole(200, b"{}"))
        self.assertEqual([each.status for each in browser.got], [200, 100, 200])

    def test_no_invitation_without_need(self) -> None:
        """No 100 Continue for an arrived body, or to an HTTP/1.0 client (RFC 9110 §10.1.1)."""
        for version, body in ((b"1.1", b"{}"), (b"1.0", b"{}")):
            browser = self.browser()
            browser.sends(request(CHAT, b"Expect: 100-continue", version=version, body=body))
            self.assertEqual(browser.response.status, 400)

    def test_nothing_after_the_last(self) -> None:
        """Nothing is read after a request that closes the connection."""
        browser = self.browser()
        browser.sends(
            request(b"/healthz", b"Connection: close", method=b"GET")
            + request(b"/healthz", method=b"GET")
        )
        self.assertEqual(browser.response.value(b"connection"), b"close")
        self.assertTrue(browser.closed)

    def test_trailers(self) -> None:
        """Trailers are dropped: they cannot add fields to a request."""
        browser = self.browser()
        body = chunk(ask("a")) + b"0\r\nAuthorization: Bearer x\r\nX-TEE-Only: true\r\n\r\n"
        browser.sends(request(CHAT, b"Transfer-Encoding: chunked", body=body))
        self.assertNotIn(b"Bearer", self.wire.value())
        self.wire.says(whole(200, b"{}"))
        self.assertEqual(browser.response.status, 200)

    def test_full_client(self) -> None:
        """Nothing more is read from a client that does not read its responses."""
        browser = self.browser()
        browser.sends(request(body=ask("a")))
        producer: Any = browser.peer.producer
        self.wire.says(head(200, SSE), chunk(TOKEN))
        producer.pauseProducing()
        browser.sends(b"x" * 20_000)
        self.assertEqual(browser.peer.producerState, "paused")
        browser.leaves()

    def test_reader_stays_refused(self) -> None:
        """Nothing more is read after a rejection."""
        reader = RequestParser(self.limits)
        reader.feed(b"\x00")
        refusal = reader.error
        reader.feed(b"GET / HTTP/1.1\r\n")
        self.assertIs(reader.error, refusal)
        self.assertFalse(reader.arrived)


class DrainTests(ChannelTestCase):
    """The draining of the site's connections."""

    def setUp(self) -> None:
        """Count the calls that report an empty site."""
        super().setUp()
        self.emptied = 0

    def drain(self) -> None:
        """Start to drain."""
        site: Any = self.site
        site.drain(self.count)

    def count(self) -> None:
        """Count a call."""
        self.emptied += 1

    def test_nobody(self) -> None:
        """A site without connections is empty at once."""
        self.drain()
        self.assertEqual(self.emptied, 1)

    def test_idle(self) -> None:
        """Idle connections are closed at once."""
        fresh, used = self.browser(), self.browser()
        used.sends(request(b"/healthz", method=b"GET"))
        self.drain()
        self.assertTrue(fresh.closed and used.closed)
        fresh.leaves()
        self.assertEqual(self.emptied, 0)
        used.leaves()
        self.assertEqual(self.emptied, 1)

    def test_under_way(self) -> None:
        """Requests in progress are completed, and are the last of their connections."""
        answered, streamed = self.post(ask("a", stream=False)), self.post(ask("a"))
        self.wire.says(head(200, SSE), chunk(TOKEN))
        received = self.browser()
        received.sends(request(body=ask("nobody"))[:-5])
        self.drain()
        self.assertFalse(answered.closed or streamed.closed or received.closed)
        received.sends(request(body=ask("nobody"))[-5:])
        self.assertEqual(received.response.value(b"connection"), b"close")
        self.wire.says(chunk(DONE))
        self.upstreams.wires[0].says(whole(200, b"{}"))
        self.assertEqual(answered.response.value(b"connection"), b"close")
        self.assertTrue(streamed.response.whole)
        self.assertTrue(answered.closed and streamed.closed and received.closed)

    def streamed(self, *fields: bytes) -> Browser:
        """Return a client whose stream has begun when the site starts to wind down, and ended."""
        browser = self.browser()
        browser.sends(request(CHAT, *fields, body=ask("a")))
        self.wire.says(head(200, SSE), chunk(TOKEN))
        site: Any = self.site
        site.wind_down(self.clock.seconds() + 10)
        return browser

    def test_after_a_stream(self) -> None:
        """Behind a stream, whose head cannot announce the end, one more request is served."""
        browser = self.streamed()
        self.wire.says(chunk(DONE), chunk(b""))
        self.clock.advance(0.2)
        self.assertFalse(browser.closed)
        browser.sends(request(b"/healthz", method=b"GET"))
        self.assertEqual([each.status for each in browser.got], [200, 200])
        self.assertEqual(browser.got[-1].value(b"connection"), b"close")
        self.assertTrue(browser.closed)

    def test_sent_during_a_stream(self) -> None:
        """So may one that has sent it before the end of the stream."""
        browser = self.streamed()
        browser.sends(request(b"/healthz", method=b"GET"))
        self.wire.says(chunk(DONE), chunk(b""))
        self.clock.advance(0)
        self.assertEqual([each.status for each in browser.got], [200, 200])
        self.assertTrue(browser.closed)

    def test_silence_after_a_stream(self) -> None:
        """A client that sends nothing for a moment is not waited for."""
        browser = self.streamed()
        self.wire.says(chunk(DONE), chunk(b""))
        self.clock.advance(0.3)
        self.assertTrue(browser.closed)

    def test_no_more_after_a_stream(self) -> None:
        """Neither one that closes by itself nor one that has had its time is waited for."""
        browser = self.streamed(b"Connection: close")
        self.wire.says(chunk(DONE), chunk(b""))
        self.assertTrue(browser.closed)
        site: Any = self.site
        site.draining = False
        browser = self.streamed()
        self.clock.advance(10)
        self.wire.says(chunk(DONE), chunk(b""))
        self.assertTrue(browser.closed)

    def test_abort(self) -> None:
        """Abort closes the remaining connections."""
        browser = self.post(ask("a"))
        self.drain()
        site: Any = self.site
        site.abort()
        self.assertTrue(browser.peer.aborted)
