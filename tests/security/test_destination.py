"""Only the operator's settings decide where a request is sent, on every route."""

from __future__ import annotations

import json
from typing import Any

from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot.upstream.pool import Origin
from tests.security import routes
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import SiteTestCase, ask, request

EVIL = b"evil.test"
FIELDS = (
    b"api-base: http://evil.test",
    b"api-key: stolen",
    b"base-url: http://evil.test",
    b"x-api-base: http://evil.test",
    b"x-base-url: http://evil.test",
    b"x-openai-base-url: http://evil.test",
    b"x-portkey-custom-host: http://evil.test",
    b'x-portkey-config: {"custom_host":"http://evil.test"}',
    b"x-portkey-provider: evil",
    b"x-helicone-openai-api-base: http://evil.test",
    b"helicone-target-url: http://evil.test",
    b"x-llm-host: evil.test",
    b"x-target-host: evil.test",
    b"x-upstream-host: evil.test",
    b"x-host: evil.test",
    b"x-forwarded-host: evil.test",
    b"x-forwarded-proto: ftp",
    b"x-forwarded-port: 1",
    b"x-forwarded-prefix: /evil",
    b"x-original-host: evil.test",
    b"x-original-url: http://evil.test/evil",
    b"x-rewrite-url: /evil",
    b"x-envoy-original-path: /evil",
    b"x-http-method-override: GET",
    b"x-http-method: DELETE",
    b"x-method-override: GET",
    b"forwarded: host=evil.test",
    b"proxy: http://evil.test",
    b"proxy-connection: keep-alive",
    b"x-litellm-api-base: http://evil.test",
    b"destination: http://evil.test",
    b"location: http://evil.test",
    b"via: 1.1 evil.test",
    b"alt-used: evil.test",
    b"origin: http://evil.test",
    b"referer: http://evil.test/",
)
QUERIES = (
    b"url=http://evil.test",
    b"api_base=http://evil.test&base_url=//evil.test",
    b"_method=GET",
    b"host=evil.test",
    b"@evil.test",
    b"/../../evil",
    b"?://evil.test/",
    b"a%0d%0aHost:%20evil.test%0d%0a",
    b"%00",
)
MEMBERS: dict[str, Any] = {
    "api_base": "http://evil.test",
    "base_url": "http://evil.test",
    "api_key": "stolen",
    "custom_host": "http://evil.test",
    "host": "evil.test",
    "url": "http://evil.test",
    "endpoint": "http://evil.test",
    "organization": "evil",
    "custom_llm_provider": "evil",
    "metadata": {"api_base": "http://evil.test"},
    "litellm_params": {"api_base": "http://evil.test"},
    "extra_headers": {"Host": "evil.test"},
    "headers": {"Host": "evil.test"},
    "proxy": "http://evil.test",
    "fallbacks": [{"api_base": "http://evil.test"}],
    "model_list": [{"litellm_params": {"api_base": "http://evil.test"}}],
    "target_url": "http://evil.test",
    "webhook": "http://evil.test",
}


class DestinationTestsMixin(SiteTestCase):
    """Tests for every channel."""

    def relayed_to(self, origin: Origin, target: bytes, wire: bytes) -> None:
        """Check that the request is sent to this address, and only there."""
        before = len(self.upstreams.origins)
        browser = self.browser()
        browser.sends(wire)
        self.assertEqual(self.upstreams.origins[before:], [origin], wire)
        sent = self.wire.value()
        head, _, body = sent.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        self.assertEqual(line, b"POST %b%b HTTP/1.1" % (origin.base_path.encode(), target))
        hosts = [field for field in fields if field.lower().startswith(b"host:")]
        self.assertEqual(hosts, [b"Host: " + origin.host_field])
        self.assertEqual(json.loads(body)["model"], "a")
        self.wire.says(whole(200, b"{}", b"application/json", b"Connection: close"))
        self.clock.advance(0)
        self.assertEqual(browser.response.status, 200)

    def refuses(self, wire: bytes, *statuses: int) -> None:
        """Check that the request gets an error and is not forwarded."""
        browser = self.browser()
        browser.sends(wire)
        self.assertIn(browser.response.status, statuses, wire)
        self.assertEqual(self.upstreams.origins, [], wire)

    def test_header_fields(self) -> None:
        """No header field changes the destination, alone or together with all others."""
        for path, _, origin in routes.relayed():
            for fields in (*((field,) for field in FIELDS), FIELDS):
                self.relayed_to(origin, path, request(path, *fields, body=ask("a")))

    def test_queries(self) -> None:
        """A query does not change the destination; it is forwarded unchanged."""
        for path, _, origin in routes.relayed():
            for query in QUERIES:
                target = path + b"?" + query
                self.relayed_to(origin, target, request(target, body=ask("a")))

    def test_members(self) -> None:
        """No member of the body changes the destination."""
        for path, _, origin in routes.relayed():
            alone = [{name: value} for name, value in MEMBERS.items()]
            for members in (*alone, MEMBERS):
                self.relayed_to(origin, path, request(path, body=ask("a", **members)))

    def test_redirects(self) -> None:
        """A redirect is relayed to the client, and not followed."""
        for path, _, origin in routes.relayed():
            for status in (300, 301, 302, 303, 305, 307, 308):
                before = len(self.upstreams.origins)
                browser = self.browser()
                browser.sends(request(path, body=ask("a,b")))
                to = (b"Location: http://evil.test/x", b"Refresh: 0;url=http://evil.test")
                self.wire.says(whole(status, b"{}", b"application/json", *to, b"Connection: close"))
                self.clock.advance(0)
                self.assertEqual(self.upstreams.origins[before:], [origin])
                got = browser.response
                self.assertEqual((got.status, got.body), (status, b"{}"))
                self.assertEqual(got.value(b"location"), b"http://evil.test/x")

    def test_override_is_no_route(self) -> None:
        """A field that names another path or method does not change the request."""
        for path, _, _ in routes.relayed():
            for method in (b"GET", b"PUT"):
                fields = (b"X-HTTP-Method-Override: POST", b"X-Method-Override: POST")
                self.refuses(request(path, *fields, method=method, body=ask("a")), 405)
            for name in (b"X-Original-URL: ", b"X-Rewrite-URL: ", b"X-Envoy-Original-Path: "):
                self.refuses(request(b"/nothing", name + path, body=ask("a")), 404)
                self.refuses(request(b"/healthz", name + path, body=ask("a")), 405)

    def test_other_spellings(self) -> None:
        """A path that differs from every route gets an error."""
        for path, _, _ in routes.relayed():
            for other in (
                b"/" + path,
                path + b"/",
                path + b";x=1",
                path + b"%00",
                path + b"%3Fa",
                path + b"%0d%0aHost:%20evil.test",
                path + b"%20HTTP/1.1",
                path + b"\xc3\xa9",
                b"/%76" + path[2:],
                path + b".json",
                path.upper(),
                b"/." + path,
                b"/x/.." + path,
                b"/v1/x/.." + path[3:],
                path.replace(b"/", b"//"),
                path.replace(b"/v1/", b"/v1%2f"),
                path.replace(b"/v1/", b"/v1\\"),
                path.replace(b"/v1", b"/%2e/v1"),
                b"//evil.test" + path,
                b"/\\evil.test" + path,
                b"/http://evil.test" + path,
            ):
                self.refuses(request(other, body=ask("a")), 400, 404)


class OwnChannelTests(DestinationTestsMixin):
    """The router's own channel, which is stricter."""

    def test_absolute_targets(self) -> None:
        """The path of an absolute URL is used; its host does not change the destination."""
        for path, _, origin in routes.relayed():
            for host in (EVIL, b"router.test", b"169.254.169.254", b"[::1]:22"):
                for field in (host, b"router.test"):
                    wire = request(b"http://" + host + path, host=field, body=ask("a"))
                    self.relayed_to(origin, path, wire)

    def test_other_targets(self) -> None:
        """A target is refused if it is neither a path nor a URL without a user."""
        for path, _, _ in routes.relayed():
            for target in (
                EVIL + b":443",
                b"*",
                b"http://u@" + EVIL + path,
                b"ftp://" + EVIL + path,
                b"http:" + path,
                path.lstrip(b"/"),
                path + b"#x",
                b"http://" + EVIL + path + b"#x",
            ):
                self.refuses(request(target, body=ask("a")), 400)

    def test_hosts(self) -> None:
        """An invalid ``Host`` is refused on every route; another valid one changes nothing."""
        for path in routes.every():
            for host in (
                b"a/x?",
                b"a?x",
                b"a@b",
                b"a,b",
                b"a b",
                b"a:b",
                b"a:1:2",
                b"a#b",
                b"a\\b",
                b"[::1",
                b"<script>",
                b"a\tb",
                b"",
            ):
                self.refuses(request(path, host=host, method=b"GET"), 400)
                self.refuses(request(path, host=host, body=ask("a")), 400)
        for path, _, origin in routes.relayed():
            for host in (EVIL, b"a:99999", b"a:" + b"9" * 99, b"127.0.0.1:22", b"[::1]", b"%2e"):
                self.relayed_to(origin, path, request(path, host=host, body=ask("a")))


class TwistedChannelTests(DestinationTestsMixin):
    """Twisted's channel, as in an embedding application."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)


del DestinationTestsMixin
