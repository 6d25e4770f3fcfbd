"""Tests of every error of the router: its format, its id, and its Retry-After.

The table is complete: a code that stands anywhere in the program and not here fails a test.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from unittest.mock import Mock, patch

import autopilot
from autopilot.http.dialect import Dialect
from autopilot.http.resource_ledger import ResourceLimits
from autopilot.request.parse import ParseConfig
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.commit import Commit
from autopilot.routing.key_policy import KeyRules
from autopilot.routing.pricing import MaxPrice
from autopilot.routing.routes import Route
from autopilot.routing.snapshot import Snapshot
from autopilot.state.budgets import KeyBudgets
from autopilot.state.edge_account import EdgeConfig
from autopilot.state.own_keys import OwnKey, OwnKeys
from autopilot.upstream.key_pool import KeyPool
from autopilot.web.cors import Cors
from tests.unit.relay.routers import ALIAS
from tests.unit.relay.upstreams import TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, MAX_BODY, Browser, SiteTestCase, ask, request
from tests.unit.web.responses import UUID, Response

MESSAGES = b"/v1/messages"
MINE = b"X-Request-ID: mine"
SIGNATURE = (b"X-Chutes-Hotkey: h", b"X-Chutes-Signature: s", b"X-Chutes-Nonce: 1")


class Asked(NamedTuple):
    """A request as bytes, and its expected response.

    ``read``: the head is read as far as its id. ``page``: whatever path was asked for, the answer
    is not one of its endpoint.
    """

    status: int
    code: str
    wire: bytes
    read: bool = True
    page: bool = False


def rows(path: bytes) -> Iterator[Asked]:
    """Return invalid requests and their errors."""

    def bodied(status: int, code: str, body: bytes, *fields: bytes) -> Asked:
        return Asked(status, code, request(path, MINE, *fields, body=body))

    yield bodied(400, "invalid_json", b"{")
    yield bodied(400, "invalid_body", b"[]")
    yield bodied(400, "missing_model", b"{}")
    yield bodied(400, "invalid_model", ask(7))
    yield bodied(400, "invalid_model_list", ask(",,"))
    yield bodied(400, "invalid_model_list", ask("a", models="b"))
    yield bodied(400, "invalid_model", ask("a" * 65537))
    yield bodied(400, "unknown_model", ask("nobody"))
    yield bodied(400, "signed_request", ask(ALIAS), *SIGNATURE)
    yield bodied(400, "tee_required", ask("open"), b"X-TEE-Only: true")
    yield bodied(400, "no_capable_model", ask(ALIAS, tools=[{"type": "function"}]))
    yield bodied(400, "invalid_commit", ask("a"), b"X-Autopilot-Commit: never")
    yield bodied(400, "invalid_header", ask("a"), b"X-Autopilot-Affinity: never")
    yield bodied(400, "invalid_header", ask("a"), b"X-Autopilot-Keepalive: soon")
    yield bodied(508, "loop_detected", ask("a"), b"Via: 1.1 chutes-autopilot-test")
    yield bodied(413, "request_too_large", b" " * (MAX_BODY + 1))
    yield bodied(415, "unsupported_content_encoding", ask("a"), b"Content-Encoding: gzip")
    yield bodied(417, "bad_request", ask("a"), b"Expect: magic")
    yield bodied(501, "bad_request", b"", b"Transfer-Encoding: gzip")
    yield bodied(400, "bad_request", b"hi", b"Content-Length: 2", b"Content-Length: 3")
    yield bodied(413, "request_too_large", b"", b"Content-Length: 999999999")
    yield bodied(431, "request_head_too_large", b"", *(b"A: b" for _ in range(100)))
    yield bodied(431, "request_head_too_large", b"", b"A: " + b"b" * 70_000)
    yield Asked(405, "method_not_allowed", request(path, MINE, method=b"GET"))
    yield Asked(405, "method_not_allowed", request(path, MINE, method=b"DELETE"))
    yield Asked(405, "method_not_allowed", request(path, MINE, method=b"CONNECT"), read=False)
    yield Asked(404, "not_found", request(path + b"/x", MINE))
    yield Asked(404, "not_found", request(b"//" + path, MINE), page=True)
    yield Asked(404, "not_found", request(b"/\xff".replace(b"\xff", b"%ff"), MINE), page=True)
    yield Asked(404, "unknown_model", request(b"/v1/models/x", MINE, method=b"GET"), page=True)
    yield Asked(405, "method_not_allowed", request(b"/healthz", MINE), page=True)
    yield Asked(400, "bad_request", request(path, MINE, host=None))
    yield Asked(400, "bad_request", request(path, MINE, b"A\x00: b"), read=False)
    yield Asked(501, "method_not_allowed", request(path, method=b"FOO"), read=False)
    yield Asked(400, "bad_request", b"\x16\x03\x01\x02\x00\x01\x00", read=False)
    yield Asked(505, "bad_request", b"GET /\r\n\r\n", read=False)
    yield Asked(505, "bad_request", request(path, MINE, version=b"2.0"))


# Made where nothing of the request is at fault; each has its test below, or, those of private mode,
# in relay/test_private_exchange.py, and of an account in relay/test_exchange_pool.py.
LATER = {
    (502, "account_refused"),
    (400, "private_rejected"),
    (400, "private_unsupported"),
    (401, "missing_key"),
    (401, "unknown_key"),
    (402, "key_budget_exhausted"),
    (403, "model_not_allowed"),
    (401, "private_unauthorized"),
    (402, "private_unauthorized"),
    (403, "private_unauthorized"),
    (408, "request_timeout"),
    (426, "upgrade_required"),
    (429, "edge_limited"),
    (429, "key_rate_limited"),
    (429, "edge_limited"),
    (429, "too_many_connections"),
    (500, "internal_error"),
    (502, "private_reply_invalid"),
    (502, "upstream_connect_error"),
    (502, "upstream_empty"),
    (502, "upstream_stream_interrupted"),
    (503, "draining"),
    (503, "no_candidates"),
    (503, "not_ready"),
    (503, "overloaded"),
    (503, "private_unavailable"),
    (504, "upstream_first_body_byte_timeout"),
    (504, "upstream_header_timeout"),
    (504, "upstream_total_timeout"),
}


def made() -> set[tuple[int, str]]:
    """Return status and code of every RouterError in the code."""
    found: set[tuple[int, str]] = set()
    for path in Path(autopilot.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RouterError":
                status, code = node.args[:2]
                # The one code that is a name; the name says which.
                text = code.value if isinstance(code, ast.Constant) else ast.unparse(code).lower()
                assert isinstance(status, ast.Constant), ast.unparse(node)
                found.add((int(str(status.value)), str(text)))
    return found


class EveryErrorTests(SiteTestCase):
    """Every error on an endpoint of OpenAI's API and on one of Anthropic's."""

    def setUp(self) -> None:
        """Set up two models with known limits, one of them without a TEE."""
        super().setUp()
        known = self.snapshot.catalog
        assert known is not None
        plain = [replace(model, features=frozenset()) for model in known.models.values()]
        catalog = Catalog.of([*plain, Model("open", tee=False)])
        self.snapshot = replace(self.snapshot, catalog=catalog)

    def check(self, got: Response, path: bytes, row: Asked) -> None:
        """Assert that the error is complete, in the format of its path."""
        anthropic = path == MESSAGES and not row.page
        if not row.read:  # as far as the path was read, it decides here too
            anthropic = "type" in got.json
        self.assertEqual((got.status, self.code(got, anthropic)), (row.status, row.code), row)
        self.assertTrue(got.json["error"]["message"])
        if row.read:
            self.assertEqual(got.identity, "mine", row)
        else:
            self.assertRegex(got.identity, rf"{UUID}|\Amine\Z")
        self.assertEqual(got.value(b"content-length"), b"%d" % len(got.body))
        again = got.value(b"retry-after")
        self.assertEqual(again is not None, row.status in (429, 503))
        self.assertEqual(got.value(b"x-should-retry"), b"true" if row.status == 503 else None)
        if again is not None:
            self.assertGreater(int(again), 0)

    def code(self, got: Response, anthropic: bool) -> str:
        """Return the code of an error in this format."""
        body = got.json
        if anthropic:
            self.assertEqual((set(body), body["type"]), ({"type", "error"}, "error"))
        else:
            self.assertEqual(set(body), {"error"})
        self.assertEqual(set(body["error"]), {"type", "message", "param", "code"})
        code = body["error"]["code"]
        assert isinstance(code, str)
        return code

    def test_requests(self) -> None:
        """Invalid requests get their error, whichever layer detects it."""
        for path in (CHAT, MESSAGES, b"/v1/completions", b"/v1/responses"):
            for row in rows(path):
                browser = self.browser()
                browser.sends(row.wire)
                self.check(browser.response, path, row)

    def begun(self, path: bytes, model: str = "a", stream: bool = True) -> Browser:
        """Send a valid request."""
        return self.post(ask(model, stream=stream), MINE, path=path)

    def test_too_slow(self) -> None:
        """A request that does not arrive in time gets a 408."""
        for path in (CHAT, MESSAGES):
            browser = self.browser()
            browser.sends(request(path, MINE, b"Content-Length: 9"))
            self.clock.advance(60)
            self.check(browser.response, path, Asked(408, "request_timeout", b""))
            browser = self.browser()
            browser.sends(b"POST " + path)
            self.clock.advance(10)
            row = Asked(408, "request_timeout", b"", read=False)
            self.check(browser.response, path, row)

    def test_edge_limited(self) -> None:
        """A request beyond the key's calls a minute gets a 429 with the time of the next one."""
        self.build(edge=EdgeConfig(1.0, 1.0))
        self.site = self.make_site(self.tree())
        for path in (CHAT, MESSAGES):
            key = b"Authorization: Bearer k" + path
            self.post(ask("a"), MINE, key, path=path)
            browser = self.post(ask("a"), MINE, key, path=path)
            self.clock.advance(2.0)
            self.check(browser.response, path, Asked(429, "edge_limited", b""))
            self.assertEqual(browser.response.value(b"retry-after"), b"58")
            self.upstreams.wire.says(whole(429, b"<p>banned for 600 seconds", b"text/html"))
            response = self.post(ask("a"), MINE, key, path=path).response
            self.assertEqual(self.code(response, path == MESSAGES), "edge_limited")
            self.assertEqual(response.value(b"retry-after"), b"600")
            self.assertEqual(response.value(b"x-should-retry"), b"false")

    def test_without_a_key(self) -> None:
        """Where a key is required, a request without one gets a 401."""
        tree = self.tree()
        tree.require_key(frozenset(Dialect))
        self.site = self.make_site(tree)
        for path in (CHAT, MESSAGES, b"/v1/completions", b"/v1/responses"):
            self.check(self.begun(path).response, path, Asked(401, "missing_key", b""))

    def test_own_keys(self) -> None:
        """Where only the operator's keys are let in, each refusal has its error."""
        budgets = KeyBudgets(self.clock.seconds, self.clock.seconds)
        budgets.spend("poor", 1, 0)
        made = (
            OwnKey(sha256(b"free").digest(), KeyRules("free", requests_per_minute=1)),
            OwnKey(sha256(b"poor").digest(), KeyRules("poor", tokens_per_day=1)),
            OwnKey(sha256(b"bound").digest(), KeyRules("bound", routes=())),
        )
        keys = self.proxy.keys = OwnKeys(made, budgets, self.clock.seconds)
        tree = self.tree()
        tree.know_keys(keys)
        self.site = self.make_site(tree)
        budgets.begin(made[0].rules)
        for path in (CHAT, MESSAGES):
            for key, status, code in (
                (b"other", 401, "unknown_key"),
                (b"free", 429, "key_rate_limited"),
                (b"poor", 402, "key_budget_exhausted"),
                (b"bound", 403, "model_not_allowed"),
            ):
                got = self.post(ask("a"), MINE, b"Authorization: Bearer " + key, path=path)
                self.check(got.response, path, Asked(status, code, b""))

    def test_banned_keys(self) -> None:
        """Where all keys of the router are banned, nothing is sent."""
        self.proxy.key_pool = KeyPool((), self.clock.seconds, self.clock.seconds)
        for path in (CHAT, MESSAGES):
            got = self.post(ask("a"), MINE, path=path)
            self.check(got.response, path, Asked(429, "edge_limited", b""))

    def test_websocket(self) -> None:
        """A WebSocket for OpenAI's responses gets a 426."""
        path = b"/v1/responses"
        got = self.get(path, MINE, b"Connection: Upgrade", b"Upgrade: websocket")
        self.check(got, path, Asked(426, "upgrade_required", b""))

    def test_foreign_page(self) -> None:
        """A preflight of another origin gets a 405."""
        tree = self.tree()
        tree.set_cors(Cors.of(["https://chat.example"]))
        self.site = self.make_site(tree)
        fields = (b"Origin: https://else.example", b"Access-Control-Request-Method: POST", MINE)
        for path in (CHAT, MESSAGES):
            got = self.get(path, *fields, method=b"OPTIONS")
            self.check(got, path, Asked(405, "method_not_allowed", b""))

    def test_mistake(self) -> None:
        """A bug in the relay or on a page gets a 500."""
        for path in (CHAT, MESSAGES):
            with patch("autopilot.request.parse.plan", side_effect=ZeroDivisionError):
                got = self.begun(path).response
            self.check(got, path, Asked(500, "internal_error", b""))
        self.status = Mock(side_effect=ZeroDivisionError)
        page = self.get(b"/status.json", MINE)
        self.check(page, b"", Asked(500, "internal_error", b""))
        # The two on the way in are of one kind, and the second is not logged again.
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_no_upstream(self) -> None:
        """Each failure of the last candidate gets its error."""
        for path in (CHAT, MESSAGES):
            browser = self.begun(path)
            self.wire.resets()
            self.check(browser.response, path, Asked(502, "upstream_connect_error", b""))
            browser = self.begun(path)
            self.clock.advance(60)
            self.check(browser.response, path, Asked(504, "upstream_header_timeout", b""))
            browser = self.begun(path)
            self.wire.says(head())
            self.clock.advance(60)
            row = Asked(504, "upstream_first_body_byte_timeout", b"")
            self.check(browser.response, path, row)
            self.build(total=2.0)
            self.site = self.make_site(self.tree())
            browser = self.begun(path)
            self.clock.advance(2)
            self.check(browser.response, path, Asked(504, "upstream_total_timeout", b""))
            self.build()
            self.site = self.make_site(self.tree())
            browser = self.post(ask("a"), MINE, b"X-Autopilot-Commit: complete", path=path)
            self.wire.says(head(), chunk(TOKEN))
            self.wire.resets()
            self.check(browser.response, path, Asked(502, "upstream_stream_interrupted", b""))

    def test_routes(self) -> None:
        """Routes may ask for what there is not, and may name nothing that there is."""
        routes = {
            "later": Route("later", ("a",), private=True),
            "dear": Route("dear", ("a",), max_price=MaxPrice(Decimal(1))),
            "gone": Route("gone", ("nobody",)),
        }
        rules = replace(self.config.parsing.rules, routes=routes)
        parsing = ParseConfig.of(rules, Commit.CONTENT, MAX_BODY)
        self.proxy.configure(replace(self.config, parsing=parsing))
        for path in (CHAT, MESSAGES):
            for model, code in (
                ("later", "private_unsupported"),
                ("dear", "no_capable_model"),
                ("gone", "unknown_model"),
            ):
                self.check(self.begun(path, model).response, path, Asked(400, code, b""))

    def test_later(self) -> None:
        """Temporary errors have a Retry-After."""
        for path in (CHAT, MESSAGES):
            self.build(max_active=1)
            self.site = self.make_site(self.tree())
            known, self.snapshot = self.snapshot, Snapshot()
            self.refreshed_in = 14
            got = self.begun(path, ALIAS).response
            self.check(got, path, Asked(503, "no_candidates", b""))
            self.assertEqual(got.value(b"retry-after"), b"14")
            self.snapshot = known
            first = self.begun(path)
            self.ledger.configure(ResourceLimits(client_requests=1), self.ledger.trust)
            got = self.begun(path).response
            self.check(got, path, Asked(429, "too_many_connections", b""))
            self.assertEqual(got.value(b"retry-after"), b"1")
            self.ledger.configure(ResourceLimits(), self.ledger.trust)
            self.check(self.begun(path).response, path, Asked(503, "overloaded", b""))
            first.leaves()
            self.proxy.draining = True
            self.check(self.begun(path).response, path, Asked(503, "draining", b""))
        self.catalog = None
        for target in (b"/v1/models", b"/v1/models/a"):
            self.check(self.get(target, MINE), b"", Asked(503, "not_ready", b""))
        ready = self.get(b"/readyz", MINE)
        self.assertEqual((ready.status, ready.identity), (503, "mine"))
        self.assertEqual(ready.value(b"retry-after"), b"1")

    def test_all_of_them(self) -> None:
        """The tests above cover every error in the code."""
        tried = {(row.status, row.code) for row in rows(CHAT)}
        self.assertEqual(made() - LATER - tried, set())
        self.assertEqual(LATER - made(), set())
