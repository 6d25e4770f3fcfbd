"""Tests of ``autopilot rank``: the table, the object, and the errors of feeds."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock

from autopilot.feeds.parsers import parse_catalog, parse_utilization
from autopilot.routing.catalog import Catalog
from autopilot.routing.ranking import rank
from autopilot.routing.steps import result_of
from autopilot.settings import Settings
from autopilot.wiring.parts import Parts
from tests.unit.cli.asked import CommandTestCase, Terminal
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body


class RankTests(CommandTestCase):
    """The output of a ranking."""

    def test_table(self) -> None:
        """The table has each score's terms, best first, then the ineligible models by reason."""
        status, said = self.ask("rank", *self.saved())
        self.assertEqual(status, 0)
        lines = said.splitlines()
        self.assertEqual(
            lines[0].split(),
            ["#", "model", "score", "free", "bonus", "penalty", "busy", "429", "inst", "TEE"],
        )
        self.assertEqual(lines[1].split()[:2], ["1", "acme/B"])
        self.assertEqual(lines[1].split()[-2:], ["9", "no"])
        self.assertEqual(lines[2].split()[1], "acme/A-TEE")
        self.assertEqual(lines[3], "Not eligible: 4")
        rest = "\n".join(lines[4:])
        for reason in (
            "1  private chutes",
            "1  no active instance: acme/B",
            "1  not in the catalog: acme/X",
            "1  not in the utilization feed: acme/C",
        ):
            self.assertIn(reason, rest)
        self.assertNotIn("\x1b", said)

    def test_json(self) -> None:
        """The object has a fixed form, and the terms add up to the score."""
        arguments = self.saved()
        got = self.ask_json("rank", *arguments)
        self.assertEqual(
            set(got), {"ranking", "not_eligible", "not_in_utilization", "catalog", "utilization"}
        )
        catalog = Catalog.of(parse_catalog(Path("models.json").read_bytes()).models)
        loads = parse_utilization(Path("load.json").read_bytes()).loads
        self.assertEqual(
            [each["name"] for each in got["ranking"]], [r.name for r in rank(loads, catalog)]
        )
        for place, each in enumerate(got["ranking"], 1):
            self.assertEqual(
                set(each),
                {
                    *("rank", "name", "score", "free", "bonus", "penalty", "util", "rate_limit"),
                    *("active_instance_count", "utilization_current", "rate_limit_ratio_5m"),
                    *("confidential_compute", "context_length", "max_output_length"),
                },
            )
            self.assertEqual(each["rank"], place)
            total = each["free"] + each["bonus"] - each["penalty"]
            self.assertAlmostEqual(each["score"], total)
        self.assertIs(got["ranking"][0]["confidential_compute"], False)
        self.assertEqual(
            got["not_eligible"],
            [
                {"name": "[private chute]", "reason": "private"},
                {"name": "acme/B", "reason": "no_instances"},
                {"name": "acme/X", "reason": "not_in_catalog"},
            ],
        )
        self.assertEqual(got["not_in_utilization"], ["acme/C"])
        self.assertEqual(got["catalog"], {"models": 3, "rejected": 0})
        self.assertEqual(got["utilization"], {"records": 5, "rejected": 0})

    def test_top(self) -> None:
        """`--top` limits the table to at least one model, and counts the others."""
        _, said = self.ask("rank", "--top", "1", *self.saved())
        self.assertIn("\nand 1 more\n", said)
        self.assertNotIn("acme/A-TEE", said)
        self.assertEqual(len(self.ask_json("rank", "--top", "1", *self.saved())["ranking"]), 1)

    def test_fetched(self) -> None:
        """Feeds without a file are fetched, without credentials."""
        self.environ["CHUTES_API_KEY"] = "fixture-key"
        status, said = self.ask("rank")
        self.assertEqual(status, 0)
        self.assertEqual(len(self.stub.log), 2)
        self.assertNotIn("fixture-key", "".join(map(str, self.stub.log)) + said)
        self.saved()
        self.assertEqual(self.ask("rank", "--utilization", "load.json")[0], 1)
        self.assertEqual([each.path for each in self.stub.log][2:], ["/v1/models"])

    def test_nothing_to_choose(self) -> None:
        """An empty ranking ends with status 1, not 2."""
        status, said = self.ask(
            "rank", *self.saved(utilization=utilization_body(record("acme/Other")))
        )
        self.assertEqual((status, said.splitlines()[0]), (1, "No model can be chosen."))
        self.assertIn("3  not in the utilization feed: acme/A-TEE, acme/B, acme/C", said)

    def test_unreadable_records(self) -> None:
        """Unreadable records are counted."""
        bad = record("acme/bad", active_instance_count=-1)
        load = utilization_body(record("acme/A-TEE", chute_id="a"), record("acme/B"), bad)
        _, said = self.ask("rank", *self.saved(utilization=load))
        self.assertIn("1 unreadable records of the utilization feed were skipped.", said)
        got = self.ask_json("rank", *self.saved(utilization=load))
        self.assertEqual(got["utilization"], {"records": 2, "rejected": 1})

    def test_all(self) -> None:
        """The list of names is shortened without `--all`."""
        load = utilization_body(
            record("acme/A-TEE", chute_id="a"), *(record(f"other/{at}") for at in range(9))
        )
        _, said = self.ask("rank", *self.saved(utilization=load))
        self.assertIn("9  not in the catalog: other/0, other/1, other/2, other/3, …\n", said)
        _, said = self.ask("rank", "--all", *self.saved(utilization=load))
        self.assertIn("other/8\n", said)

    def test_long_names(self) -> None:
        """The table fits a terminal, elsewhere names are complete; colours follow the option."""
        name = f"acme/{'x' * 200}"
        models = catalog_body(entry(name, chute_id="a"))
        files = self.saved(models, utilization_body(record(name, chute_id="a")))
        self.assertIn(name, self.ask("rank", *files)[1])
        self.assertIn("\x1b[1m", self.ask("rank", "--color", "always", *files)[1])
        self.stream = Terminal
        _, output = self.begun("rank", "--color", "never", *files)
        lines = output.getvalue().splitlines()
        self.assertTrue(any("…" in line for line in lines))
        self.assertTrue(all(len(line) <= 80 for line in lines[:2]), lines)
        self.assertIn("fetching the feeds", self.heard)
        self.assertTrue(self.heard.endswith("\r\x1b[K"))
        self.assertIn("\x1b[1m", self.ask("rank", *files)[1])
        self.environ["TERM"] = "dumb"
        self.assertNotIn("\x1b", self.ask("rank", *files)[1] + self.heard)


class RouterTests(CommandTestCase):
    """The ranking of a running router, from its real pages."""

    URL = ("--router", "http://router.test/")

    def setUp(self) -> None:
        """Start a router with both feeds and a model that cools down."""
        super().setUp()
        self.clock = MemoryReactorClock()  # the status is rendered in several turns
        self.parts = Parts(Settings(), self.clock)
        self.files = self.saved()
        result_of(self.parts.control.read("catalog", Path("models.json").read_bytes()))
        result_of(self.parts.control.read("utilization", Path("load.json").read_bytes()))
        for client in (b"x", b"y", b"z"):
            self.parts.tables.breaker.failed(client, "acme/A-TEE", 0.0, 0.0)
        self.join(self.parts.tree())

    def test_same_table(self) -> None:
        """The table is that of the feeds which the router has; then come its own facts."""
        status, said = self.ask("rank", *self.URL)
        self.assertEqual(status, 0)
        table = said.splitlines()
        self.assertEqual(table[:3], self.ask("rank", *self.files)[1].splitlines()[:3])
        self.assertEqual(
            table[3:], ["Cooling down, tried last: 1: acme/A-TEE", "Not ranked: 1: acme/C"]
        )

    def test_json(self) -> None:
        """The object's ranking has the same members."""
        got = self.ask_json("rank", *self.URL, "--top", "1")
        self.assertEqual(set(got), {"ranking", "cooling", "not_ranked"})
        self.assertEqual(got["ranking"], self.ask_json("rank", *self.files)["ranking"][:1])
        self.assertEqual((got["cooling"], got["not_ranked"]), (["acme/A-TEE"], ["acme/C"]))

    def test_nothing_yet(self) -> None:
        """A router without the utilization feed has no ranking: status 1."""
        parts = Parts(Settings(), self.clock)
        result_of(parts.control.read("catalog", Path("models.json").read_bytes()))
        self.join(parts.tree())
        status, said = self.ask("rank", *self.URL)
        first, second = said.splitlines()
        self.assertEqual((status, first), (1, "No model can be chosen."))
        self.assertEqual(second, "Not ranked: 3: acme/A-TEE, acme/B, acme/C")

    def test_no_router(self) -> None:
        """Another server, an invalid address and files of feeds are errors."""
        self.join(self.stub.resource)
        said = self.refused("rank", *self.URL)
        self.assertIn("--router takes the address of its /status page", said)
        self.assertIn("--router: ", self.refused("rank", "--router", "ftp://x"))
        said = self.refused("rank", *self.URL, *self.files)
        self.assertTrue(said.startswith("--router excludes --models"), said)


class TroubleTests(CommandTestCase):
    """Invalid input gives one error line."""

    def test_files(self) -> None:
        """The error for an unreadable or malformed file names the file."""
        files = self.saved()
        for body, said in (
            (b"", "not JSON"),
            (b"{}", "not a list of records"),
            (b"\xff", "not UTF-8"),
            (b"[" * 100_000, "not JSON"),
            (utilization_body(*({"name": 7} for _ in range(9))), "9 of 9 records unreadable"),
        ):
            Path("load.json").write_bytes(body)
            self.assertEqual(self.refused("rank", *files), f"--utilization load.json: {said}")
        Path("models.json").write_bytes(b"[]")
        self.assertEqual(
            self.refused("rank", *files), "--models models.json: not a list of records"
        )
        for path, said in (("nowhere", "No such file or directory"), (".", "Is a directory")):
            self.assertEqual(self.refused("rank", "--models", path), f"--models {path}: {said}")
        self.assertIn("cannot be read", self.refused("rank", "--models", "a\0b"))

    def test_endless_file(self) -> None:
        """An endless file is read up to the limit only."""
        said = self.refused("rank", "--models", "/dev/zero")
        self.assertEqual(said, "--models /dev/zero: larger than 16777216 bytes")

    def test_input(self) -> None:
        """One of the feeds can be standard input."""
        self.saved()
        source = io.TextIOWrapper(io.BytesIO(Path("models.json").read_bytes()))
        self.patch(sys, "stdin", source)
        arguments = ("rank", "--models", "-", "--utilization", "load.json")
        self.assertEqual(self.ask_json(*arguments)["catalog"]["models"], 3)
        said = self.refused("rank", "--models", "-", "--utilization", "-")
        self.assertEqual(said, "only one file can be standard input (-)")

    def test_network(self) -> None:
        """The error names the feed that failed or timed out."""
        for feed, what in (("models", "catalog"), ("utilization", "utilization feed")):
            for mode, why in (("500", "status 500"), ("garbage", "not JSON")):
                self.stub.feeds.behave(models="ok", utilization="ok")
                self.stub.feeds.behave(**{feed: mode})
                wanted = f"the {what} could not be fetched: {why}"
                self.assertEqual(self.refused("rank"), wanted)
        self.stub.feeds.behave(models="ok", utilization="hang")
        ended, _ = self.begun("rank")
        self.assertNoResult(ended)
        self.clock.advance(10)
        self.failureResultOf(ended)

    def test_settings(self) -> None:
        """An invalid URL is an error, an unrelated invalid setting is not."""
        self.environ["LISTEN_ADDR"] = "nonsense"
        self.assertEqual(self.ask("rank")[0], 0)
        said = self.refused("rank", "--utilization-url", "ftp://x")
        self.assertTrue(said.startswith("UTILIZATION_URL: "), said)
