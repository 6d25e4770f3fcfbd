"""Further facts about a response: numbers in fixed sentences."""

from __future__ import annotations

import base64
import struct
from datetime import UTC, datetime
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.live.facts import (
    catalog_facts,
    evidence_facts,
    feed_facts,
    served_facts,
    stream_facts,
)
from tests.rigs.live.model_choice import Model, ModelChoice, NoSuchModelError, choose_models

UNKNOWN_MODEL = ModelChoice(())
NOW = datetime(2026, 2, 18, 6, 0, tzinfo=UTC)


def record(chute: str, **members: Any) -> dict[str, Any]:
    """Return a record of the feed."""
    usual = {"timestamp": "2026-02-18T05:30:00.5", "utilization_current": 0.2}
    return {"chute_id": chute, "active_instance_count": 2, **usual, **members}


def entry(name: str, **members: Any) -> dict[str, Any]:
    """Return an entry of the catalog."""
    return {"id": name, "chute_id": name, "owned_by": "vllm", **members}


class FactsTests(SynchronousTestCase):
    """The facts of each kind of response."""

    def test_feed(self) -> None:
        """Ages, and values outside their ranges."""
        old = record("c", timestamp="2026-02-18T05:00:00", utilization_5m=None)
        told = feed_facts([record("a"), record("b", utilization_1h=1.5), old], UNKNOWN_MODEL, NOW)
        self.assertEqual(told[0], "3 records, 2 different timestamps")
        self.assertEqual(told[1], "age of the newest 30 min, of the oldest 60 min")
        self.assertIn("1 above 1, 0 below 0", told[2])
        odd = feed_facts([record("a", timestamp="soon")], UNKNOWN_MODEL, NOW)
        self.assertEqual(odd[1], "a timestamp is not ISO 8601")
        zoned = feed_facts([record("a", timestamp="2026-02-18T05:00:00Z")], UNKNOWN_MODEL, NOW)
        self.assertEqual(zoned[1], "a timestamp has a zone")

    def test_catalog(self) -> None:
        """The number of models of each kind."""
        entries = [entry("a/b-TEE", confidential_compute=True), entry("c", owned_by="chutes")]
        told = catalog_facts({"data": entries}, UNKNOWN_MODEL)
        self.assertEqual(told[0], "2 models, 1 of them TEE, 1 of those with the suffix")
        self.assertEqual(told[1], "1 externally backed entries")
        self.assertEqual(told[2], "1 names without an organisation")

    def test_evidence(self) -> None:
        """The number of instances, and the kinds of their quotes."""
        quote = base64.b64encode(struct.pack("<HHI", 4, 2, 0x81) + b"rest").decode()
        given = [{"quote": quote, "gpu_evidence": [{}, {}]}, {"quote": None}]
        told = evidence_facts({"evidence": given, "failed_instance_ids": ["x"]}, UNKNOWN_MODEL)
        self.assertEqual(told[0], "2 instances gave evidence for 2 GPUs, 1 gave none")
        self.assertIn("quotes: version 4, kind of key 2, kind of TEE 129", told)
        self.assertIn("quotes: unreadable", told)

    def test_stream(self) -> None:
        """The position of usage in a stream."""
        body = b'data: {"choices":[],"usage":{}}\n\ndata: {"choices":[]}\n\ndata: [DONE]\n\n'
        self.assertEqual(stream_facts(body), ["2 chunks, 1 with usage, 0 with reasoning"])
        self.assertEqual(stream_facts(b"data: [DONE]\n\n"), [])

    def test_nonsense(self) -> None:
        """Unexpected JSON gives no facts and raises nothing."""
        odd: list[Any] = [None, 7, "x", [], {}, [7], {"data": 7}, {"evidence": {}}, [[]]]
        for value in (*odd, {"data": [7]}):
            for facts in (catalog_facts, evidence_facts, feed_facts):
                facts(value, UNKNOWN_MODEL)


class CastTests(SynchronousTestCase):
    """Selection of models for the roles."""

    def test_preferred(self) -> None:
        """Free slots count first, then the price; names only break ties."""
        catalog = {"data": [
            entry("dear", pricing={"completion": 3.0}), entry("busy", pricing={"completion": 0.1}),
            entry("cold", pricing={"completion": 0.0}), entry("cheap", pricing={"completion": 0.2}),
            entry("tee", confidential_compute=True, owned_by="sglang"), 7, {"no": "id"},
        ]}  # fmt: skip
        feed = [
            record("dear"), record("cheap"), record("tee", utilization_current=None),
            record("busy", rate_limit_ratio_5m=0.9), record("cold", active_instance_count=0),
        ]  # fmt: skip
        choice = choose_models(catalog, feed, "00")
        self.assertEqual([e.name for e in choice.models], ["cheap", "dear", "busy", "tee", "cold"])
        self.assertEqual((choice.usual().name, choice.second().name), ("cheap", "dear"))
        self.assertEqual((choice.tee().name, choice.by("sglang").name), ("tee", "tee"))
        self.assertEqual(served_facts({"model": "dear"}, choice), ["served by the second model"])
        self.assertEqual(served_facts({"model": "nobody"}, choice), ["served by another model"])

    def test_nobody(self) -> None:
        """A role without a model is reported."""
        choice = choose_models({"data": [entry("a")]}, [], "00")
        for part in (choice.tee, choice.second):
            self.assertRaises(NoSuchModelError, part)
        self.assertRaises(NoSuchModelError, choice.by, "sglang")
        nothings: list[Any] = [None, [], {"data": None}, {"data": {}}]
        for nothing in nothings:
            self.assertRaises(NoSuchModelError, choose_models(nothing, nothing, "00").usual)

    def test_one_for_all(self) -> None:
        """A model for all roles takes those too for which it is unsuited."""
        model = Model("one", "id", "vllm", tee=False)
        alone = UNKNOWN_MODEL.as_every_role(model)
        for part in (alone.usual, alone.second, alone.tee, alone.not_tee):
            self.assertEqual(part(), model)
