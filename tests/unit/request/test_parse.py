"""Tests of the parser of requests, as far as private mode goes; the relay's send all others."""

from __future__ import annotations

import json
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.headers import Field, by_name
from autopilot.request.parse import ParseConfig, ParsedRequest, parse_request
from autopilot.request.private_body import SealableBody
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.commit import Commit
from autopilot.routing.patterns import patterns_of
from autopilot.routing.plan import Plan, Rules
from autopilot.routing.private_mode import ALWAYS, ASK, OFF, PRIVATE_IS_OFF, PrivateMode
from autopilot.routing.private_standing import PrivateStanding
from autopilot.routing.router_error import RouterError
from autopilot.routing.routes import Route
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.snapshot import Snapshot

REQUIRE = (b"X-Autopilot-Private", b"require")
SIGNED = (
    (b"X-Chutes-Hotkey", b"5Hot"),
    (b"X-Chutes-Signature", b"ab"),
    (b"X-Chutes-Nonce", b"1"),
)
ROUTES = {"sealed": Route("sealed", ("a",), private=True), "plain": Route("plain", ("a",))}
BY_NAME = (
    "chutesai/AutoPilot-Private",
    "CHUTESAI/autopilot-PRIVATE",
    " chutesai/AutoPilot-Private:latency ",
    "a,chutesai/AutoPilot-Private",
    "chutesai/AutoPilot-Private,a",
    "chutesai/AutoPilot-Private:THINKING",
    "AutoPilot-Private",
    "gpt-AutoPilot-Private",
    "sealed",
    "a,sealed",
    "sealed,plain:throughput",
    "SEALED",
    " Sealed:latency",
    "sealed:THINKING",
    "sealed:other:latency",
    "a,Sealed",
    "Sealed,a",
)
PLAIN = (
    "a",
    "a,b",
    "chutesai/AutoPilot",
    "plain",
    "a,plain",
    "nobody",
    "gpt-4o",
    "unsealed",
    "PLAIN",
)


def config(mode: PrivateMode = ASK) -> ParseConfig:
    """Return a configuration with an alias, a pattern and routes."""
    rules = Rules(
        frozenset({"chutesai/AutoPilot"}),
        8,
        patterns=patterns_of(["gpt-*"]),
        routes=ROUTES,
        private=mode is not OFF,
    )
    return ParseConfig.of(rules, Commit.CONTENT, 10_000, mode)


def parse(
    model: str, *fields: Field, mode: PrivateMode = ASK, members: Mapping[str, object] = {}
) -> ParsedRequest | RouterError:
    """Parse a request."""
    body = json.dumps({"model": model, **members}).encode()
    return parse_request(by_name(fields), body, config(mode))


class PrivateTests(SynchronousTestCase):
    """Which requests are private."""

    def test_ask(self) -> None:
        """Those with the header, the alias or a route, however it is spelled."""
        for model in BY_NAME:
            parsed = parse(model)
            assert isinstance(parsed, ParsedRequest), model
            self.assertTrue(parsed.private, model)
            self.assertTrue(parsed.tee_only)
            self.assertIsInstance(parsed.body.template, SealableBody)
        for model in PLAIN:
            for fields, private in (((), False), ((REQUIRE,), True)):
                parsed = parse(model, *fields)
                assert isinstance(parsed, ParsedRequest), model
                self.assertIs(parsed.private, private)

    def test_always(self) -> None:
        """All; an empty header is an error, as any other value is."""
        for model in (*BY_NAME, *PLAIN):
            for fields in ((), (REQUIRE,)):
                parsed = parse(model, *fields, mode=ALWAYS)
                assert isinstance(parsed, ParsedRequest), model
                self.assertTrue(parsed.private)
            for value in (b"off", b""):
                error = parse(model, (REQUIRE[0], value), mode=ALWAYS)
                code = error.code if isinstance(error, RouterError) else ""
                self.assertEqual(code, "invalid_header")

    def test_off(self) -> None:
        """Whoever asks gets an error."""
        for model in BY_NAME:
            self.assertIs(parse(model, mode=OFF), PRIVATE_IS_OFF)
        for model in PLAIN:
            self.assertIs(parse(model, REQUIRE, mode=OFF), PRIVATE_IS_OFF)
            parsed = parse(model, mode=OFF)
            assert isinstance(parsed, ParsedRequest)
            self.assertFalse(parsed.private or parsed.selector.private)

    def test_bodies(self) -> None:
        """The body of a private request is judged, that of another one is not."""
        for members in ({"e2e_response_pk": "A"}, {"stream": "false"}):
            error = parse("a", REQUIRE, members=members)
            assert isinstance(error, RouterError)
            self.assertEqual(error.code, "private_unsupported")
            self.assertIsInstance(parse("a", members=members), ParsedRequest)

    def test_signed(self) -> None:
        """A signature is refused, whatever asks for private mode."""
        for model, fields, mode in (
            ("a", (REQUIRE,), ASK),
            ("chutesai/AutoPilot-Private", (), ASK),
            ("a", (), ALWAYS),
        ):
            error = parse(model, *SIGNED, *fields, mode=mode)
            self.assertEqual(error.code if isinstance(error, RouterError) else "", "signed_request")
        self.assertIsInstance(parse("a", *SIGNED), ParsedRequest)

    def test_thinking(self) -> None:
        """The platform's header field has its effect here."""
        for value, thinking in ((b"true", True), (b"TRUE", True), (b"false", False), (b"", False)):
            parsed = parse("a", REQUIRE, (b"X-Enable-Thinking", value))
            assert isinstance(parsed, ParsedRequest)
            text = parsed.body.template.naming("a")
            self.assertIs(b"enable_thinking" in text, thinking)

    def test_wishes(self) -> None:
        """Commit point and stickiness are as of any request."""
        wishes = ((b"X-Autopilot-Commit", b"byte"), (b"X-Autopilot-Affinity", b"off"))
        parsed = parse("a,b", REQUIRE, *wishes)
        assert isinstance(parsed, ParsedRequest)
        self.assertEqual((parsed.commit, parsed.sticky), (Commit.BYTE, False))
        error = parse("a", (b"X-Autopilot-Commit", b"never"), (b"Content-Encoding", b"gzip"))
        self.assertEqual(error.code if isinstance(error, RouterError) else "", "invalid_commit")

    def test_settled(self) -> None:
        """A name that a pattern leaves to the router stays private."""
        catalog = Catalog.of([Model("a", "chute", True)])
        parsed = parse("gpt-AutoPilot-Private")
        assert isinstance(parsed, ParsedRequest)
        settled = parsed.settled(Snapshot(catalog), config().rules)
        self.assertEqual(settled.selector.mode, "alias")
        self.assertTrue(settled.private and settled.selector.private)

    def test_plan(self) -> None:
        """Its plan is one of private mode, and what is known of models counts."""
        catalog = Catalog.of([Model("a", "1", True), Model("b", "2", False), Model("c", "3", True)])
        parsed = parse("b,a,c", REQUIRE)
        assert isinstance(parsed, ParsedRequest)
        known = PrivateStanding(unattestable=frozenset({"a"}))
        given = Snapshot(catalog), config().rules, RoutingState()
        for standing, models in ((PrivateStanding(), ("a", "c")), (known, ("c",))):
            planned = parsed.plan(*given, standing)
            assert isinstance(planned, Plan)
            self.assertEqual(planned.models, models)


class KeepAliveTests(SynchronousTestCase):
    """The silence that is bridged: the setting's, or what the request asks for."""

    def parsed(self, *values: bytes, setting: float = 2.0) -> float | str:
        """Return the silence of a request with this field, or the code of the error."""
        parsing = ParseConfig.of(Rules(frozenset(), 8), Commit.CONTENT, 99, keep_alive=setting)
        fields = [(b"X-Autopilot-Keepalive", value) for value in values]
        parsed = parse_request(by_name(fields), b'{"model":"a"}', parsing)
        return parsed.code if isinstance(parsed, RouterError) else parsed.keep_alive

    def test_either(self) -> None:
        """The request's own wish goes before the setting."""
        self.assertEqual(self.parsed(), 2.0)
        self.assertEqual(self.parsed(b""), 2.0)
        self.assertEqual(self.parsed(b"0"), 0.0)
        self.assertEqual(self.parsed(b"5000"), 5.0)
        self.assertEqual(self.parsed(b"5000", setting=0.0), 5.0)
        self.assertEqual(self.parsed(b"999"), "invalid_header")

    def test_private(self) -> None:
        """A private request is not bridged, whatever it asks for."""
        parsed = parse("a", REQUIRE, (b"X-Autopilot-Keepalive", b"1000"))
        assert isinstance(parsed, ParsedRequest)
        self.assertTrue(parsed.private)
        self.assertEqual(parsed.keep_alive, 0.0)
