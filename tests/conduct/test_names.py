"""Names that only this platform knows, and names that come and go, through the router."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.conduct.asking import ALIAS, code, detail
from tests.conduct.seen import WHOLE
from tests.conduct.served import Served


class NamesTests(SynchronousTestCase):
    """Names that the platform knows and its catalog does not list."""

    def setUp(self) -> None:
        """Start two routers: one that requires the catalog's names, and one that does not."""
        self.strict, self.open = Served(tokens=4), Served(tokens=4, unknown_models="forward")

    def test_rewritten(self) -> None:
        """Similar spellings of a catalog name select it; its own name is forwarded."""
        chat = self.strict.stub.population.chat
        tee = next(each.name for each in chat if each.name.endswith("-TEE"))
        old = tee.removesuffix("-TEE")
        for served in (self.strict, self.open):
            for asked in (old, old.upper(), f" {tee.lower()}\t"):
                for text in (asked, f"stub/503-cold, {asked} "):
                    seen = served.ask(text)
                    self.assertEqual((seen.status, seen.models), (200, {tee}), text)
                    self.assertEqual(served.stub.calls()[-1].model, tee)

    def test_read_as_the_platform_reads_them(self) -> None:
        """A chute's id and suffixes select models of the catalog."""
        for served in (self.strict, self.open):
            chute = served.stub.population.find("stub/ok")
            assert chute is not None
            for asked in ("stub/ok:THINKING", "stub/ok:latency", chute.chute_id):
                seen = served.ask(asked)
                self.assertEqual((seen.status, seen.models), (200, {"stub/ok"}), asked)
                self.assertEqual(served.stub.calls()[-1].model, asked)
            for asked in ("stub/ok:THINKING", chute.chute_id):
                seen = served.ask(f"stub/503-cold,{asked}")
                self.assertEqual((seen.status, seen.models), (200, {"stub/ok"}), asked)
                self.assertEqual(served.stub.calls()[-1].model, asked)

    def test_the_alias_behind_a_list(self) -> None:
        """The alias at the end of a list serves when the named models have failed."""
        seen = self.strict.ask(f"stub/503-cold,{ALIAS.upper()}")
        self.assertEqual((seen.status, seen.end), (200, WHOLE))
        self.assertEqual(seen.headers["x-chutes-autopilot-attempts"], "2")
        best = self.strict.ask(ALIAS, "another").headers["x-chutes-autopilot-selected"]
        self.assertEqual(seen.headers["x-chutes-autopilot-selected"], best)
        self.assertEqual(code(self.strict.ask(f"{ALIAS},stub/ok")), "unknown_model")
        self.assertEqual(code(self.open.ask(f"{ALIAS},stub/ok")), "unknown_model")

    def test_no_models(self) -> None:
        """`default` and `:premium` are names to neither."""
        for asked in ("default", "stub/ok:premium"):
            self.assertEqual(code(self.strict.ask(asked)), "unknown_model")
            seen = self.open.ask(asked)
            self.assertEqual(detail(seen), f"model not found: {asked}")

    def test_fixed_names_of_tools(self) -> None:
        """Names that tools send unasked are answered as the alias is; the catalog's stay."""
        patterns = Served(tokens=4, aliases=(ALIAS, "gpt-*", "claude-*"))
        every = Served(tokens=4, unknown_models="alias")
        for served in (patterns, every):
            best = served.ask(ALIAS).headers["x-chutes-autopilot-selected"]
            for asked in ("gpt-4o", "Claude-Sonnet-4-5", "gpt-5:throughput"):
                seen = served.ask(asked)
                self.assertEqual((seen.status, seen.end), (200, WHOLE), asked)
                self.assertEqual(seen.headers["x-chutes-autopilot-selected"], best, asked)
                self.assertEqual(served.stub.calls()[-1].model, best)
            self.assertNotIn("x-chutes-autopilot-selected", served.ask("STUB/ok").headers)
            self.assertEqual(served.stub.calls()[-1].model, "stub/ok")
            self.assertEqual(code(served.ask("stub/ok,gpt-4o")), "unknown_model")
        self.assertEqual(code(patterns.ask("o3")), "unknown_model")
        self.assertEqual(every.ask("o3").status, 200)

    def test_an_array_of_models(self) -> None:
        """`models` is a list, alone and after `model`, and is not forwarded."""
        members: dict[str, Any]
        for members in (
            {"models": ["stub/503-cold", "stub/ok"]},
            {"model": "stub/503-cold", "models": ["stub/ok"]},
            {"model": "stub/503-cold,stub/503-disabled", "models": [ALIAS]},
        ):
            served = Served(tokens=4)
            seen = served.post(json.dumps({"messages": [], "stream": True, **members}).encode())
            self.assertEqual((seen.status, seen.end), (200, WHOLE), members)
            for call in served.stub.calls():
                self.assertEqual(
                    json.loads(call.body), {"model": call.model, "messages": [], "stream": True}
                )
        for members, expected in (
            ({"model": ALIAS, "models": ["stub/ok"]}, "unknown_model"),
            ({"models": ["stub/ok", "nope"]}, "unknown_model"),
            ({"model": "stub/ok", "models": "stub/ok"}, "invalid_model_list"),
        ):
            self.assertEqual(code(self.strict.post(json.dumps(members).encode())), expected)

    def test_lists_go_up_one_by_one(self) -> None:
        """The platform never receives a list, because the router chooses the next model."""
        seen = self.strict.ask("stub/503-cold,stub/404-model:latency")
        self.assertNotIn(",", "".join(call.model or "" for call in self.strict.stub.calls()))
        self.assertEqual(seen.headers["x-chutes-autopilot-attempts"], "2")

    def test_all_cold(self) -> None:
        """Where the platform responds to a list with 404, the client receives the real reason."""
        seen = self.strict.ask("stub/503-cold,stub/503-disabled")
        self.assertEqual((seen.status, detail(seen)), (503, "This chute is currently disabled."))


class AliasTests(SynchronousTestCase):
    """The alias."""

    def test_model_not_found(self) -> None:
        """A model that the platform removed since the last refresh does not affect the client."""
        served = Served(tokens=4)
        best = served.ask(ALIAS).headers["x-chutes-autopilot-selected"]
        served.stub.script(best, ["404-model"])
        seen = served.ask(ALIAS, "another")
        self.assertEqual((seen.status, seen.end), (200, WHOLE))
        self.assertEqual([each.reason for each in served.records[-1].failovers], ["not_found"])

    def test_feed_without_records(self) -> None:
        """An empty utilization feed does not fail alias requests."""
        served = Served(tokens=4)
        served.stub.feeds.behave(utilization="empty")
        served.network.pass_time(31.0)
        seen = served.ask(ALIAS)
        self.assertEqual((seen.status, seen.end), (200, WHOLE))
        age = served.records[-1].snapshot_age_ms
        assert age is not None
        self.assertGreater(age, 30_000)

    def test_all_renamed(self) -> None:
        """When all models are replaced, the alias uses the new ones."""
        served = Served(tokens=4)
        before = served.ask(ALIAS).headers["x-chutes-autopilot-selected"]
        served.stub.feeds.behave(models="renamed", utilization="renamed")
        served.network.pass_time(331.0)
        seen = served.ask(ALIAS)
        selected = seen.headers["x-chutes-autopilot-selected"]
        self.assertEqual((seen.status, seen.end, selected), (200, WHOLE, f"{before}-next"))
        self.assertEqual(code(served.ask(before)), "unknown_model")
