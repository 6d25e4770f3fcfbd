"""Tests of the stub's evidence: its scenarios, its checks and its quotes."""

from __future__ import annotations

import hashlib
import json
import struct
from base64 import b64decode
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate
from twisted.trial.unittest import SynchronousTestCase

from stub_backend import EVIDENCE_SCENARIOS, StubOptions
from stub_backend.command import parse, scenario_list
from stub_backend.evidence import PER_MINUTE
from stub_backend.evidence_bodies import GPUS, QUOTE_BYTES
from stub_backend.sealed.seals import e2e_pubkey
from tests.stub_backend.exchange import Answer, Exchange

NONCE, OTHER = "0123456789abcdef" * 4, "ff" * 32
OPTIONS = StubOptions(models=30, evidence_models=True)


class EvidenceTestCase(SynchronousTestCase):
    """A stub with a model for each scenario."""

    def setUp(self) -> None:
        """Connect."""
        self.exchange = Exchange(OPTIONS)

    def chute(self, scenario: str) -> Any:
        """Return the chute of a scenario."""
        found = self.exchange.stub.population.find(f"stub/evidence-{scenario}")
        assert found is not None
        return found

    def ask(self, chute: str, query: str = f"?nonce={NONCE}") -> Answer | None:
        """Request a chute's evidence on a new connection."""
        self.exchange = self.exchange.another()
        self.exchange.send("GET", f"/chutes/{chute}/evidence{query}")
        self.exchange.run()
        return self.exchange.answer()

    def fetch(self, chute: str, query: str = f"?nonce={NONCE}") -> Answer:
        """Request evidence, and return the response, which must arrive."""
        answer = self.ask(chute, query)
        assert answer is not None
        return answer

    def evidence(self, scenario: str, nonce: str = NONCE) -> Any:
        """Return the JSON of a scenario's response."""
        answer = self.fetch(self.chute(scenario).chute_id, f"?nonce={nonce}")
        self.assertEqual((answer.status, answer.content_type), (200, "application/json"))
        return answer.json()


class TableTests(EvidenceTestCase):
    """The table of scenarios."""

    def test_each(self) -> None:
        """The model of each scenario responds with the listed status."""
        for number, scenario in enumerate(EVIDENCE_SCENARIOS.values()):
            if number == PER_MINUTE // 2:
                self.exchange.clock.advance(60)
            answer = self.ask(self.chute(scenario.name).chute_id)
            self.assertEqual(answer.status if answer else None, scenario.status, scenario.name)
            if answer is not None:
                self.assertEqual(answer.complete, scenario.name != "cut", scenario.name)
            if scenario.name[:3].isdigit():
                self.assertEqual(scenario.status, int(scenario.name[:3]))

    def test_bodies(self) -> None:
        """Errors of the API have the platform's detail; other errors are not JSON."""
        unavailable = self.fetch(self.chute("502").chute_id).json()["detail"]
        self.assertTrue(unavailable.startswith("Attestation service unavailable. "), unavailable)
        uuid = self.chute("400-not-tee").chute_id
        for name, detail in (
            ("400-outdated", "Instances requires chutes_version >= 0.6.0 to retrieve evidence."),
            ("400-external", "TEE evidence is unavailable for this execution backend."),
            ("400-not-tee", f"Chute {uuid} is not TEE-enabled"),
            ("404-chute", "Chute not found"),
            ("404-private", "Chute not found, or does not belong to you"),
            ("404-id", f"Chute {self.chute('404-id').chute_id} not found"),
            ("429", "Rate limit exceeded. Try again later."),
        ):
            answer = self.fetch(self.chute(name).chute_id)
            self.assertEqual(answer.content_type, "application/json")
            self.assertEqual(answer.json(), {"detail": detail})
        self.assertEqual(self.fetch(self.chute("500-text").chute_id).content_type, "text/plain")
        self.assertEqual(self.fetch(self.chute("502-html").chute_id).content_type, "text/html")

    def test_listed(self) -> None:
        """Each scenario is in the help, and on request its TEE model is in the feeds."""
        listing = scenario_list()
        for scenario in EVIDENCE_SCENARIOS.values():
            self.assertIn(f"  {scenario.model} ", listing)
            self.assertIn(scenario.summary, listing)
        given = self.exchange.fetch("GET", "/v1/models").json()["data"]
        marked = {each["id"] for each in given if each["confidential_compute"]}
        self.assertTrue({each.model for each in EVIDENCE_SCENARIOS.values()} <= marked)
        without = Exchange(StubOptions(models=0)).fetch("GET", "/v1/models").json()["data"]
        self.assertFalse([each for each in without if each["confidential_compute"]])
        self.assertTrue(parse(["--evidence-models"]).evidence_models)

    def test_chat(self) -> None:
        """Such a model serves chat calls like any other."""
        answer = self.exchange.ask("stub/evidence-502", stream=True)
        assert answer is not None
        self.assertEqual((answer.status, answer.events()[-1]), (200, "[DONE]"))


class AskingTests(EvidenceTestCase):
    """The checks of requests."""

    def test_nonce(self) -> None:
        """A nonce must be present, of the right length and hexadecimal, checked in this order."""
        uuid = self.chute("ok").chute_id
        missing = self.fetch(uuid, "")
        self.assertEqual(missing.status, 422)
        (problem,) = missing.json()["detail"]
        self.assertEqual((problem["type"], problem["loc"]), ("missing", ["query", "nonce"]))
        for nonce, detail in (
            ("", "Nonce is required"),
            ("abcde", "Nonce must be exactly 64 hex characters (32 bytes), got 5"),
            ("g" * 64, "Nonce must be a valid hexadecimal string"),
        ):
            answer = self.fetch(uuid, f"?nonce={nonce}")
            self.assertEqual((answer.status, answer.json()), (400, {"detail": detail}))

    def test_nonce_at_the_edge(self) -> None:
        """If the edge validates first, a missing nonce is its error."""
        answer = self.fetch(self.chute("edge-nonce").chute_id, "")
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.json(), {"error": "$.query.nonce: required parameter missing"})

    def test_chutes(self) -> None:
        """A chute is found by name or id; without a TEE it has an error instead of evidence."""
        population = self.exchange.stub.population
        tee = next(each for each in population.chat if each.tee and not each.evidence)
        for name in (tee.chute_id, tee.name, tee.name.replace("/", "%2F")):
            got = self.fetch(name)
            self.assertEqual(got.status, 200)
            self.assertEqual(len(got.json()["evidence"]), tee.load.active)
        plain = next(each for each in population.chat if not each.tee and not each.external)
        external = next(each for each in population.chat if each.external)
        for chute, status, said in (
            (plain.name, 400, f"Chute {plain.chute_id} is not TEE-enabled"),
            (population.others[0].chute_id, 400, "is not TEE-enabled"),
            (external.chute_id, 400, "unavailable for this execution backend"),
            (population.private[0].chute_id, 404, "does not belong to you"),
            ("nobody/nothing", 404, "Chute not found"),
            ("%5Bprivate%20chute%5D", 404, "Chute not found"),
        ):
            answer = self.fetch(chute)
            self.assertEqual(answer.status, status, chute)
            self.assertIn(said, answer.json()["detail"])

    def test_limit(self) -> None:
        """All requests share one limit per minute."""
        uuid = self.chute("empty").chute_id
        statuses = [self.fetch(uuid).status for _ in range(PER_MINUTE)]
        self.assertEqual(set(statuses), {200})
        error_response = self.fetch("nobody/nothing", "")
        self.assertEqual(error_response.status, 429)
        self.assertEqual(error_response.json(), {"detail": "Rate limit exceeded. Try again later."})
        self.exchange.clock.advance(60)
        self.assertEqual(self.fetch(uuid).status, 200)

    def test_other_methods(self) -> None:
        """Evidence is only readable: other methods are rejected."""
        self.exchange.send("POST", f"/chutes/{self.chute('ok').chute_id}/evidence?nonce={NONCE}")
        self.exchange.run()
        answer = self.exchange.answer()
        assert answer is not None
        self.assertEqual(answer.status, 404)

    def test_changes(self) -> None:
        """A model's scenario can be changed at run time, also over HTTP, and reset."""
        model = self.chute("ok").name
        command = {"model": model, "scenario": "502"}
        self.assertEqual(self.exchange.fetch("POST", "/stub/evidence", command).status, 200)
        self.assertEqual(self.fetch(self.chute("ok").chute_id).status, 502)
        bad = self.exchange.fetch("POST", "/stub/evidence", {"model": model, "scenario": "x"})
        self.assertEqual(bad.status, 400)
        self.exchange.stub.reset()
        self.assertEqual(self.fetch(self.chute("ok").chute_id).status, 200)


class ShapeTests(EvidenceTestCase):
    """The content of evidence."""

    def test_envelope(self) -> None:
        """Each instance is either in the evidence or in the failed ids."""
        for scenario, answered, failed in (("ok", 3, 0), ("partial", 2, 1), ("all-failed", 0, 3)):
            got = self.evidence(scenario)
            self.assertEqual(set(got), {"evidence", "failed_instance_ids"})
            ids = [each["instance_id"] for each in got["evidence"]]
            self.assertEqual((len(ids), len(got["failed_instance_ids"])), (answered, failed))
            self.assertEqual(len({*ids, *got["failed_instance_ids"]}), 3)

    def test_instance(self) -> None:
        """An instance has all members, a TLS certificate, and GPU evidence with the nonce."""
        for each in self.evidence("ok")["evidence"]:
            self.assertEqual(
                set(each),
                {
                    "instance_id",
                    "quote",
                    "gpu_evidence",
                    "certificate",
                    "signature",
                    "attested_body",
                },
            )
            self.assertEqual(len(each["gpu_evidence"]), GPUS)
            for gpu in each["gpu_evidence"]:
                self.assertEqual(gpu["arch"], "HOPPER")
                load_pem_x509_certificate(b64decode(gpu["certificate"]))
                self.assertIn(nonce_hash(each, NONCE), b64decode(gpu["evidence"]))

    def test_quote(self) -> None:
        """The quote has a TDX header, and its report data binds nonce, key and certificate."""
        for each in self.evidence("ok")["evidence"]:
            quote = b64decode(each["quote"], validate=True)
            self.assertEqual(len(quote), QUOTE_BYTES)
            self.assertEqual(struct.unpack_from("<HHI", quote), (4, 2, 0x81))
            self.assertEqual(quote[168] & 1, 0)
            self.assertEqual(quote[568:600], nonce_hash(each, NONCE))
            certificate = load_der_x509_certificate(b64decode(each["certificate"]))
            key = certificate.public_key()
            spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            self.assertEqual(quote[600:632], hashlib.sha256(spki).digest())

    def test_nonce_matters(self) -> None:
        """Equal requests have equal responses; another nonce changes them."""
        self.assertEqual(self.evidence("ok"), self.evidence("ok"))
        first, second = self.evidence("ok"), self.evidence("ok", OTHER)
        for one, two in zip(first["evidence"], second["evidence"], strict=True):
            self.assertEqual(one["certificate"], two["certificate"])
            self.assertNotEqual(one["quote"], two["quote"])
        stuck = [self.evidence("other-nonce", nonce)["evidence"] for nonce in (NONCE, OTHER)]
        self.assertEqual(stuck[0][0]["quote"], stuck[1][0]["quote"])
        self.assertNotEqual(stuck[0][1]["quote"], stuck[1][1]["quote"])

    def test_no_secret(self) -> None:
        """The evidence contains nothing that looks like an API key."""
        text = json.dumps(self.evidence("ok"))
        for gpu in self.evidence("ok")["evidence"][0]["gpu_evidence"]:
            text += b64decode(gpu["certificate"]).decode()
        self.assertNotIn("PRIVATE", text)


def nonce_hash(instance: Any, nonce: str) -> bytes:
    """Return the first half of the report data for this nonce."""
    return hashlib.sha256((nonce + e2e_pubkey(instance["instance_id"])).encode()).digest()
