"""Tests of requests to other services that a client names: where they go, and what comes back."""

from __future__ import annotations

from autopilot.http.dialect import COUNT_TOKENS, Dialect
from autopilot.state.edge_account import EdgeConfig
from tests.unit.relay.fallbacks import (
    ANSWER,
    BACKEND,
    LAST,
    NAMED,
    PLATFORM,
    SELECTED,
    TO_LAST,
    TO_NAMED,
    FallbackTestCase,
    fields_of,
    requests_of,
)
from tests.unit.relay.upstreams import JSON, whole


class NamedTests(FallbackTestCase):
    """Where a client or a route names another service's model."""

    def test_direct(self) -> None:
        """The model alone goes to its service, in whose words it is named."""
        client = self.ask(NAMED, stream=False)
        self.answer()
        self.assertEqual(self.went, [TO_NAMED])
        fields = fields_of(client)
        self.assertEqual(fields[BACKEND], b"named")
        self.assertNotIn(SELECTED, fields)
        self.assertEqual((self.record.model, self.record.backend), (NAMED, "named"))

    def test_order_of_a_direct_name(self) -> None:
        """An order is the router's, so that it does not go there."""
        self.ask(f"{LAST}:latency")
        self.assertEqual(self.went, [TO_LAST])

    def test_path(self) -> None:
        """The base is as OpenAI's SDKs take it; without a path it is ``/v1``."""
        for model, path, expected in (
            (LAST, b"/v1/chat/completions", b"POST /api/v2/chat/completions HTTP/1.1\r\n"),
            (NAMED, b"/v1/completions", b"POST /v1/completions HTTP/1.1\r\n"),
        ):
            self.ask(model, path=path)
            self.assertTrue(requests_of(self.wire)[-1].startswith(expected))

    def test_anywhere_in_a_list(self) -> None:
        """Before, behind and between the platform's models."""
        client = self.ask(f"{NAMED},a,@last/two", stream=False)
        self.fails(2)
        self.answer()
        self.assertEqual(self.went, [TO_NAMED, (PLATFORM, "a"), ("last.test", "two")])
        fields = fields_of(client)
        self.assertEqual((fields[SELECTED], fields[BACKEND]), (b"@last/two", b"last"))
        self.assertEqual([each.model for each in self.record.failovers], [NAMED, "a"])

    def test_route(self) -> None:
        """In a route likewise; a model that the file does not have is left out."""
        self.ask("route", stream=False)
        self.fails()
        self.answer()
        self.assertEqual(self.went, [(PLATFORM, "a"), TO_NAMED])
        self.ask("odd", stream=False)
        self.answer()
        self.assertEqual(self.went[-1], (PLATFORM, "b"))

    def test_unknown(self) -> None:
        """An unknown one is refused with suggestions, whatever is done with unknown models."""
        for self.unknown_models in ("reject", "forward", "alias"):
            self.build()
            for model in ("@named/mm", "a,@named/mm", "@nobody/m,a", "route,@named/mm"):
                client = self.ask(model)
                self.assert_refused(client, 400, "unknown_model")
                self.assertEqual(self.upstreams.wires, [])
                if "mm" in model:
                    assert client.down.refusal is not None
                    self.assertIn(NAMED, client.down.refusal.message)

    def test_no_catalog(self) -> None:
        """Before the first catalog nothing is checked but these names."""
        self.snapshot = type(self.snapshot)()
        self.assert_refused(self.ask("@nobody/m"), 400, "unknown_model")
        self.ask(NAMED)
        self.assertEqual(self.went, [TO_NAMED])

    def test_confidential(self) -> None:
        """No other service is known to be confidential."""
        only = (b"X-TEE-Only", b"true")
        for model in (NAMED, f"{NAMED},{LAST}"):
            self.assert_refused(self.ask(model, only), 400, "tee_required")
        self.ask(f"{NAMED},a", only)
        self.assertEqual(self.went, [(PLATFORM, "a")])

    def test_other_paths(self) -> None:
        """Anthropic's and OpenAI's other dialects are the platform's alone."""
        for dialect, path in (
            (Dialect.MESSAGES, b"/v1/messages"),
            (Dialect.RESPONSES, b"/v1/responses"),
            (Dialect.MESSAGES, COUNT_TOKENS),
        ):
            refused = self.ask(NAMED, dialect=dialect, path=path)
            self.assert_refused(refused, 400, "unknown_model")
            self.ask(f"{NAMED},a", dialect=dialect, path=path)
            self.assertEqual(self.went[-1][1], "a")
            self.fails()
        self.assertEqual({host for host, _ in self.went} & {"named.test", "last.test"}, set())

    def test_signed(self) -> None:
        """A signature covers the platform's name, so that the request cannot go elsewhere."""
        fields = [(b"X-Chutes-" + each, b"x") for each in (b"Hotkey", b"Signature", b"Nonce")]
        self.assert_refused(self.ask(NAMED, *fields), 400, "signed_request")


class PolicyTests(FallbackTestCase):
    """Verdicts on what another service says: those of the open policy."""

    def test_open(self) -> None:
        """Every 429 and 5xx leads on, and the platform's own stays as strict as it is."""
        for status in (429, 501):
            self.build()
            self.ask(f"{NAMED},a", stream=False)
            self.wire.says(whole(status, b'{"detail":"no"}'))
            self.answer()
            self.assertEqual([host for host, _ in self.went], ["named.test", PLATFORM])
            self.build()
            client = self.ask("a,b", stream=False)
            self.wire.says(whole(status, b'{"detail":"no"}'))
            self.assertEqual((client.down.status, len(self.went)), (status, 1))

    def test_payment_of_its_own(self) -> None:
        """A 402 of another service is relayed: it says nothing of the platform's account."""
        client = self.ask(f"{NAMED},a", stream=False)
        self.wire.says(whole(402, b'{"error":{"message":"pay"}}'))
        self.assertEqual((client.down.status, len(self.went)), (402, 1))

    def test_again(self) -> None:
        """Its own 429 is waited for once, as with the platform."""
        self.build(edge=EdgeConfig(1.0, 1.0))
        self.ask(f"{NAMED},a", stream=False)
        self.wire.says(whole(429, b'{"error":{"message":"slow down"}}', JSON, b"Retry-After: 1"))
        self.clock.advance(1)
        self.answer()
        self.assertEqual(self.went, [TO_NAMED, TO_NAMED])

    def test_stale(self) -> None:
        """A connection that had closed is replaced, without a token."""
        self.build(edge=EdgeConfig(1.0, 1.0))
        self.ask(NAMED, stream=False)
        self.wire.says(whole(200, ANSWER))
        self.ask(NAMED, stream=False)
        self.wire.resets()
        self.answer()
        self.assertEqual(self.went, [TO_NAMED] * 3)
