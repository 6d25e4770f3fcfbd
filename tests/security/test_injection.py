"""Texts that try to become a header field, a log line or HTML."""

from __future__ import annotations

import json

from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot import AutopilotService
from autopilot.observability.access_log import json_of, text_of
from autopilot.observability.records import RequestRecord
from autopilot.routing.selector import ASCII_BLANKS
from tests.security import routes
from tests.unit.relay.upstreams import whole
from tests.unit.service.platforms import ServiceTestCase, settings
from tests.unit.web.browsers import CHAT, SiteTestCase, ask, request
from tests.unit.web.responses import responses

SCRIPT = b"<script>alert(1)</script>"
MODELS = (
    "a\r\nSet-Cookie: x=1",
    "a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "a\nb",
    "a\rb",
    "a\0b",
    "a\x0bb\x0cc\x1cd\x1ee\x7ff",
    "a\x85b\u2028c\u2029d",
    "\u202eevil\u200b\ufeff",
    "a\x1b[2Jb",
    "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
    "a%0d%0ab",
    "\u560a\u560d",
    "../../etc/passwd",
    "a b\tc",
    "x" * 65536,  # the maximum length
    SCRIPT.decode(),
    '"}{"',
    "{0.__class__} %s ${jndi:ldap://x} {{7*7}}",
)


class ModelNameTests(ServiceTestCase):
    """Unchecked names of models: the router forwards unknown names."""

    def setUp(self) -> None:
        """Start a router that logs records."""
        super().setUp()
        self.records: list[RequestRecord] = []
        self.router = AutopilotService(
            settings(unknown_models="forward", max_model_list_items=2),
            reactor=self.reactor,
            records=self.records.append,
        )
        self.router.startService()
        self.platform.take()

    def tearDown(self) -> None:
        """Stop the router."""
        for browser in self.browsers:
            browser.leaves()
        self.successResultOf(self.router.stopService())
        self.assert_at_rest()

    def served(self, selector: str, model: str) -> None:
        """Check that a request for ``selector`` is sent for ``model``, with a valid response."""
        browser = self.browser()
        browser.sends(request(body=ask(selector)))
        sent = self.platform.wire.value()
        head, _, body = sent.partition(b"\r\n\r\n")
        self.assertEqual(len(head.split(b"\r\n")), 5, head)
        self.assertNotIn(b"evil", head)
        self.assertEqual(json.loads(body)["model"], model)
        self.platform.wire.says(whole(200, b"{}", b"application/json", b"Connection: close"))
        self.reactor.advance(0)
        got = browser.response
        known = {b"content-type", b"content-length", b"date", b"x-request-id"}
        own = {b"x-chutes-autopilot-" + each for each in (b"affinity", b"attempts", b"selected")}
        self.assertLessEqual({name.lower() for name, _ in got.fields}, known | own)
        self.assertEqual((got.status, got.body), (200, b"{}"))
        for _, value in got.fields:
            self.assertTrue(value.isascii() and value.decode().isprintable(), value)
        browser.leaves()

    def test_names(self) -> None:
        """Names add no header field on either side, and no log line."""
        for model in MODELS:
            self.served(model, model.strip(ASCII_BLANKS))
            if "," not in model and len(model) < 65536:
                self.served(f"{model.strip()},acme/one", model.strip())
        for record in self.records:
            for line in (text_of(record, 0.0), json_of(record, 0.0)):
                first, *more = line.removesuffix("\n").split("\n")
                self.assertTrue(all(each.startswith("    ") for each in more), line)
                for each in (first, *more):
                    self.assertTrue(each.isascii() and each.isprintable(), line)
                self.assertLess(len(line), 4000)

    def test_status_page(self) -> None:
        """The status page shows names as text."""
        self.served(SCRIPT.decode(), SCRIPT.decode())
        browser = self.browser()
        browser.sends(request(b"/status", method=b"GET"))
        page = browser.response
        self.assertIn(b"&lt;script&gt;", page.body)
        self.assertEqual(page.body.count(b"<script"), 1)
        policy = page.value(b"content-security-policy") or b""
        self.assertTrue(policy.startswith(b"default-src 'none'; script-src 'self';"), policy)
        self.assertNotIn(b"unsafe", policy)

    def test_metrics(self) -> None:
        """Names add no series and no line to the metrics."""
        for model in MODELS:
            self.served(model, model.strip(ASCII_BLANKS))
        browser = self.browser()
        browser.sends(request(b"/metrics", method=b"GET"))
        lines = browser.response.body.decode().splitlines()
        selections = [
            line for line in lines if line.startswith("chutes_autopilot_selection_total{")
        ]
        self.assertEqual(
            selections,
            [f'chutes_autopilot_selection_total{{model="other",status="200"}} {len(MODELS)}.0'],
        )


class ResponseTestsMixin(SiteTestCase):
    """Responses from upstream, on every channel."""

    def test_heads_are_not_split(self) -> None:
        """An ambiguous head is a failed attempt; the client receives none of it."""
        for line in (
            b"X: a\rSet-Cookie: evil=1",
            b"X: a\nSet-Cookie: evil=1",
            b"X: a\0Set-Cookie: evil=1",
            b"X: a\r\n Set-Cookie: evil=1",
            b"X: a\r\n\tevil",
            b"X\r: evil",
            b"X evil",
            b"X : evil",
            b": evil",
            b"\x00evil: 1",
            b"X: \x08evil",
            b"X: evil\x7f",
        ):
            browser = self.browser()
            browser.sends(request(body=ask("a,b")))
            first = self.wire
            first.says(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 2\r\n\r\n{}")
            self.assertIsNot(self.wire, first, line)
            self.wire.says(whole(200, b"[]", b"application/json", b"Connection: close"))
            self.clock.advance(0)
            self.assertEqual(browser.response.body, b"[]")
            self.assertNotIn(b"evil", browser.wire)

    def test_reasons_are_not_split(self) -> None:
        """A reason phrase does not become a header field."""
        for reason in (b"OK\rX: evil", b"OK\nX: evil", b"OK\0evil", b"\x1b[2Jevil", b"evil\x7f"):
            browser = self.browser()
            browser.sends(request(body=ask("a")))
            self.wire.says(b"HTTP/1.1 200 " + reason + b"\r\nContent-Length: 2\r\n\r\n{}")
            self.assertEqual(browser.response.error[2], "upstream_connect_error")
            self.assertNotIn(b"evil", browser.wire)

    def test_control_bytes_end_here(self) -> None:
        """A request with a control byte in a field or in its target is not forwarded."""
        for byte in (*range(9), *range(10, 32), 127):
            if byte in b"\r\n":
                continue
            control = bytes([byte])
            browsers = [
                self.post(ask("a"), b"X-Evil: a" + control + b"b"),
                self.post(ask("a"), b"X-Evil: " + control),
                self.post(ask("a"), path=CHAT + b"?a" + control + b"b"),
            ]
            self.assertEqual({each.response.status for each in browsers}, {400}, byte)
        for target in (CHAT + b"?\xff", CHAT + b"?\xc3\xa9", CHAT + b"\xa0?a"):
            self.assertIn(self.post(ask("a"), path=target).response.status, (400, 404))
        self.assertEqual(self.upstreams.origins, [])

    def test_pages_are_not_ours(self) -> None:
        """No response of the router is HTML that contains a part of the request."""
        fields = (b"X-Request-Id: " + SCRIPT, b"User-Agent: " + SCRIPT, b"Referer: " + SCRIPT)
        targets = [*routes.every(), b"/" + SCRIPT.replace(b" ", b""), b"/v1/models/" + SCRIPT]
        for target in targets:
            for method in (b"GET", b"POST", b"PUT", b"OPTIONS"):
                for host in (b"router.test", SCRIPT):
                    browser = self.browser()
                    wire = request(target + b"?" + SCRIPT, *fields, method=method, host=host)
                    browser.sends(
                        wire.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n<script>{", 1)
                    )
                    for got in responses(browser.wire):
                        self.assertNotIn(b"<script>", got.body, wire)
                        if got.status >= 400:
                            self.assertEqual(got.value(b"content-type"), b"application/json", wire)

    def test_unknown_model_is_json(self) -> None:
        """The router repeats only an unknown model's name, within JSON."""
        got = self.post(ask(SCRIPT.decode())).response
        self.assertEqual(got.value(b"content-type"), b"application/json")
        self.assertIn("<script>", got.json["error"]["message"])

    def test_any_bytes_in_any_field(self) -> None:
        """Fields with arbitrary bytes are refused or ignored, and break nothing."""
        names = (b"X-Request-Id", b"Accept", b"Accept-Language", b"Authorization", b"Cookie")
        for name in (*names, b"Content-Type", b"Range", b"If-None-Match", b"X-Forwarded-Proto"):
            for value in (b"\xe9", b"\xff\xfe", b"\xc3\xa9", b"\xed\xa0\x80"):
                for path in (b"/healthz", b"/v1/models", b"/nothing", CHAT):
                    got = self.get(path, name + b": " + value)
                    self.assertIn(got.status, (200, 404, 405), (name, value, path))
                    self.assertIsNotNone(got.value(b"x-request-id"))
                browser = self.post(ask("nobody"), name + b": " + value)
                self.assertEqual(browser.response.error[2], "unknown_model")


class OwnChannelTests(ResponseTestsMixin):
    """The router's own channel."""


class TwistedChannelTests(ResponseTestsMixin):
    """Twisted's channel, as in an embedding application."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)


del ResponseTestsMixin
