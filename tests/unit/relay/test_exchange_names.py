"""Names that the catalog lacks and the router chooses for: what the client sees (contract §3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from autopilot.http.headers import Field
from autopilot.request.parse import ParseConfig
from autopilot.routing.commit import Commit
from autopilot.routing.patterns import patterns_of
from autopilot.routing.plan import Rules
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.why import HIT, MISS, Why
from tests.unit.relay.routers import ALIAS, RouterTestCase, snapshot
from tests.unit.relay.upstreams import DONE, JSON, STOP, TOKEN, chunk, head, whole

_SELECTED = b"x-chutes-autopilot-selected"
_SIGNATURE = (
    (b"X-Chutes-Hotkey", b"5Hot"),
    (b"X-Chutes-Signature", b"ab"),
    (b"X-Chutes-Nonce", b"1"),
)


class ChosenNameTests(RouterTestCase):
    """Requests of tools with fixed names."""

    def leave(
        self, *patterns: str, unknown: Literal["reject", "forward", "alias"] = "reject"
    ) -> None:
        """Leave names to the router's choice."""
        rules = Rules(frozenset({ALIAS}), 8, unknown_models=unknown, patterns=patterns_of(patterns))
        parsing = ParseConfig.of(rules, Commit.CONTENT, 100_000)
        self.proxy.configure(replace(self.config, parsing=parsing))

    def answered(self, model: str, *fields: Field, **members: Any) -> str | None:
        """Return the model that the response names."""
        client = self.ask(model, *fields, **members)
        self.wire.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
        selected = client.down.field(_SELECTED)
        return None if selected is None else selected.decode()

    def test_as_the_alias(self) -> None:
        """The best model gets the request under its own name, and the response says so."""
        for leave in (lambda: self.leave("gpt-*"), lambda: self.leave(unknown="alias")):
            leave()
            self.assertEqual(self.answered("GPT-4o"), "a")
            self.assertEqual(self.wire.models, ["a"])
            record = self.records[-1]
            self.assertEqual((record.mode, record.why, record.candidates), ("alias", Why.BEST, 3))
            self.snapshot = snapshot(b=1000, a=1000, c=4000)
            self.assertEqual(self.answered("gpt-5", prompt_cache_key="other"), "b")
            self.snapshot = snapshot(a=1000, b=1000, c=4000)
            self.build()

    def test_fails_over(self) -> None:
        """It fails over as the alias does, unlike a name."""
        self.leave("gpt-*")
        client = self.ask("gpt-4o")
        self.wire.says(whole(503, b"", JSON, b"Connection: close"))
        self.wire.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
        self.assertEqual((self.models, client.down.field(_SELECTED)), (["a", "b"], b"b"))

    def test_the_catalog_comes_first(self) -> None:
        """A name that the catalog has, in another case too, is that model and no other."""
        self.leave("*", unknown="alias")
        for name in ("b", "B", "b:THINKING"):
            self.assertIsNone(self.answered(name))
            self.assertEqual(self.records[-1].mode, "direct")
            self.assertEqual(self.wire.models[-1][0], "b")

    def test_needs(self) -> None:
        """What the request needs counts, as it does for the alias."""
        self.leave("gpt-*")
        prompt = "word " * 4000  # more than 1000 tokens, and fewer than 4000 pairs of them
        self.assertEqual(
            self.answered("gpt-4o", messages=[{"role": "user", "content": prompt}]), "c"
        )

    def test_same_conversation(self) -> None:
        """Every such name of a conversation is the alias to it, and so is the alias itself."""
        self.leave("gpt-*")
        session = (b"X-Session-Id", b"7f")
        self.answered("gpt-4o", session)
        self.assertEqual(self.records[-1].affinity, MISS)
        self.snapshot = snapshot(b=1000, a=1000, c=4000)
        for name in ("gpt-4o", "gpt-4o-mini", ALIAS):
            self.assertEqual((self.answered(name, session), self.records[-1].affinity), ("a", HIT))
        self.assertEqual(len(self.tables.affinity), 1)

    def test_random_names(self) -> None:
        """However many names a client makes up, they leave one entry of memory."""
        self.leave(unknown="alias")
        for number in range(50):
            self.answered(f"name-{number}", (b"X-Session-Id", b"7f"))
        self.assertEqual(len(self.tables.affinity), 1)

    def test_refused_still(self) -> None:
        """Names that match nothing, and unknown items of a list, are errors."""
        self.leave("gpt-*")
        self.assert_refused(self.ask("o3"), 400, "unknown_model")
        self.assert_refused(self.ask("a,gpt-4o"), 400, "unknown_model")
        self.leave(unknown="alias")
        self.assert_refused(self.ask("a,gpt-4o"), 400, "unknown_model")

    def test_nothing_to_choose_from(self) -> None:
        """Before the first refresh a pattern is the alias without candidates: try again later."""
        self.leave("gpt-*")
        self.snapshot = Snapshot()
        client = self.ask("gpt-4o")
        self.assert_refused(client, 503, "no_candidates")
        self.assertEqual(self.records[-1].mode, "alias")

    def test_signed(self) -> None:
        """A signature covers the name, so the router cannot choose another."""
        self.leave("gpt-*", "a")
        self.assert_refused(self.ask("gpt-4o", *_SIGNATURE), 400, "signed_request")
        self.ask("a", *_SIGNATURE)
        self.assertEqual(self.wire.models, ["a"])

    def test_signed_without_a_catalog(self) -> None:
        """Nor where the name is that of the best candidate: another one might have to answer."""
        self.leave("*")
        self.snapshot = Snapshot(None, snapshot(a=1000, b=1000).ranking)
        self.assert_refused(self.ask("a", *_SIGNATURE), 400, "signed_request")
        self.assertEqual(self.answered("a"), "a")
