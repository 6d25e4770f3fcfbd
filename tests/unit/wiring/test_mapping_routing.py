"""Tests of the live settings of routing, each named after its setting."""

from __future__ import annotations

from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path

from autopilot.routing.pricing import MaxPrice
from autopilot.routing.requirements import Needs
from autopilot.routing.routes import Route
from autopilot.wiring import mapping
from tests.unit.relay.upstreams import ROLE, SSE, TOKEN, chunk, head, whole
from tests.unit.web.browsers import Browser
from tests.unit.wiring.cases import ONE, TWO, ReloadTestCase

_A, _B, _C = (b"Authorization: Bearer %c" % each for each in b"abc")


class RoutingTests(ReloadTestCase):
    """Selectors, policies and state."""

    def refused(self, browser: Browser) -> str:
        """Return the error code for a selector, or None if the request went upstream."""
        return browser.response.error[2] if browser.wire else ""

    def test_aliases(self) -> None:
        """A new name is an alias, and is in the list of models."""
        self.start()
        self.assertEqual(self.refused(self.ask("best")), "unknown_model")
        self.assertIn(b"AutoPilot", self.get(b"/v1/models").body)
        self.change(aliases=("best",))
        self.assertEqual(self.refused(self.ask("best")), "")
        self.assertEqual(self.refused(self.ask()), "unknown_model")
        listing = self.get(b"/v1/models").json["data"]
        self.assertEqual([each["id"] for each in listing], ["best", ONE, TWO])
        self.assertEqual(self.refused(self.ask("gpt-4o")), "unknown_model")
        self.change(aliases=("gpt-*", "best"))
        self.assertEqual(self.refused(self.ask("gpt-4o")), "")
        self.assertEqual(self.refused(self.ask("o3")), "unknown_model")
        self.assertEqual(self.get(b"/v1/models").json["data"], listing)
        self.assertEqual(self.get(b"/v1/models/gpt-4o").status, 404)

    def test_unknown_models(self) -> None:
        """A name outside the catalog goes upstream."""
        self.start()
        self.assertEqual(self.refused(self.ask("x/y")), "unknown_model")
        self.change(unknown_models="forward")
        self.assertEqual(self.refused(self.ask("x/y")), "")
        self.change(unknown_models="alias")
        browser = self.ask("x/y", stream=False)
        self.platform.wire.says(whole(200, b"{}"))
        self.assertEqual(browser.response.value(b"x-chutes-autopilot-selected"), ONE.encode())

    def routes(self, text: str) -> str:
        """Write a file of routes, and return its path."""
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_routes_file(self) -> None:
        """A route is a name like an alias, and has its own filters, commit point and patience."""
        self.start()
        self.assertEqual(self.refused(self.ask("mine")), "unknown_model")
        self.change(
            routes_file=self.routes(
                f"""
                [routes.mine]
                models = ["{TWO}", "gone", "CHUTESAI/autopilot"]
                commit = "byte"
                failover_after_ms = 3000
                [routes."{ONE}"]
                models = ["{ONE}", "*"]
                [routes.dear]
                models = ["*"]
                max_price = {{ prompt = 0 }}
                needs = ["tools", "response_format"]
                plain_failover_after_ms = 5000
                tee = true
                min_context = 5
                """
            )
        )
        browser = self.ask("mine")
        first = self.platform.wire
        self.assertIn(f'"{TWO}"'.encode(), first.value())
        self.reactor.advance(2.9)
        self.assertIs(self.platform.wire, first)
        self.reactor.advance(0.2)
        self.assertIn(f'"{ONE}"'.encode(), self.platform.wire.value())
        self.platform.wire.says(head(200, SSE), chunk(ROLE))
        self.assertEqual(browser.response.value(b"x-chutes-autopilot-selected"), ONE.encode())
        self.assertEqual(self.refused(self.ask("dear")), "no_capable_model")
        config = mapping.relay(self.router.settings)
        self.assertEqual(
            config.parsing.rules.routes["dear"],
            Route(
                "dear",
                ("*",),
                tee=True,
                max_price=MaxPrice(Decimal(0)),
                needs=Needs(tools=True, json_schema=True, json_mode=True),
                min_context=5,
            ),
        )
        self.assertEqual(set(config.of_routes), {"mine", "dear"})
        patience = [
            (each.failover_after, each.plain_failover_after)
            for each in (config.of_routes[name].timeouts for name in ("mine", "dear"))
        ]
        self.assertEqual(patience, [(3.0, 180.0), (12.0, 5.0)])

    def test_max_model_list_items(self) -> None:
        """A lower limit rejects a longer list."""
        self.start()
        self.assertEqual(self.refused(self.ask(f"{ONE},{TWO}")), "")
        self.change(max_model_list_items=1)
        self.assertEqual(self.refused(self.ask(f"{ONE},{TWO}")), "invalid_model_list")

    def test_require_tee(self) -> None:
        """Models without a TEE are no longer candidates."""
        self.start(unknown_models="forward")
        self.assertEqual(self.refused(self.ask("x/y")), "")
        self.change(require_tee=True)
        self.assertEqual(self.refused(self.ask("x/y")), "tee_required")

    def test_failover_policy(self) -> None:
        """A plain 500 fails over to the next model."""
        self.start()
        browser = self.ask(stream=False)
        self.platform.wire.says(whole(500, b"{}"))
        self.assertEqual(browser.response.status, 500)
        self.change(failover_policy="open")
        browser = self.ask(stream=False)
        self.platform.wire.says(whole(500, b"{}"))
        self.assertEqual(browser.wire, b"")

    def test_commit(self) -> None:
        """A response commits at its first byte instead of its first content."""
        self.start()
        for commit, sent in (("content", False), ("byte", True)):
            self.change(commit=commit)
            browser = self.ask()
            self.platform.wire.says(head(200, SSE), chunk(ROLE))
            self.assertEqual(bool(browser.wire), sent)

    def test_commit_max_bytes(self) -> None:
        """A complete response is held up to the new size."""
        self.start(commit="complete")
        for most, sent in ((1000, False), (10, True)):
            self.change(commit_max_bytes=most)
            browser = self.ask()
            self.platform.wire.says(head(200, SSE), chunk(TOKEN))
            self.assertEqual(bool(browser.wire), sent)

    def test_sse_guard(self) -> None:
        """A broken stream gets an error event, or none."""
        self.start()
        for guard, said in (("on", True), ("off", False)):
            self.change(sse_guard=guard)
            browser = self.ask()
            wire = self.platform.wire
            wire.says(head(200, SSE), chunk(TOKEN))
            wire.breaks()
            self.assertEqual(b"upstream_stream_interrupted" in browser.wire, said)

    def test_error_shape(self) -> None:
        """The platform's errors get the member that SDKs read, or nothing."""
        self.start()
        for shape, added in (("openai", True), ("upstream", False)):
            self.change(error_shape=shape)
            browser = self.ask(stream=False)
            self.platform.wire.says(whole(401, b'{"detail":"no"}'))
            self.assertEqual(b'"error":{"type":"authentication_error"' in browser.wire, added)

    def test_usage(self) -> None:
        """Streams ask for usage, or no longer do."""
        self.start()
        for usage, asks in (("observe", False), ("request", True), ("off", False)):
            self.change(usage=usage)
            self.ask(ONE)
            self.assertEqual(b'{"include_usage":true}' in self.platform.wire.value(), asks, usage)

    def test_max_attempts(self) -> None:
        """Only one attempt is made."""
        self.start()
        self.fails_over()
        self.change(max_attempts=1)
        browser = self.ask(ONE + "," + TWO, stream=False)
        self.platform.wire.says(whole(503, b"{}"))
        self.assertEqual(browser.response.status, 503)

    def test_list_retry_ms(self) -> None:
        """The fallback of a list is kept for the new time."""
        self.start()
        names = f"{ONE},{TWO}"
        self.fails_over(model=names)
        for milliseconds, name in ((10_000, TWO), (0, ONE)):
            self.change(list_retry_ms=milliseconds)
            self.ask(names, stream=False)
            self.assertIn(b'"model": "%b"' % name.encode(), self.platform.wire.value()[-80:])

    def test_cooldown_failures(self) -> None:
        """A single failure starts the cooldown."""
        self.start()
        self.fails_over(_A)
        self.assertEqual(self.went_to(_B), ONE)
        self.change(cooldown_failures=1)
        self.fails_over(_C)
        self.assertEqual(self.went_to(_B), TWO)

    def test_cooldown_ms(self) -> None:
        """The next cooldown is shorter."""
        self.start(cooldown_failures=1)
        self.fails_over(_A)
        self.reactor.advance(2.0)
        self.assertEqual(self.went_to(_B), TWO)
        self.reactor.advance(10.0)
        self.change(cooldown_ms=1000)
        self.fails_over(_C)
        self.reactor.advance(2.0)
        self.assertEqual(self.went_to(), ONE)

    def test_sticky_ttl_secs(self) -> None:
        """No conversation is remembered any more."""
        self.start()
        self.fails_over(_A)
        self.assertEqual(self.went_to(_A), TWO)
        self.change(sticky_ttl_secs=0)
        self.assertEqual(self.went_to(_A), ONE)

    def test_sticky_max_entries(self) -> None:
        """The least recently used entries are dropped."""
        self.start()
        for each in (_A, _B, _C):
            self.went_to(each)
        self.change(sticky_max_entries=2)
        self.assertEqual(self.metric("autopilot_sticky_entries"), 2)
        self.went_to(_A)
        self.assertEqual(self.metric("autopilot_sticky_entries"), 2)

    def test_sticky_scope(self) -> None:
        """All sessions of a client count as one."""
        self.start()
        for sessions, entries in (((b"1", b"2"), 2), ((b"3", b"4"), 3)):
            for each in sessions:
                self.went_to(b"X-Session-Id: " + each)
            self.assertEqual(self.metric("autopilot_sticky_entries"), entries)
            self.change(sticky_scope="client")

    def test_trust_proxy_headers(self) -> None:
        """Clients behind one proxy are distinguished."""
        self.start(trusted_proxy_cidrs=(ip_network("192.0.2.0/24"),))
        self.assert_told_apart(trust_proxy_headers=True)

    def test_trusted_proxy_cidrs(self) -> None:
        """The proxy in front is trusted."""
        self.start(trust_proxy_headers=True, trusted_proxy_cidrs=(ip_network("10.0.0.0/8"),))
        self.assert_told_apart(trusted_proxy_cidrs=(ip_network("192.0.2.0/24"),))

    def assert_told_apart(self, **given: object) -> None:
        """Two addresses count as one client, and after the change as two."""
        for entries in (1, 3):
            for address in (b"198.51.100.1", b"198.51.100.2"):
                self.went_to(b"X-Forwarded-For: " + address)
            self.assertEqual(self.metric("autopilot_sticky_entries"), entries)
            self.change(**given)
