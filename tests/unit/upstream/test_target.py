"""Requests to a target, byte by byte."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.forward_proxy import ForwardProxy
from autopilot.http.headers import field_lines
from autopilot.request.body import ParsedBody, parse_body
from autopilot.upstream.pool import Origin
from autopilot.upstream.target import RequestTarget


class RequestTargetTests(SynchronousTestCase):
    """One target, one host, one framing."""

    def test_head(self) -> None:
        """A request has one target, one host, one framing, and asks for no compression."""
        target = RequestTarget.of(Origin("http", "host", 1), b"/v1/x", b"me")
        self.assertEqual(
            target.request(b"y", field_lines([(b"A", b"b"), (b"A", b"c")]), (b"body", b"", b"12")),
            b"POST /v1/x?y HTTP/1.1\r\nHost: host:1\r\nAccept-Encoding: identity\r\n"
            b"A: b\r\nA: c\r\nVia: 1.1 me\r\nContent-Length: 6\r\n\r\nbody12",
        )

    def test_nothing(self) -> None:
        """Without query, fields and body nothing is left open."""
        target = RequestTarget.of(Origin("https", "h", 443), b"/", b"me")
        self.assertEqual(
            target.request(b"", b"", ()),
            b"POST / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: identity\r\nVia: 1.1 me\r\n"
            b"Content-Length: 0\r\n\r\n",
        )

    def test_forwarded(self) -> None:
        """A forwarding proxy gets the absolute form and its credentials, a tunnelled origin not."""
        proxy = ForwardProxy.of("http://me:hunter2@proxy.test:3128")
        plain = Origin("http", "2001:db8::1", 8080, "/base", proxy)
        target = RequestTarget.of(plain, b"/v1/x", b"me")
        self.assertEqual(
            target.request(b"q=1", b"A: b\r\n", (b"body",)),
            b"POST http://[2001:db8::1]:8080/base/v1/x?q=1 HTTP/1.1\r\n"
            b"Host: [2001:db8::1]:8080\r\nAccept-Encoding: identity\r\n"
            b"Proxy-Authorization: Basic bWU6aHVudGVyMg==\r\n"
            b"A: b\r\nVia: 1.1 me\r\nContent-Length: 4\r\n\r\nbody",
        )
        self.assertNotIn("bWU6", repr(target))
        secure = Origin("https", "llm.test", 443, "", proxy)
        direct = secure._replace(proxy=None)
        sent = [
            RequestTarget.of(each, b"/x", b"me").request(b"", b"", ()) for each in (secure, direct)
        ]
        self.assertEqual(sent[0], sent[1])

    def test_payload(self) -> None:
        """Head and body are one piece, and the length is that of the body as it is sent."""
        target = RequestTarget.of(Origin("http", "llm.test", 8080, "/base"), b"/v1/x", b"me")
        for filling in (b"x", b"x" * 100_000):
            parsed = parse_body(b'{"model":"a","x":"%b"}' % filling)
            assert isinstance(parsed, ParsedBody)
            body = b'{"model":"org/\\"b","x":"%b"}' % filling
            lines = field_lines([(b"Authorization", b"Bearer secret")])
            self.assertEqual(
                target.request(b"q=1", lines, parsed.template.pieces('org/"b')),
                b"POST /base/v1/x?q=1 HTTP/1.1\r\nHost: llm.test:8080\r\n"
                b"Accept-Encoding: identity\r\nAuthorization: Bearer secret\r\n"
                b"Via: 1.1 me\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
            )
