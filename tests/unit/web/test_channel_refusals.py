"""Tests of the heads that the channel rejects, and of the upgrades that it ignores."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.relay.upstreams import chunk, whole
from tests.unit.web.browsers import CHAT, MAX_BODY, ask, request
from tests.unit.web.rejections import HOST, POST, ChannelTestCase
from tests.unit.web.responses import Response


class RefusalTests(ChannelTestCase):
    """Heads on which a proxy must be strict."""

    def test_framing(self) -> None:
        """Ambiguous framing is rejected (RFC 9112 §6.3, §11.2)."""
        for fields, status in (
            (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 400),
            (b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", 400),
            (b"Content-Length: 2\r\nContent-Length: 2\r\n", 400),
            (b"Content-Length: 2\r\nContent-Length: 3\r\n", 400),
            (b"Content-Length: 2, 2\r\n", 400),
            (b"Content-Length: +2\r\n", 400),
            (b"Content-Length: -2\r\n", 400),
            (b"Content-Length: 0x2\r\n", 400),
            (b"Content-Length: \r\n", 400),
            (b"Content-Length: " + b"9" * 5000 + b"\r\n", 400),
            (b"Transfer-Encoding: gzip\r\n", 501),
            (b"Transfer-Encoding: xchunked\r\n", 501),
            (b"Transfer-Encoding: gzip, chunked\r\n", 501),
            (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
            (b"Transfer-Encoding: identity\r\n", 501),
        ):
            self.rejected(POST + HOST + fields + b"\r\nhi", status, "bad_request")
        self.rejected(
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request"
        )
        for body in (b"zz\r\nhi\r\n", b"1;\x00\r\nx\r\n", b"-1\r\nx\r\n", b"2\r\nhiX\r\n"):
            wire = POST + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"
            self.rejected(wire, 400, "bad_request")

    def test_host(self) -> None:
        """There must be exactly one valid Host (RFC 9112 §3.2)."""
        for fields in (
            b"",
            HOST + HOST,
            b"Host: \r\n",
            b"Host: a b\r\n",
            b"Host: u@h\r\n",
            b"Host: a/b\r\n",
            b"Host: a,b\r\n",
            b"Host: a:b\r\n",
            b"Host: [::1\r\n",
            b"Host: a?x\r\n",
            b"Host: \xff\r\n",
            b"Host: a\\b\r\n",
        ):
            self.rejected(b"GET /healthz HTTP/1.1\r\n" + fields + b"\r\n", 400, "bad_request")
        for host in (b"a", b"a.b:80", b"[::1]:80", b"127.0.0.1:", b"a_b"):
            self.assertEqual(self.got_page(b"Host: " + host + b"\r\n").status, 200)
        browser = self.browser()
        browser.sends(b"GET /healthz HTTP/1.0\r\n\r\n")
        self.assertEqual(browser.response.status, 200)

    def got_page(self, fields: bytes, target: bytes = b"/healthz") -> Response:
        """Return the response to one GET."""
        browser = self.browser()
        browser.sends(b"GET " + target + b" HTTP/1.1\r\n" + fields + b"\r\n")
        return browser.response

    def test_syntax(self) -> None:
        """Malformed requests are rejected."""
        for wire in (
            b"POST / HTTP/1.1\nHost: x\n\n",
            b"POST / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
            POST + HOST + b"A: b\r\n c\r\n\r\n",
            POST + HOST + b"A : b\r\n\r\n",
            POST + HOST + b": b\r\n\r\n",
            POST + HOST + b"A\x00: b\r\n\r\n",
            POST + HOST + b"A: b\x00c\r\n\r\n",
            POST + HOST + b"A: b\rContent-Length: 9\r\n\r\n",
            POST + HOST + b"A: b\x07\r\n\r\n",
            POST + HOST + b"no colon\r\n\r\n",
            b"GET /\xe4 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
            b"GET / HTTP/11\r\nHost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
        ):
            browser = self.browser()
            browser.sends(wire + b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
            got = browser.response
            self.assertIn(got.status, (400, 501), wire)
            self.assertIn(got.error[2], ("bad_request", "method_not_allowed"))
            self.assertTrue(browser.closed)

    def test_version(self) -> None:
        """HTTP/0.9 and 2.0 are rejected."""
        self.rejected(b"GET /\r\n\r\n", 505, "bad_request")
        self.rejected(b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, "bad_request")

    def test_target(self) -> None:
        """Only the path of an absolute URL counts; a target without a path is rejected."""
        for target in (b"http://elsewhere/healthz", b"HTTPS://u:80/healthz?x"):
            self.assertEqual(self.got_page(HOST, target).status, 200)
        self.assertEqual(self.got_page(HOST, b"http://elsewhere").status, 404)
        for target in (b"x:80", b"*", b"ftp://a/b", b"http://u@h/", b"/a#b", b"healthz"):
            wire = b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n"
            self.rejected(wire, 400, "bad_request")

    def test_whole_server(self) -> None:
        """``OPTIONS *`` is answered with the methods of all resources (RFC 9110 §9.3.7)."""
        browser = self.browser()
        browser.sends(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine\r\n\r\n")
        got = browser.response
        self.assertEqual((got.status, got.body, got.identity), (200, b"", "mine"))
        self.assertEqual(got.value(b"allow"), b"GET, HEAD, OPTIONS, POST")
        self.assertFalse(browser.closed)

    def test_loop(self) -> None:
        """What the router sends up is refused when it comes back, and counted."""
        browser = self.browser()
        browser.sends(request(body=ask("a")))
        sent = self.wire.value().replace(b"POST /base/", b"POST /", 1)
        again = self.browser()
        again.sends(sent)
        self.assertEqual(again.response.error, (508, "server_error", "loop_detected"))
        self.assertEqual(self.refused, [508])
        self.wire.says(whole(200, b"{}"))
        self.assertEqual(browser.response.status, 200)

    def test_method(self) -> None:
        """CONNECT, unknown methods and what is no method are rejected."""
        self.rejected(b"CONNECT a:443 HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed")
        for method in (b"FOO", b"get", b"POSTX", b"PURGE", b"M-SEARCH", b"X" * 70):
            self.rejected(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n", 501, "method_not_allowed")
        for method in (b"G\x00T", b"G@T", b"GET\t", b"\x16\x03", b" GET", b"{}", b"FOO\r\n"):
            self.rejected(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request")
        browser = self.browser()
        browser.sends(b"TRACE /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(browser.response.status, 405)

    def test_expectation(self) -> None:
        """Expectations other than 100-continue are rejected (RFC 9110 §10.1.1)."""
        self.rejected(
            POST + HOST + b"Expect: magic\r\nContent-Length: 2\r\n\r\nhi", 417, "bad_request"
        )

    def test_identity(self) -> None:
        """A rejection has the client's id, and the endpoint's error format."""
        browser = self.browser()
        browser.sends(request(b"/v1/messages?q", b"X-Request-ID: mine", b"Expect: magic"))
        self.assertEqual(browser.response.value(b"x-request-id"), b"mine")
        self.assertEqual(browser.response.json["type"], "error")

    def test_refusal_waits_its_turn(self) -> None:
        """A pipelined request is rejected after the running response."""
        browser = self.browser()
        browser.sends(request(body=ask("a")) + b"garbage\r\n\r\n")
        self.assertEqual(browser.wire, b"")
        browser.sends(b"more")
        self.wire.says(whole(200, b"{}"))
        self.assertEqual([each.status for each in browser.got], [200, 400])
        self.assertTrue(browser.closed)

    def test_mistake(self) -> None:
        """A bug in the parser is logged and gets a 500, not a 400."""
        with patch(
            "autopilot.http.request_parser.read_request_headers", side_effect=ZeroDivisionError
        ):
            browser = self.browser()
            browser.sends(request(body=ask()))
        self.assertEqual(browser.response.error, (500, "server_error", "internal_error"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 0)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_requests_end_in_order(self) -> None:
        """Only the first request is processed."""
        browser = self.post(ask())
        channel: Any = browser.protocol
        with self.assertRaises(TypeError):
            channel.requestDone(object())

    @given(st.binary(max_size=60), st.integers(0, 3))
    def test_garbage(self, garbage: bytes, piece: int) -> None:
        """Any bytes get at most one response, and raise no exception."""
        browser = self.browser()
        browser.sends(garbage, piece)
        self.assertLessEqual(len(browser.got), 3)
        browser.leaves()


class UpgradeTests(ChannelTestCase):
    """Requests with an Upgrade field."""

    FIELDS = (
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"),
        (b"Connection: Upgrade", b"Upgrade: websocket"),
    )

    def test_declined(self) -> None:
        """The upgrade is ignored, and the connection continues (RFC 9110 §7.8)."""
        chunked = chunk(ask("a")[:5]) + chunk(ask("a")[5:]) + chunk(b"")
        for fields in self.FIELDS:
            for wire in (
                request(CHAT, *fields, body=ask("a")),
                request(CHAT, *fields, b"Transfer-Encoding: chunked", body=chunked),
            ):
                for piece in (0, 1, 11):
                    browser = self.browser()
                    browser.sends(wire + request(b"/healthz", *fields, method=b"GET"), piece)
                    self.wire.says(whole(200, b"{}"))
                    self.assertEqual([each.status for each in browser.got], [200, 200])
                    browser.sends(request(b"/healthz", method=b"GET"))
                    self.assertEqual(len(browser.got), 3)
                    self.assertFalse(browser.closed)
                    self.assertNotIn(b"pgrade", self.wire.value())
                    self.wire.closes()

    def test_without_a_body(self) -> None:
        """The same without a body."""
        for fields in self.FIELDS:
            for piece in (0, 1):
                browser = self.browser()
                browser.sends(request(b"/healthz", *fields, method=b"GET") * 2, piece)
                self.assertEqual([each.status for each in browser.got], [200, 200])

    def test_last(self) -> None:
        """A request that also closes is the last."""
        browser = self.browser()
        fields = b"Connection: Upgrade, close", b"Upgrade: h2c"
        browser.sends(request(CHAT, *fields, body=ask("nobody")))
        self.assertEqual(browser.response.status, 400)
        self.assertTrue(browser.closed)

    def test_limits_hold(self) -> None:
        """The limits apply to it, too."""
        browser = self.browser()
        fields = b"Connection: Upgrade", b"Upgrade: h2c", b"Transfer-Encoding: chunked"
        browser.sends(request(CHAT, *fields, body=chunk(b"x" * (MAX_BODY + 1))))
        self.assertEqual(browser.response.status, 413)
        self.assertTrue(browser.closed)
