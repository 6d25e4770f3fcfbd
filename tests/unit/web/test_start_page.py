"""Tests of the page at `/`: its addresses, its two formats, and what it does not repeat."""

from __future__ import annotations

import ast
import json
import re
import shlex
from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from html import unescape
from typing import Any
from unittest.mock import patch

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site

from autopilot.web.root import RootResource
from autopilot.web.start_page import Address, StartPage, reachable
from tests.unit.web.browsers import Browser, Peer, SiteTestCase, request
from tests.unit.web.responses import Response, responses

BROWSER = b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class StartPageTestCase(SiteTestCase):
    """A site with a page at `/`."""

    admin: Callable[[], Sequence[Address]] | None = None
    trusted = ""
    aliases: Sequence[str] = ("chutesai/AutoPilot", "other")

    def tree(self, *, clients: bool = True, operators: bool = True) -> RootResource:
        """See `SiteTestCase`."""
        tree = super().tree(clients=clients, operators=operators)
        start = StartPage(
            "1.2", lambda peer: peer == self.trusted, lambda: self.aliases, self.admin
        )
        return RootResource(tree._pages, self.proxy, start)

    def page(
        self,
        *fields: bytes,
        method: bytes = b"GET",
        host: bytes | None = b"router.test:8080",
        version: bytes = b"1.1",
        own: str = "192.0.2.1",
        target: bytes = b"/",
    ) -> Response:
        """Request the page; the connection arrives at the address ``own``."""
        peer = Peer()
        peer.hostAddr = IPv4Address("TCP", own, 8080)
        browser = Browser(self.site, peer)
        self.browsers.append(browser)
        browser.sends(request(target, *fields, method=method, host=host, version=version))
        (got,) = responses(browser.wire, head_only=method == b"HEAD")
        return got


class AddressTests(StartPageTestCase):
    """The addresses, from the request's own."""

    def test_json(self) -> None:
        """JSON has the base URLs under the request's host, and the status page's address."""
        got = self.page()
        self.assertEqual((got.status, got.value(b"content-type")), (200, b"application/json"))
        self.assertEqual(
            got.json,
            {
                "name": "chutes-autopilot",
                "version": "1.2",
                "openai_base_url": "http://router.test:8080/v1",
                "anthropic_base_url": "http://router.test:8080",
                "status": "http://router.test:8080/status",
            },
        )

    def test_head(self) -> None:
        """HEAD has the same fields and no body; other methods are not allowed."""
        got, whole = self.page(method=b"HEAD"), self.page()
        self.assertEqual((got.status, got.body), (200, b""))
        self.assertEqual(got.value(b"content-length"), whole.value(b"content-length"))
        for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS"):
            got = self.page(method=method)
            self.assertEqual(got.error, (405, "invalid_request_error", "method_not_allowed"))
            self.assertEqual(got.value(b"allow"), b"GET, HEAD")

    def test_hosts(self) -> None:
        """Only a valid host and port are repeated; without one there are no addresses."""
        for host in (b"[2001:db8::1]:443", b"a", b"10.0.0.1", b"x-y.test:1"):
            self.assertEqual(
                self.page(host=host).json["openai_base_url"], f"http://{host.decode()}/v1"
            )
        for host in (b"a;b", b"a%2f", b"a$(x)", b"a'b", b"a:123456", b"a:", b"~", b"a" * 254):
            got = self.page(host=host)
            self.assertEqual(got.status, 200, host)
            self.assertEqual(got.json, {"name": "chutes-autopilot", "version": "1.2"}, host)
        got = self.page(host=None, version=b"1.0")
        self.assertEqual(set(got.json), {"name", "version"})

    def test_tls(self) -> None:
        """Only a trusted proxy's X-Forwarded-Proto makes the addresses secure."""
        forwarded = b"X-Forwarded-Proto: HTTPS, http"
        self.assertEqual(self.page(forwarded).json["status"], "http://router.test:8080/status")
        self.trusted = "192.0.2.7"
        self.assertEqual(self.page(forwarded).json["status"], "https://router.test:8080/status")
        for field in (b"X-Forwarded-Proto: http", b"X-Forwarded-Proto: ", b"X-Forwarded: https"):
            self.assertTrue(self.page(field).json["status"].startswith("http://"))


class FormatTests(StartPageTestCase):
    """JSON for programs, HTML for browsers."""

    def test_preference(self) -> None:
        """HTML needs a preference for it; a very long field is not parsed."""
        for field, html in (
            (BROWSER, True),
            (b"Accept: text/html", True),
            (b"Accept: text/*, application/json;q=0.5", True),
            (b"Accept: */*", False),
            (b"Accept: application/json, text/html", False),
            (b"Accept: text/html;q=0.1, */*;q=0.2", False),
            (b"Accept: " + b"," * 2000 + b"text/html", False),
            (b"Accept: ;q=x,,text/html;q=nan", False),
            (b"X: y", False),
        ):
            got = self.page(field)
            kind = b"text/html; charset=utf-8" if html else b"application/json"
            self.assertEqual((got.status, got.value(b"content-type")), (200, kind), field)
            self.assertEqual(got.value(b"vary"), b"Accept")

    def test_html(self) -> None:
        """The document has the same facts, and may load nothing."""
        got = self.page(BROWSER)
        for url in (b"http://router.test:8080/v1<", b"http://router.test:8080<", b'/status"'):
            self.assertIn(url, got.body)
        bare = self.page(BROWSER, host=b"a'b")
        self.assertEqual((bare.status, bare.body.count(b"http")), (200, 0))

    def test_policy(self) -> None:
        """The policy allows the document's own style and script by their hashes, and no more."""
        got = self.page(BROWSER)
        policy = (got.value(b"content-security-policy") or b"").decode()
        body = got.body.decode()
        for tag, directive in (("style", "style-src"), ("script", "script-src")):
            (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", body, re.DOTALL)
            digest = b64encode(sha256(text.encode()).digest()).decode()
            self.assertIn(f"{directive} 'sha256-{digest}'", policy)
        self.assertTrue(policy.startswith("default-src 'none'; "))
        self.assertNotIn("unsafe", policy)
        self.assertNotRegex(body, r' (?:style|on[a-z]+)="|<(?:link|img|iframe|form)')


class ExampleTests(StartPageTestCase):
    """The first lines for each client."""

    def examples(self, **given: Any) -> dict[str, str]:
        """Return the examples' code by their titles."""
        body = self.page(BROWSER, **given).body.decode()
        found = re.findall("<h2>([^<]+)</h2><pre><code>([^<]+)</code></pre>", body)
        self.assertEqual(len(found), body.count("<pre>"))
        return {title: unescape(code) for title, code in found}

    def test_addresses(self) -> None:
        """Each example has three lines at most, and this router's own address."""
        self.trusted = "192.0.2.7"
        for host, base in ((b"a.test", "http://a.test"), (b"[::1]:80", "http://[::1]:80")):
            found = self.examples(host=host)
            self.assertEqual(len(found), 5)
            for title, code in found.items():
                self.assertLessEqual(len(code.splitlines()), 3, title)
                self.assertIn(base, code, title)
                self.assertIn("CHUTES_API_KEY", code, title)

    def test_python(self) -> None:
        """Python's examples compile, with the base URL that their SDK wants and the first alias."""
        found = self.examples()
        for title, base in (
            ("openai for Python", "http://router.test:8080/v1"),
            ("anthropic for Python", "http://router.test:8080"),
        ):
            calls = [
                {each.arg: each.value for each in node.keywords}
                for node in ast.walk(ast.parse(found[title]))
                if isinstance(node, ast.Call)
            ]
            (url,) = (each["base_url"] for each in calls if "base_url" in each)
            (model,) = (each["model"] for each in calls if "model" in each)
            self.assertEqual(ast.literal_eval(url), base)
            self.assertEqual(ast.literal_eval(model), "chutesai/AutoPilot")

    def test_curl(self) -> None:
        """A shell passes curl the address, and a body that is JSON, whatever the alias is."""
        for alias in ("chutesai/AutoPilot", 'it\'s $(x) \\ "<b>" `y`'):
            self.aliases = (alias,)
            words = shlex.split(self.examples()["curl"].replace("\\\n", ""))
            self.assertEqual(words[:2], ["curl", "http://router.test:8080/v1/chat/completions"])
            body = json.loads(words[words.index("-d") + 1])
            self.assertEqual(body["model"], alias)
            parsed = ast.parse(self.examples()["openai for Python"])
            self.assertIn(
                alias, [each.value for each in ast.walk(parsed) if type(each) is ast.Constant]
            )

    def test_aliases(self) -> None:
        """The model is the first alias in plain ASCII, also after a reload; else a placeholder."""
        for self.aliases, model in (
            (("a/b", "c"), "a/b"),
            (("\ufffc", "\u25a1", "c"), "c"),
            ((), "org/model"),
        ):
            self.assertIn(f'model="{model}"', self.examples()["openai for Python"])

    def test_built_once(self) -> None:
        """A further request fills in the addresses, and builds no element."""
        self.page(BROWSER)
        with patch("autopilot.web.start_document.el", side_effect=AssertionError):
            self.assertIn(b"http://b.test/v1<", self.page(BROWSER, host=b"b.test").body)


class PlaceTests(StartPageTestCase):
    """The page below a prefix, and the status page on a port of its own."""

    def make_site(self, resource: IResource) -> Site:
        """Mount the tree below a prefix."""
        root, place = Resource(), Resource()
        root.putChild(b"a b", place)
        place.putChild(b"llm", resource)
        return super().make_site(root)

    def test_prefix(self) -> None:
        """The prefix is part of the addresses, as the client wrote it."""
        got = self.page(target=b"/a%20b/llm/")
        self.assertEqual(got.json["openai_base_url"], "http://router.test:8080/a%20b/llm/v1")
        self.assertEqual(got.json["anthropic_base_url"], "http://router.test:8080/a%20b/llm")
        self.assertEqual(self.page(target=b"/a%20b/llm//").status, 404)


class AdminTests(StartPageTestCase):
    """The status page on a port of its own."""

    def test_status(self) -> None:
        """Its address is there if the client's way to the router leads to it as well."""
        self.admin = lambda: [("127.0.0.1", 8081)]
        self.site = self.make_site(self.tree(operators=False))
        self.assertNotIn("status", self.page().json)
        got = self.page(host=b"localhost:8080", own="127.0.0.1")
        self.assertEqual(got.json["status"], "http://127.0.0.1:8081/status")
        self.admin = list
        self.site = self.make_site(self.tree(operators=False))
        self.assertNotIn("status", self.page(host=b"localhost", own="127.0.0.1").json)

    def test_out_of_reach(self) -> None:
        """The document links the page only if its link works, and else says where to look."""
        self.admin = lambda: [("127.0.0.1", 8081)]
        self.site = self.make_site(self.tree(operators=False))
        near = self.page(BROWSER, host=b"localhost:8080", own="127.0.0.1").body
        self.assertIn(b'<a href="http://127.0.0.1:8081/status">', near)
        far = self.page(BROWSER).body
        self.assertNotIn(b"<a ", far)
        self.assertIn(b"ADMIN_LISTEN_ADDR", far)


class ReachableTests(SynchronousTestCase):
    """The listeners that a client reaches the way it reached the router."""

    def test_table(self) -> None:
        """A name, a proxy or a published port in between may not lead to the listener."""
        for bound, named, own, expected in (
            ("127.0.0.1", "localhost", "127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "[::1]", "::1", "127.0.0.1"),
            ("127.0.0.1", "localhost", "::ffff:127.0.0.1", "127.0.0.1"),
            ("::1", "LOCALHOST", "127.0.0.1", "[::1]"),
            ("127.0.0.1", "router.test", "127.0.0.1", None),
            ("127.0.0.1", "10.0.0.1", "10.0.0.1", None),
            ("127.0.0.1", "localhost", "172.17.0.2", None),
            ("0.0.0.0", "10.0.0.1", "10.0.0.1", "10.0.0.1"),
            ("0.0.0.0", "localhost", "127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "[2001:db8::1]", "2001:db8::1", None),
            ("::", "10.0.0.1", "10.0.0.1", "10.0.0.1"),
            ("::", "[2001:db8::1]", "2001:db8::1", "[2001:db8::1]"),
            ("0.0.0.0", "10.0.0.1", "172.17.0.2", None),
            ("0.0.0.0", "router.test", "10.0.0.1", None),
            ("10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1"),
            ("10.0.0.2", "10.0.0.1", "10.0.0.1", None),
            ("", "localhost", "127.0.0.1", None),
            ("127.0.0.1", "localhost", "", None),
        ):
            with self.subTest(bound=bound, named=named, own=own):
                self.assertEqual(reachable(bound, named, own), expected)
