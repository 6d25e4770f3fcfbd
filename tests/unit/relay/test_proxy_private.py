"""The way in of private requests: by the client's own words, and by what is known of models."""

from __future__ import annotations

from dataclasses import replace

from autopilot.attestation.private_instances import ChuteStanding
from autopilot.http.dialect import COUNT_TOKENS, Dialect
from autopilot.http.headers import Field
from autopilot.request.parse import ParseConfig
from autopilot.routing.commit import Commit
from autopilot.routing.plan import Rules
from autopilot.routing.private_mode import ALWAYS, ASK, OFF, PrivateMode
from autopilot.upstream.key_pool import KeyPool, PlatformKey
from tests.unit.relay.private import API, PrivateRouterTestCase
from tests.unit.relay.routers import ALIAS, ORIGINS, Client
from tests.unit.relay.upstreams import DONE, STOP, TOKEN, chunk, head

PRIVATE_ALIAS = "chutesai/AutoPilot-Private"
REQUIRE = (b"X-Autopilot-Private", b"require")
PLAIN = ORIGINS[Dialect.COMPLETIONS]


class ProxyTests(PrivateRouterTestCase):
    """The real parser, with private mode where the client asks for it."""

    def setUp(self) -> None:
        """Undo that every request is private."""
        super().setUp()
        self.work(ASK)

    def work(self, mode: PrivateMode) -> None:
        """Work in a mode."""
        rules = Rules(frozenset({ALIAS}), 8, private=mode is not OFF)
        self.configure(parsing=ParseConfig.of(rules, Commit.CONTENT, 100_000, mode))

    def asks(self, model: str, *fields: Field) -> Client:
        """Send a request when no connection is left of the last one."""
        self.clock.advance(5)
        self.assertEqual(self.upstreams.alive, [])
        return self.ask(model, *fields)

    def sealed(self, model: str, *fields: Field) -> str:
        """Have a private stream answered, and return the chute that was asked for."""
        self.finds(1)
        client = self.asks(model, *fields)
        self.assertIs(self.upstreams.origins[-1], API)
        self.call.streams(TOKEN, STOP, DONE)
        self.assertEqual(client.down.status, 200)
        return self.instances.asked[-1].chute

    def plain(self, model: str = ALIAS) -> Client:
        """Have a plain stream answered."""
        client = self.asks(model)
        self.assertIs(self.upstreams.origins[-1], PLAIN)
        self.wire.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
        return client

    def test_who_asks(self) -> None:
        """The header and the alias lead to an instance, the plain alias to the plain path."""
        for model, fields in ((PRIVATE_ALIAS, ()), (ALIAS, (REQUIRE,)), ("a", (REQUIRE,))):
            self.assertEqual(self.sealed(model, *fields), "a")
        self.plain()
        self.work(ALWAYS)
        self.assertEqual(self.sealed(ALIAS), "a")

    def test_off(self) -> None:
        """Whoever asks while it is off is refused, and so is one with other endpoints."""
        self.work(OFF)
        for model, fields in ((PRIVATE_ALIAS, ()), ("a", (REQUIRE,))):
            self.assert_refused(self.ask(model, *fields), 400, "private_unsupported")
        self.work(ASK)
        for path in (b"/v1/messages", COUNT_TOKENS, b"/v1/responses"):
            client = self.ask(PRIVATE_ALIAS, path=path)
            self.assert_refused(client, 400, "private_unsupported")
            self.assertEqual((self.records[-1].mode, self.records[-1].stream), ("alias", True))
        self.assertEqual((self.upstreams.wires, self.instances.asked), ([], []))

    def test_standing(self) -> None:
        """What is known of chutes decides about candidates."""
        self.instances.known = ChuteStanding(unattestable=frozenset({"a"}))
        self.assertEqual(self.sealed(PRIVATE_ALIAS), "b")
        self.assertEqual(self.sealed("a,c", REQUIRE), "c")
        self.assert_refused(self.ask("a", REQUIRE), 503, "private_unavailable")

    def test_nothing_added(self) -> None:
        """An instance reports usage itself, so that nothing is added to the body."""
        self.configure(asks_usage=True)
        self.sealed("a", REQUIRE)
        members = {"model", "stream", "e2e_response_pk"}
        self.assertEqual(set(self.call.request), members)
        self.sealed("A:THINKING", REQUIRE, (b"X-Enable-Thinking", b"true"))
        self.assertEqual(self.call.request["model"], "a")
        both = {"thinking": True, "enable_thinking": True}
        self.assertEqual(self.call.request["chat_template_kwargs"], both)

    def test_conversations_apart(self) -> None:
        """What a plain conversation had is not what a private one of the same client had."""
        self.plain()
        self.instances.known = ChuteStanding(unattestable=frozenset({"a"}))
        self.assertEqual(self.sealed(ALIAS, REQUIRE), "b")
        self.instances.known = ChuteStanding()
        self.assertEqual(self.sealed(ALIAS, REQUIRE), "b")
        client = self.plain()
        self.assertEqual(client.down.field(b"x-chutes-autopilot-selected"), b"a")

    def test_pool(self) -> None:
        """With a key of the operator's pool, instances are asked for by its account."""
        keys = [PlatformKey("p", b"cpk_pool", b"account".ljust(16))]
        self.proxy.key_pool = KeyPool(keys, self.clock.seconds, self.clock.seconds)
        self.sealed("a", REQUIRE)
        asked = self.instances.asked[-1]
        self.assertEqual(asked.client, keys[0].account)
        self.assertEqual(asked.authorization, "Bearer cpk_pool")
        self.assertNotIn(b"secret", self.wire.value())

    def test_config(self) -> None:
        """A request keeps the configuration with which it began."""
        client = self.ask("a", REQUIRE)
        self.configure(parsing=replace_mode(self.config.parsing, OFF))
        self.instances.asked[0].answer.callback(self.found(1))
        self.call.streams(TOKEN, STOP, DONE)
        self.assertEqual(client.down.status, 200)


def replace_mode(parsing: ParseConfig, mode: PrivateMode) -> ParseConfig:
    """Return the same configuration in another mode."""
    rules = replace(parsing.rules, private=mode is not OFF)
    return ParseConfig.of(rules, parsing.commit, parsing.max_body, mode)
