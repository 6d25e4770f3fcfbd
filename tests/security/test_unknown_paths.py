"""Paths of other routers that this one lacks: administration, tests and evaluation."""

from __future__ import annotations

from twisted.web.resource import IResource
from twisted.web.server import Site

from tests.security import routes
from tests.unit.web.browsers import SiteTestCase, ask, request
from tests.unit.web.responses import responses

ELSEWHERE = (
    *("/config/update", "/config/yaml", "/config", "/configs", "/get/config/callbacks"),
    *("/prompts/test", "/prompts", "/prompts/render", "/template", "/templates/preview"),
    *("/key/generate", "/key/info", "/key/list", "/key/block", "/keys", "/user/new", "/user/info"),
    *("/team/new", "/organization/new", "/model/new", "/model/info", "/model/delete"),
    *("/spend/logs", "/global/spend", "/budget/new", "/credentials", "/sso/key/generate"),
    *("/v1/proxy/x", "/v1/proxy/chat/completions", "/proxy", "/proxy/http://evil.test"),
    *("/mcp", "/mcp-rest/test/connection", "/mcp/tools/call", "/sse", "/ws", "/socket.io/"),
    *("/debug", "/debug/pprof", "/debug/vars", "/trace", "/console", "/shell", "/exec", "/eval"),
    *("/admin", "/admin/login", "/ui", "/login", "/logout", "/dashboard", "/swagger.json"),
    *("/docs", "/openapi.json", "/redoc", "/graphql", "/graphiql", "/routes", "/test"),
    *("/.env", "/.git/config", "/etc/passwd", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"),
    *("/actuator", "/actuator/env", "/actuator/heapdump", "/jolokia", "/server-status"),
    *("/v1/embeddings", "/v1/images/generations", "/v1/files", "/v1/batches", "/v1/assistants"),
    *("/v1/audio/transcriptions", "/v1/fine_tuning/jobs", "/v1/moderations", "/v1/threads"),
    *("/api/generate", "/api/chat", "/api/tags", "/api/version", "/api/v1/chat/completions"),
    *("/openai/deployments/x/chat/completions", "/anthropic/v1/messages", "/chat/completions"),
    *("/upload", "/download", "/static/x.js", "/index.html", "/robots.txt", "/favicon.ico"),
    *("/shutdown", "/restart", "/reload", "/cache/flushall", "/health/liveliness", "/health"),
)


class NothingThereTestsMixin(SiteTestCase):
    """Tests for every channel."""

    def assert_error(self, wire: bytes, method: bytes, status: int, code: str) -> None:
        """Check that the response is this error in JSON, and that nothing is forwarded."""
        browser = self.browser()
        browser.sends(wire)
        (got,) = responses(browser.wire, head_only=method == b"HEAD")
        self.assertEqual(got.status, status, wire)
        self.assertEqual(got.value(b"content-type"), b"application/json", wire)
        self.assertEqual(got.values(b"location") + got.values(b"set-cookie"), [])
        if method != b"HEAD":
            self.assertEqual(got.error[2], code, wire)
        self.assertEqual(self.upstreams.origins, [], wire)
        browser.leaves()

    def test_nothing_there(self) -> None:
        """None of these paths exists, for any method, with or without a body."""
        for path in ELSEWHERE:
            for method in routes.METHODS:
                body = ask("a") if method in (b"POST", b"PUT", b"PATCH") else b""
                wire = request(path.encode(), b"Authorization: x", method=method, body=body)
                self.assert_error(wire, method, 404, "not_found")

    def test_other_methods(self) -> None:
        """An unsupported method gets status 405 with the supported ones."""
        answered = {path: frozenset({b"POST"}) for path, _, _ in routes.relayed()}
        answered.update(routes.pages())
        for path, methods in answered.items():
            for method in routes.METHODS:
                if method in methods or path == b"/v1/messages":
                    continue
                body = ask("a") if method in (b"POST", b"PUT", b"PATCH") else b""
                wire = request(path, method=method, body=body)
                self.assert_error(wire, method, 405, "method_not_allowed")

    def test_all_routes(self) -> None:
        """The list of all routes; a new route must be added here after a review."""
        self.assertEqual(
            set(routes.every()),
            {
                b"/v1/chat/completions",
                b"/v1/completions",
                b"/v1/messages",
                b"/v1/messages/count_tokens",
                b"/v1/responses",
                b"/v1/models",
                b"/v1/models/plain",
                b"/healthz",
                b"/readyz",
                b"/metrics",
                b"/status",
                b"/status.json",
                b"/status/events",
                b"/status/icon.svg",
                b"/status/page.css",
                b"/status/page.js",
            },
        )
        for methods in routes.pages().values():
            self.assertLessEqual(methods, {b"GET", b"HEAD"})

    def test_pages_stay_here(self) -> None:
        """Pages cause no upstream request."""
        for path, methods in routes.pages().items():
            for method in methods:
                browser = self.browser()
                browser.sends(request(path, method=method))
                (got,) = responses(browser.wire, head_only=method == b"HEAD")
                self.assertEqual(got.status, 200, path)
        self.assertEqual(self.upstreams.origins, [])


class OwnChannelTests(NothingThereTestsMixin):
    """The router's own channel."""


class TwistedChannelTests(NothingThereTestsMixin):
    """Twisted's channel, as in an embedding application."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)


del NothingThereTestsMixin
