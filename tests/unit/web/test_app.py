"""Tests of the pages and the request ids, on the router's channel and on Twisted's."""

from __future__ import annotations

from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot.routing.snapshot import Snapshot
from autopilot.web.status.report import StatusReport
from tests.unit.relay.routers import ALIAS
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import CHAT, SiteTestCase, ask
from tests.unit.web.responses import UUID


class PageTestsMixin(SiteTestCase):
    """Pages, which every channel must serve equally."""

    def test_request_id(self) -> None:
        """Every kind of response has the client's id, if that is valid."""
        long = b"x" * 128
        for given, kept in (
            (b"abc 1", True),
            (long, True),
            (long + b"x", False),
            (b"\xc3\xa4", False),
            (b"a\tb", False),
        ):
            field = b"X-Request-Id: " + given
            relayed = self.post(ask("a"), field)
            self.wire.says(whole(200, b"{}", b"application/json", b"X-Request-ID: theirs"))
            for got in (
                relayed.response,
                self.post(b"{}", field).response,
                self.get(b"/healthz", field),
                self.get(b"/nothing", field),
                self.get(CHAT, field),
            ):
                if kept:
                    self.assertEqual(got.identity, given.decode())
                else:
                    self.assertRegex(got.identity, UUID)

    def test_models(self) -> None:
        """The list has the alias, then the catalog's entries byte for byte."""
        got = self.get(b"/v1/models?x=1")
        self.assertEqual([each["id"] for each in got.json["data"]], [ALIAS, "org/name", "plain"])
        self.assertIn(b'{"id":"org/name","x":1.0}', got.body)
        for path in (b"/v1/models/org/name", b"/v1/models/org%2Fname"):
            self.assertEqual(self.get(path).body, b'{"id":"org/name","x":1.0}')
        self.assertEqual(self.get(b"/v1/models/chutesai/AutoPilot").json["id"], ALIAS)
        missing = self.get(b"/v1/models/nobody")
        self.assertEqual(missing.error, (404, "invalid_request_error", "unknown_model"))
        near = self.get(b"/v1/models/org/Name").json["error"]["message"]
        self.assertEqual(near, "There is no model of this name (did you mean 'org/name'?).")

    def test_models_for_codex(self) -> None:
        """A client that gives its version gets an empty member ``models`` as well."""
        usual = self.get(b"/v1/models")
        for query in (b"client_version=0.1", b"x=1&client_version="):
            got = self.get(b"/v1/models?" + query)
            self.assertEqual(got.json, {"models": [], **usual.json})
            self.assertIn(usual.body[1:], got.body)
            self.assertEqual(got.value(b"content-length"), b"%d" % len(got.body))
        self.assertEqual(self.get(b"/v1/models?client_versions=1").body, usual.body)

    def test_models_before_the_first_fetch(self) -> None:
        """Before the first fetch of the catalog, the list of models is 503 rather than empty."""
        self.catalog = None
        for path in (b"/v1/models", b"/v1/models/plain"):
            got = self.get(path)
            self.assertEqual(got.error, (503, "not_ready", "not_ready"))
            self.assertEqual(got.value(b"retry-after"), b"1")
            self.assertEqual(got.value(b"x-should-retry"), b"true")

    def test_health(self) -> None:
        """The health page is 200 while the process serves."""
        got = self.get(b"/healthz")
        self.assertEqual((got.status, got.body), (200, b"ok\n"))
        self.assertEqual(got.value(b"content-length"), b"3")

    def test_readiness(self) -> None:
        """The readiness page lists both feeds in any state."""
        got = self.get(b"/readyz")
        self.assertEqual((got.status, got.json["status"]), (200, "ready"))
        self.assertEqual(set(got.json["feeds"]), {"catalog", "utilization"})
        self.clock.advance(61)
        got = self.get(b"/readyz")
        self.assertEqual(got.status, 503)
        self.assertEqual(got.value(b"retry-after"), b"1")
        error = got.json["error"]
        self.assertEqual((error["type"], error["code"]), ("not_ready", "stale_snapshot"))
        self.assertEqual(got.json["feeds"]["utilization"]["state"], "stale")

    def test_when_to_try_again(self) -> None:
        """Retry-After is the next fetch of the missing feed, a minute at most."""
        self.feed_due_in = {"catalog": 200, "utilization": 7}.__getitem__
        self.site = self.make_site(self.tree())
        for catalog_at, utilization_at, code, seconds in (
            (None, None, "missing_allowlist", b"60"),
            (1.0, 999.0, "stale_allowlist", b"60"),
            (999.0, None, "missing_snapshot", b"7"),
            (999.0, 1.0, "stale_snapshot", b"7"),
        ):
            known = self.snapshot
            self.snapshot = Snapshot(known.catalog, known.ranking, catalog_at, utilization_at)
            got = self.get(b"/readyz")
            self.assertEqual(got.json["error"]["code"], code)
            self.assertEqual(got.value(b"retry-after"), seconds)
        self.catalog = None
        self.assertEqual(self.get(b"/v1/models").value(b"retry-after"), b"60")
        self.proxy.draining = True
        self.assertEqual(self.get(b"/readyz").value(b"retry-after"), b"1")

    def test_operators_pages(self) -> None:
        """Metrics, status page and status JSON are served, with names escaped."""
        got = self.get(b"/metrics")
        self.assertEqual(got.body, b"metric 1\n")
        self.assertTrue((got.value(b"content-type") or b"").startswith(b"text/plain"))
        self.assertEqual(self.get(b"/status.json").json["version"], "<c>")
        page = self.get(b"/status")
        self.assertEqual(page.value(b"content-type"), b"text/html; charset=utf-8")
        self.assertIn(b"default-src 'none'", page.value(b"content-security-policy") or b"")
        self.assertIn(b"&lt;c&gt;", page.body)

    def test_head(self) -> None:
        """HEAD responds like GET, without the body."""
        for path in (b"/healthz", b"/v1/models", b"/readyz", b"/metrics", b"/nothing"):
            got, full = self.get(path, method=b"HEAD"), self.get(path)
            self.assertEqual((got.status, got.body), (full.status, b""))
            self.assertEqual(got.value(b"content-length"), b"%d" % len(full.body))

    def test_apart(self) -> None:
        """A port can serve only the operators' pages, or only the clients'."""
        self.site = self.make_site(self.tree(operators=False))
        for path in (b"/metrics", b"/status", b"/status.json"):
            self.assertEqual(self.get(path).error[2], "not_found")
        self.assertEqual(self.get(b"/readyz").status, 200)
        self.site = self.make_site(self.tree(clients=False))
        for path in (b"/v1/models", b"/v1/models/plain", CHAT):
            self.assertEqual(self.get(path).error[2], "not_found")
        for path in (b"/metrics", b"/status", b"/status.json", b"/readyz", b"/healthz"):
            self.assertEqual(self.get(path).status, 200)

    def test_broken_page(self) -> None:
        """A bug in a page is logged, and gets a 500 in the usual format."""

        def broken() -> StatusReport:
            raise ZeroDivisionError("secret")

        self.status = broken
        got = self.get(b"/status.json")
        self.assertEqual(got.error, (500, "server_error", "internal_error"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class OwnChannelTests(PageTestsMixin):
    """On the router's own channel."""


class TwistedChannelTests(PageTestsMixin):
    """On Twisted's channel, as an embedding application has it."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)


del PageTestsMixin
