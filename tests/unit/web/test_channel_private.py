"""Tests of requests that cannot be private, on the router's channel: mostly at their head."""

from __future__ import annotations

from dataclasses import replace

from autopilot.request.parse import ParseConfig
from autopilot.routing.commit import Commit
from autopilot.routing.private_mode import ALWAYS, ASK, OFF, PrivateMode
from autopilot.routing.routes import Route
from tests.unit.web.browsers import CHAT, MAX_BODY, SiteTestCase, ask, request

REQUIRE = b"X-Autopilot-Private: require"
MESSAGES = b"/v1/messages"
LENGTH = b"Content-Length: 9"
OTHERS = (MESSAGES, b"/v1/messages/count_tokens", b"/v1/responses")
UNKNOWN = (b"/v1/embeddings", b"/v1/audio/speech", b"/v1/models")
PRIVATE_ALIAS = "chutesai/AutoPilot-Private"


class PrivateTests(SiteTestCase):
    """Each endpoint, in each mode."""

    def work(self, mode: PrivateMode) -> None:
        """Work in a mode from now on."""
        rules = replace(
            self.config.parsing.rules,
            routes={"sealed": Route("sealed", ("a",), private=True)},
            private=mode is not OFF,
        )
        parsing = ParseConfig.of(rules, Commit.CONTENT, MAX_BODY, mode)
        self.proxy.configure(replace(self.config, parsing=parsing))
        tree = self.tree()
        tree.set_private(mode)
        self.site = self.make_site(tree)

    def gets(self, path: bytes, wire: bytes, status: int, code: str) -> None:
        """The request gets this error, in the shape of its API, and nothing went upstream."""
        browser = self.browser()
        browser.sends(wire)
        got = browser.response
        self.assertEqual((got.status, got.json["error"].get("code", code)), (status, code), path)
        if path.startswith(MESSAGES):
            self.assertEqual(got.json["type"], "error")
        self.assertEqual(self.upstreams.wires, [])

    def test_at_the_head(self) -> None:
        """Other endpoints are refused before the body, and so is the header while it is off."""
        for mode, fields in ((ASK, (REQUIRE,)), (ALWAYS, ())):
            self.work(mode)
            for path in OTHERS:
                wire = request(path, LENGTH, *fields)
                self.gets(path, wire, 400, "private_unsupported")
        self.work(OFF)
        for path in (CHAT, *OTHERS):
            self.gets(path, request(path, LENGTH, REQUIRE), 400, "private_unsupported")
            wrong = request(path, LENGTH, b"X-Autopilot-Private: off")
            self.gets(path, wrong, 400, "invalid_header")

    def test_by_the_body(self) -> None:
        """What the model alone tells is refused behind the body."""
        self.work(ASK)
        for path in OTHERS:
            for model in (PRIVATE_ALIAS, "sealed", f"a,{PRIVATE_ALIAS}"):
                self.gets(path, request(path, body=ask(model)), 400, "private_unsupported")
        self.work(OFF)
        for path in (CHAT, *OTHERS):
            for model in (PRIVATE_ALIAS, "sealed"):
                self.gets(path, request(path, body=ask(model)), 400, "private_unsupported")

    def test_what_may_come(self) -> None:
        """An endpoint that is not relayed, or not yet, is refused in the same words."""
        for mode, fields in ((ASK, (REQUIRE,)), (ALWAYS, ()), (OFF, (REQUIRE,))):
            self.work(mode)
            for path in UNKNOWN:
                wire = request(path, *fields, body=b"{}")
                self.gets(path, wire, 400, "private_unsupported")
        for path, status in ((b"/v1/embeddings", 404), (b"/v1/models", 405)):
            browser = self.browser()
            browser.sends(request(path, body=b"{}"))
            self.assertEqual(browser.response.status, status)

    def test_pages(self) -> None:
        """Pages are not requests of private mode."""
        self.work(ALWAYS)
        for path in (b"/v1/models", b"/healthz"):
            browser = self.browser()
            browser.sends(request(path, method=b"GET"))
            self.assertEqual(browser.response.status, 200)
