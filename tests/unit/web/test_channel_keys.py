"""Tests of requests without a key on the router's channel, at their head (contract §2)."""

from __future__ import annotations

from autopilot.http.dialect import Dialect
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import CHAT, MAX_BODY, SiteTestCase, ask, request

KEY = b"Authorization: Bearer x"


class KeyTests(SiteTestCase):
    """Which requests are refused, and when."""

    def setUp(self) -> None:
        """Require a key for all dialects but one."""
        super().setUp()
        tree = self.tree()
        tree.require_key({Dialect.COMPLETIONS, Dialect.MESSAGES})
        self.site = self.make_site(tree)

    def refused_at_head(self, head: bytes) -> None:
        """Assert that a head alone, without a body, is answered with the 401."""
        browser = self.browser()
        browser.sends(head)
        got = browser.response
        self.assertEqual((got.status, got.json["error"]["code"]), (401, "missing_key"))
        self.assertEqual(got.json["error"]["type"], "authentication_error")
        self.assertEqual(got.value(b"www-authenticate"), b"Bearer")
        self.assertTrue(browser.closed)

    def test_before_the_body(self) -> None:
        """The error comes at the head, and no client is invited to send its body."""
        length = b"Content-Length: 9"
        self.refused_at_head(request(CHAT, length))
        self.refused_at_head(request(CHAT + b"?x=1", length, b"Expect: 100-continue"))
        self.refused_at_head(request(CHAT, b"Transfer-Encoding: chunked", b"Authorization: Bearer"))
        self.refused_at_head(request(b"/v1/completions", length, b"X-Api-Key: x"))
        self.refused_at_head(request(b"http://router.test" + CHAT, length))
        self.refused_at_head(request(b"/v1/messages", length))
        self.assertEqual(self.refused, [401] * 6)
        # The target of the fifth names the origin, too; it is read only after the key.
        paths = ("/v1/chat/completions", "/v1/completions", "none", "/v1/messages")
        expected = {(path, "none", 401, "missing_key") for path in paths}
        self.assertEqual({labels[:4] for labels in self.counted._ends.values}, expected)

    def test_the_order_of_errors(self) -> None:
        """A wrong method and bad framing come first; a size that is too large comes after."""
        huge = b"Content-Length: %d" % (MAX_BODY + 1)
        self.refused_at_head(request(CHAT, huge))
        self.refused_at_head(request(CHAT, b"Content-Encoding: gzip", b"Content-Length: 1"))
        for wire, status in (
            (request(CHAT, KEY, huge), 413),
            (request(CHAT, method=b"GET"), 405),
            (request(CHAT, b"Content-Length: 1", b"Content-Length: 2"), 400),
            (request(CHAT + b"/x", body=b"{}"), 404),
        ):
            browser = self.browser()
            browser.sends(wire)
            self.assertEqual(browser.response.status, status)

    def test_pages(self) -> None:
        """Pages, and the dialects that require none, need no key."""
        self.assertEqual(self.get(b"/v1/models").status, 200)
        self.assertEqual(self.get(b"/healthz").status, 200)
        browser = self.post(ask("a", stream=False), path=b"/v1/responses")
        self.wire.says(whole(200, b"{}"))
        self.assertEqual(browser.response.status, 200)

    def test_with_a_key(self) -> None:
        """Any key lets a request through; the next one on the connection needs one of its own."""
        browser = self.browser()
        for path, field in ((CHAT, KEY), (b"/v1/messages", b"X-Api-Key: x")):
            browser.sends(request(path, field, body=ask("a", stream=False)))
            self.wire.says(whole(200, b"{}"))
            self.assertEqual(browser.got[-1].status, 200)
        browser.sends(request(CHAT, body=ask("a")))
        self.assertEqual(browser.got[-1].status, 401)
        self.assertTrue(browser.closed)
