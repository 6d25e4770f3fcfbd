"""Tests of the scenarios of encrypted calls: errors, hostile streams, and instances that change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.instances import parse_discovery
from autopilot.attestation.sealing import InstanceKey, open_reply
from stub_backend.answers.endings import ENDINGS
from stub_backend.answers.wire import WIRE
from stub_backend.command import parse
from stub_backend.sealed.hostile import HOSTILE
from stub_backend.sealed.refusals import REFUSALS, Refusal, Stage
from stub_backend.sealed.scenarios import SEALED_SCENARIOS
from tests.stub_backend.exchange import Answer, Exchange
from tests.stub_backend.sealed_calls import SEALED, Caller

DATA = Path(__file__).resolve().parents[1] / "data" / "private"
ROWS: list[dict[str, Any]] = json.loads((DATA / "errors.json").read_text())["errors"]
VECTORS: dict[str, Any] = json.loads((DATA / "e2ee_vectors.json").read_text())
REORDERED = {"event_dropped", "events_swapped"}


def model(name: str) -> str:
    """Return the model of a scenario."""
    return SEALED_SCENARIOS[name].model


def told(answer: Answer) -> object:
    """Return what an error says: its JSON, or its text."""
    return answer.json() if answer.content_type == "application/json" else answer.body.decode()


class RefusalTests(SynchronousTestCase):
    """Each error of the platform on the way of an encrypted call."""

    def test_all(self) -> None:
        """The table has each recorded row, but for the one that only an engine can make."""
        of_the_engine = next(each for each in ROWS if each["class"] == "sealed_error")
        recorded = {
            (each["where"], each["status"], json.dumps(each["body"]))
            for each in ROWS
            if each is not of_the_engine
        }
        instance = "0a000000-0000-4000-8000-00000000000a"
        shown = {(each.stage.value, *self._body(each, instance)) for each in REFUSALS}
        self.assertEqual(shown, recorded)
        self.assertEqual(len(REFUSALS), len(ROWS) - 1)

    def _body(self, refusal: Refusal, instance: str) -> tuple[int, str]:
        problem = refusal.of(instance)
        body = {"detail": problem.detail} if problem.page is None else problem.page
        return problem.status, json.dumps(body)

    def test_discovery(self) -> None:
        """Discovery is refused."""
        for each in self._of(Stage.DISCOVERY):
            answer = Caller(model(each.name)).discover()
            self.assertEqual(answer.status, each.problem.status)
            self.assertEqual(told(answer), {"detail": each.problem.detail})

    def test_invoke(self) -> None:
        """A call is refused, and uses up its nonce unless the row says otherwise."""
        spared = {"auth", "bug", "edge_throttled"}
        for each in self._of(Stage.INVOKE):
            caller = Caller(model(each.name))
            instance = caller.instance()
            nonce = instance["nonces"][0]
            answer = caller.call(instance).answer
            self.assertEqual(answer.status, each.problem.status, each.name)
            body = self._body(each, "")[1]
            self.assertEqual(told(answer), json.loads(body), each.name)
            caller.stub.end_to_end.scripts.write(caller.chute.name, ())
            instance["nonces"].insert(0, nonce)
            again = caller.call(instance).answer.status
            row = next(
                row
                for row in ROWS
                if (row["where"], json.dumps(row["body"])) == (each.stage.value, body)
            )
            self.assertEqual(again, 200 if row["nonce_used"] == "no" else 403, each.name)
            if each.spares_nonce:
                self.assertIn(row["class"], spared)

    def test_stream_only(self) -> None:
        """An instance that only streams serves streams."""
        called = Caller(model("invoke-400-stream-only")).call(stream=True)
        self.assertTrue(called.opened()[1].ended)

    def _of(self, stage: Stage) -> list[Refusal]:
        found = [each for each in REFUSALS if each.stage is stage]
        self.assertTrue(found)
        return found


class HostileTests(SynchronousTestCase):
    """Streams that no honest gateway sends."""

    def test_all(self) -> None:
        """Each of the vectors is there, and the router ends each as the vectors require."""
        recorded = {each["name"]: each["expect"] for each in VECTORS["hostile_streams"]}
        self.assertEqual(HOSTILE.keys(), recorded.keys())
        honest = Caller(model("ok")).call(stream=True).opened()[0].splitlines()
        for name, expected in recorded.items():
            called = Caller(model(f"stream-{name.replace('_', '-')}")).call(stream=True)
            plain, opener = called.opened()
            self.assertEqual(opener.fault or "clean", expected["end"], name)
            ignored = {kind.value: count for kind, count in opener.plain.items() if count}
            self.assertEqual(ignored, expected["ignored"], name)
            self.assertEqual(bool(plain), bool(expected["relayed"]), name)
            kinds = [line.partition(b":")[0] for line in plain.splitlines()]
            usual = [line.partition(b":")[0] for line in honest]
            if name not in REORDERED:
                self.assertEqual(kinds, usual[: len(kinds)], name)


class ConductTests(SynchronousTestCase):
    """Instances that cut elsewhere, change or vanish."""

    def test_pieces(self) -> None:
        """Whatever an instance seals as one piece, the stream is whole."""
        for name in ("ok", "events", "odd"):
            plain, opener = Caller(model(name)).call(stream=True).opened()
            self.assertTrue(opener.ended, name)
            self.assertTrue(plain.rstrip().endswith(b"data: [DONE]"), name)
            self.assertGreater(plain.count(b'"content":'), 3, name)

    def test_nothing_plain(self) -> None:
        """Whatever an instance answers, the wire has nothing of it in the clear."""
        options = replace(SEALED, huge_bytes=20_000, time_scale=0.0001)
        # These write past the framing.
        for name in (each.name for each in (*WIRE, *ENDINGS)):
            for stream in (False, True):
                caller = Caller(model("ok"), options)
                caller.stub.script(model("ok"), [name])
                wire = caller.wire(stream=stream)
                self.assertNotIn(b"choices", wire, name)
                self.assertNotIn(b"word1", wire, name)

    def test_cut(self) -> None:
        """A stream breaks off, and the router sees it."""
        called = Caller(model("cut")).call(stream=True)
        plain, opener = called.opened()
        self.assertEqual((bool(plain), opener.fault), (True, "truncated"))

    def test_sealed_refusal(self) -> None:
        """The detail of an engine's refusal looks like base64 and cannot be opened."""
        answer = Caller(model("400-sealed")).call().answer
        detail = answer.json()["detail"]
        self.assertEqual(answer.status, 400)
        self.assertGreater(len(detail), 1400)
        self.assertNotIn(" ", detail)

    def test_key_changed(self) -> None:
        """An instance that restarted cannot open what is sealed to its old key."""
        answer = Caller(model("key-changed")).call().answer
        self.assertEqual(
            (answer.status, answer.json()), (400, {"detail": '{"detail":"E2E decryption failed"}'})
        )

    def test_vanished(self) -> None:
        """An instance that vanished is not found, nor listed again."""
        caller = Caller(model("vanished"))
        gone = caller.instance()
        self.assertEqual(caller.call(gone).answer.json(), {"detail": "Instance not found"})
        for _ in range(8):
            listed = caller.discover().json()["instances"]
            self.assertNotIn(gone["instance_id"], [each["instance_id"] for each in listed])

    def test_discovery_as_the_router_reads_it(self) -> None:
        """The router finds five instances with a usable key and ten nonces, for 55 seconds."""
        found = parse_discovery(Caller(model("ok")).discover().body)
        self.assertEqual([len(each.nonces) for each in found.instances], [10] * 5)
        self.assertEqual(len({InstanceKey(each.key).text for each in found.instances}), 5)
        self.assertEqual(found.seconds, 55)

    def test_reset(self) -> None:
        """A reset ends scripts, brings vanished instances back, and makes nonces invalid."""
        caller = Caller(model("ok"))
        gone = caller.instance()
        caller.stub.end_to_end.scripts.write(model("ok"), (), "vanished")
        self.assertEqual(caller.call(gone).answer.status, 404)
        caller.stub.reset()
        self.assertEqual(caller.call(gone).answer.status, 403)
        ids: set[str] = set()
        for _ in range(40):
            ids |= {each["instance_id"] for each in caller.discover().json()["instances"]}
        self.assertEqual(len(ids), 14)
        self.assertIn(gone["instance_id"], ids)

    def test_script(self) -> None:
        """A script gives each call its scenario, which the control API sets."""
        caller = Caller(model("ok"))
        control = Exchange(shared=(caller.clock, caller.stub))
        script = {"model": model("ok"), "script": ["invoke-429-capacity", "discovery-429"]}
        self.assertEqual(control.fetch("POST", "/stub/sealed", script).status, 200)
        self.assertEqual(caller.call().answer.status, 429)
        self.assertEqual(caller.discover().status, 429)
        called = caller.call()
        self.assertEqual(
            json.loads(open_reply(called.answer.body, called.key))["model"], model("ok")
        )
        wrong = control.fetch("POST", "/stub/sealed", {"model": "x", "script": ["none"]})
        self.assertEqual(wrong.status, 400)

    def test_option(self) -> None:
        """The models are listed only if the option says so."""
        self.assertTrue(parse(["--sealed-models"]).sealed_models)
        self.assertFalse(parse([]).sealed_models)
        self.assertIsNone(Exchange().stub.population.find(model("ok")))
        self.assertTrue(SEALED.sealed_models)
