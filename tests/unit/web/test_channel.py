"""Several requests on one connection, and the end of connections."""

from __future__ import annotations

from typing import Any

from autopilot.http.request_parser import RequestParser
from tests.unit.relay.upstreams import SSE, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.rejections import ChannelTestCase


class TurnTests(ChannelTestCase):
    """Several requests on one connection."""

    def test_continue_waits_its_turn(self) -> None:
        """An invitation is not sent into the answer to the request before."""
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
        """A body that is there already, or an HTTP/1.0 client, is not invited."""
        for version, body in ((b"1.1", b"{}"), (b"1.0", b"{}")):
            browser = self.browser()
            browser.sends(request(CHAT, b"Expect: 100-continue", version=version, body=body))
            self.assertEqual(browser.response.status, 400)

    def test_nothing_after_the_last(self) -> None:
        """Behind a request that closes the connection nothing is read."""
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
        """Of a client that does not take its answers nothing more is read."""
        browser = self.browser()
        browser.sends(request(body=ask("a")))
        producer: Any = browser.peer.producer
        self.wire.says(head(200, SSE), chunk(TOKEN))
        producer.pauseProducing()
        browser.sends(b"x" * 20_000)
        self.assertEqual(browser.peer.producerState, "producing")
        browser.leaves()

    def test_reader_stays_refused(self) -> None:
        """After a refusal nothing more is read."""
        reader = RequestParser(self.limits)
        reader.feed(b"\x00")
        refusal = reader.refusal
        reader.feed(b"GET / HTTP/1.1\r\n")
        self.assertIs(reader.refusal, refusal)
        self.assertFalse(reader.arrived)


class DrainTests(ChannelTestCase):
    """Closing the site's connections without breaking anything off."""

    def setUp(self) -> None:
        """Count how often the site says it is empty."""
        super().setUp()
        self.emptied = 0

    def drain(self) -> None:
        """Begin."""
        site: Any = self.site
        site.drain(self.count)

    def count(self) -> None:
        """The site is empty."""
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
        """Requests being received or answered are completed, and are the last."""
        answered, streamed = self.post(ask("a", stream=False)), self.post(ask("a"))
        self.wire.says(head(200, SSE), chunk(TOKEN))
        received = self.browser()
        received.sends(request(body=ask("nobody"))[:-5])
        self.drain()
        self.assertFalse(answered.closed or streamed.closed or received.closed)
        received.sends(request(body=ask("nobody"))[-5:])
        self.assertEqual(received.response.value(b"connection"), b"close")
        self.wire.says(chunk(b""))
        self.upstreams.wires[0].says(whole(200, b"{}"))
        self.assertEqual(answered.response.value(b"connection"), b"close")
        self.assertTrue(streamed.response.whole)
        self.assertTrue(answered.closed and streamed.closed and received.closed)

    def test_abort(self) -> None:
        """What is still there in the end is dropped."""
        browser = self.post(ask("a"))
        self.drain()
        site: Any = self.site
        site.abort()
        self.assertTrue(browser.peer.aborted)
