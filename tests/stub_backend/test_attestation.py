"""Tests of the stub's evidence for any nonce: the router verifies it, or refuses its flaw."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

import stub_backend
from autopilot.attestation.collateral import Platform, fetch_collateral
from autopilot.attestation.measurements import parse_published
from autopilot.attestation.verdict import Refusal, Verified
from autopilot.attestation.verification import Policy, Question, read_evidence, verify
from autopilot.http.fetch import FetchedResponse
from autopilot.measurement import MeasurementsError
from stub_backend.command import parse
from stub_backend.sealed.flaws import FLAWS
from stub_backend.sealed.refusals import REFUSALS, Stage
from stub_backend.sealed.scenarios import SEALED_SCENARIOS
from tests.stub_backend.exchange import Answer, Exchange
from tests.stub_backend.sealed_calls import SEALED, Caller
from tests.stub_backend.test_sealed_scenarios import DATA

CASES: dict[str, Any] = json.loads((DATA / "evidence_vectors.json").read_text())
NOW: int = CASES["fixed_now"]
NONCE = "5a" * 32
WITH_KIT = replace(SEALED, attestation_kit=str(DATA))
# Of these the collateral, the clock or the measurements are at fault, not the evidence.
ELSEWHERE = ("collateral_", "tcb_", "qe_", "measurement_feed_")
PLATFORM = Platform("B0C06F000000", "platform")


class Verifier:
    """The router's verification of one model's instances, with all that the stub answers."""

    def __init__(self, scenario: str) -> None:
        self.caller = Caller(SEALED_SCENARIOS[scenario].model, WITH_KIT)

    def evidence(self, instance: str) -> Answer:
        """Ask for the evidence of an instance."""
        return self.caller.get(f"/instances/{instance}/evidence?nonce={NONCE}")

    def verdict(self, now: int = NOW) -> Verified | Refusal:
        """Discover an instance, and verify it."""
        listed = self.caller.instance()
        evidence = self.evidence(listed["instance_id"]).body
        collateral: str = self.successful(fetch_collateral(self._ask, "", PLATFORM))
        roots = CASES["roots"]
        policy = Policy(
            rows=parse_published(self.caller.get("/servers/tee/measurements").body),
            intel_root=b64decode(roots["intel_like_root_der_b64"]),
            nvidia_root=sha256(b64decode(roots["gpu_root_der_b64"])).digest(),
        )
        question = Question(NONCE, listed["e2e_pubkey"])
        return verify(read_evidence(evidence), question, collateral, policy, now)

    def successful(self, asked: Any) -> Any:
        """Return what a coroutine returns that waits for nothing."""
        found: list[Any] = []
        Deferred.fromCoroutine(asked).addCallback(found.append)
        return found[0]

    def _ask(self, path: str) -> Deferred[FetchedResponse]:
        answer = self.caller.get(path)
        response = FetchedResponse(answer.status, answer.body)
        for name, value in answer.headers:
            response.headers.addRawHeader(name, value)
        return succeed(response)


class EvidenceTests(SynchronousTestCase):
    """Evidence of single instances."""

    def test_genuine(self) -> None:
        """Evidence of an instance is verified, on both machines of the kit."""
        verifier = Verifier("ok")
        verdicts = [verifier.verdict() for _ in range(4)]
        for verdict in verdicts:
            assert isinstance(verdict, Verified), verdict
        certificates = {
            verifier.evidence(each["instance_id"]).json()["certificate"]
            for each in verifier.caller.discover().json()["instances"]
        }
        self.assertEqual(len(certificates), 2)

    def test_flaws(self) -> None:
        """Evidence is refused for its flaw, with the reason of the vectors."""
        refused = {
            each["name"]: each["verdict"]
            for each in CASES["cases"]
            if each["verdict"] != "ok" and not each["name"].startswith(ELSEWHERE)
        }
        self.assertEqual(FLAWS.keys(), refused.keys())
        verifier = Verifier("ok")
        for name, reason in refused.items():
            verifier.caller.then(f"evidence-{name.replace('_', '-')}")
            self.assertEqual(verifier.verdict(), Refusal(reason), name)

    def test_collateral_and_measurements(self) -> None:
        """The control API selects each set of collateral, and withdraws the measurements."""
        verifier = Verifier("ok")
        control = Exchange(shared=(verifier.caller.clock, verifier.caller.stub))
        sets = {
            each["collateral"]: each["verdict"]
            for each in CASES["cases"]
            if each["now"] == NOW
            and each["name"].startswith(("collateral_", "tcb_", "qe_"))
            and not each.get("options")
        }
        self.assertGreater(len(sets), 5)
        for name, reason in sets.items():
            control.fetch("POST", "/stub/attestation", {"collateral": name})
            self.assertEqual(verifier.verdict(), Refusal(reason), name)
        control.fetch("POST", "/stub/attestation", {"measurements": False})
        self.assertRaises(MeasurementsError, verifier.verdict)
        wrong = control.fetch("POST", "/stub/attestation", {"collateral": "none"})
        self.assertEqual(wrong.status, 400)
        control.fetch("POST", "/stub/reset")
        self.assertIsInstance(verifier.verdict(now=NOW + 94_608_000), Verified)

    def test_refusals(self) -> None:
        """Each of the platform's errors is there, whose instance it names."""
        listed = [each for each in REFUSALS if each.stage is Stage.EVIDENCE]
        self.assertEqual(len(listed), 7)
        for each in listed:
            verifier = Verifier(each.name)
            instance = verifier.caller.instance()["instance_id"]
            answer = verifier.evidence(instance)
            shown = (answer.status, answer.json()["detail"])
            problem = each.of(instance)
            self.assertEqual(shown, (problem.status, problem.detail))

    def test_invalid(self) -> None:
        """An unknown instance is 404, an invalid nonce 400, and no key 401."""
        verifier = Verifier("ok")
        instance = verifier.caller.instance()["instance_id"]
        self.assertEqual(verifier.evidence("none").status, 404)
        short = verifier.caller.get(f"/instances/{instance}/evidence?nonce=5a")
        self.assertEqual(short.status, 400)
        verifier.caller.key = {}
        self.assertEqual(verifier.evidence(instance).status, 401)

    def test_limit(self) -> None:
        """All callers share sixty questions a minute."""
        verifier = Verifier("evidence-403")
        instance = verifier.caller.instance()["instance_id"]
        statuses = [verifier.evidence(instance).status for _ in range(61)]
        self.assertEqual((statuses[:60], statuses[60]), ([403] * 60, 429))


class WithoutKitTests(SynchronousTestCase):
    """A stub without the keys."""

    def test_unsigned(self) -> None:
        """Evidence is not signed, and there is neither a measurement nor collateral."""
        caller = Caller(SEALED_SCENARIOS["ok"].model)
        instance = caller.instance()["instance_id"]
        answer = caller.get(f"/instances/{instance}/evidence?nonce={NONCE}")
        self.assertEqual((answer.status, answer.json()["signature"]), (200, None))
        self.assertEqual(caller.get("/servers/tee/measurements").json(), [])
        self.assertEqual(caller.get("/sgx/certification/v4/rootcacrl").status, 404)

    def test_keys_stay_out(self) -> None:
        """The stub's folder, which wheel and image copy whole, has none of the kit's keys."""
        kit = json.loads((DATA / "evidence_kit.json").read_text())
        keys = [kit["tdx"]["attestation_key_scalar_hex"]]
        keys += [kit["vm"][name][f"rsa_{part}_hex"] for name in "AB" for part in "pq"]
        keys += [each["leaf_scalar_hex"] for name in "AB" for each in kit["gpus"][name]]
        files = [path for path in Path(stub_backend.__file__).parent.rglob("*") if path.is_file()]
        self.assertGreater(len(files), 50)
        for path in files:
            content = path.read_bytes()
            self.assertFalse([key for key in keys if key.encode() in content], path)

    def test_option(self) -> None:
        """The option is a folder with the kit; the error says what is missing."""
        self.assertEqual(parse(["--attestation-kit", str(DATA)]).attestation_kit, str(DATA))
        self.assertIsNone(parse([]).attestation_kit)
        with self.assertRaises(SystemExit):
            parse(["--attestation-kit", str(DATA / "none")])
