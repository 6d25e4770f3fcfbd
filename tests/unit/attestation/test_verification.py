"""Tests of the verification with 52 cases of a synthetic world, and of what the cases leave out."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, CertificateBuilder, Name, load_der_x509_certificate
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation import gpu_report
from autopilot.attestation.verdict import GpuChecks, Refusal, RefusedError, Verified
from autopilot.attestation.verification import (
    Evidence,
    Question,
    read_evidence,
    roots_of,
    verification,
    verify,
)
from tests.unit.attestation import world

NONCE = "5a" * 32
QUESTION = Question(NONCE, world.key())


class CaseTests(SynchronousTestCase):
    """Every case of the vectors gets its verdict, with its reason."""

    def test_cases(self) -> None:
        """The first check that fails is the reason, and what is found is complete."""
        for case in world.world()["cases"]:
            verdict = verify(
                world.evidence_of(world.answer(case)),
                world.question_of(case),
                world.collateral(case["collateral"]),
                world.policy_of(case),
                case["now"],
            )
            if case["verdict"] != "ok":
                self.assertEqual(verdict, Refusal(case["verdict"]), case["name"])
                continue
            assert isinstance(verdict, Verified), (case["name"], verdict)
            found = {
                "tcb": verdict.tcb,
                "measurement": verdict.measurement.label,
                "gpus": verdict.gpus,
                "envelope": "verified" if verdict.envelope else "absent",
            }
            self.assertEqual(found, case["detail"], case["name"])
        self.assertEqual(len(world.world()["cases"]), 52)

    def test_every_reason(self) -> None:
        """Each reason has a case."""
        seen = {case["verdict"] for case in world.world()["cases"]}
        self.assertEqual(seen, {"ok", *Refusal})


class VerificationTestCase(SynchronousTestCase):
    """Evidence that is genuine but for one change."""

    def setUp(self) -> None:
        """Make the evidence, whose signatures are random."""
        self.answer = world.make(NONCE)

    def verdict(
        self, answer: dict[str, Any], now: int = world.NOW, **options: Any
    ) -> Verified | Refusal:
        """Return the verdict on an answer to `QUESTION`."""
        given = {"envelope_required": True} | options
        evidence = world.evidence_of(answer)
        return verify(evidence, QUESTION, world.collateral(), world.policy(**given), now)

    def changed(self, **members: Any) -> dict[str, Any]:
        """Return genuine evidence with other members."""
        return {**self.answer, **members}

    def signed(self, body: object) -> dict[str, Any]:
        """Return genuine evidence with another body, which the VM signs."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        signature = world.sign(text)
        encoded = (base64.b64encode(each).decode() for each in (text, signature))
        return self.changed(**dict(zip(("attested_body", "signature"), encoded, strict=True)))


class QuestionTests(VerificationTestCase):
    """The evidence answers exactly one question."""

    def test_kit(self) -> None:
        """Evidence that is made for a question is verified."""
        verdict = self.verdict(world.make(NONCE))
        assert isinstance(verdict, Verified)
        self.assertTrue(verdict.envelope)
        self.assertIs(verdict.gpu_checks, GpuChecks.SIGNED)

    def test_other_questions(self) -> None:
        """Another nonce, key, or spelling of either is another question."""
        evidence = world.evidence_of(world.make(NONCE))
        for question in (
            Question("5b" + NONCE[2:], world.key()),
            Question(NONCE.upper(), world.key()),
            Question(NONCE, world.key("B")),
            Question(NONCE, world.key() + "="),
            Question(NONCE + world.key()[:1], world.key()),
        ):
            verdict = verify(evidence, question, world.collateral(), world.policy(), world.NOW)
            self.assertIs(verdict, Refusal.BINDING_KEY)

    def test_representations(self) -> None:
        """No representation shows evidence, nonce or key."""
        self.assertEqual(repr(QUESTION), "Question()")
        self.assertEqual(repr(world.evidence_of(world.make(NONCE))), "Evidence()")


class StepTests(VerificationTestCase):
    """The steps one by one, so that the reactor can run between them."""

    def test_steps(self) -> None:
        """There is a step for each GPU, and nothing of a GPU is checked before its step."""
        evidence = world.evidence_of(world.make(NONCE))
        steps = verification(evidence, QUESTION, world.collateral(), world.policy(), world.NOW)
        self.assertEqual(len(list(steps)), 2)
        answer = world.make(NONCE)
        answer["gpu_evidence"][1] = {**answer["gpu_evidence"][1], "evidence": "eA=="}
        answer["signature"] = answer["attested_body"] = None
        steps = verification(
            world.evidence_of(answer), QUESTION, world.collateral(), world.policy(), world.NOW
        )
        next(steps)
        next(steps)
        with self.assertRaises(RefusedError) as caught:
            next(steps)
        self.assertIs(caught.exception.refusal, Refusal.GPU_MALFORMED)

    def test_order(self) -> None:
        """An earlier check decides, whatever else is wrong."""
        fields = {"td_attributes": bytes.fromhex("0000001000000080")}
        answer = world.make("5b" * 32, fields=fields)
        self.assertIs(self.verdict(answer), Refusal.TD_ATTRIBUTES)
        unknown = world.make(NONCE, fields={"mrtd": bytes(48)})
        self.assertIs(self.verdict({**unknown, "certificate": ""}), Refusal.BINDING_CERTIFICATE)
        self.assertIs(self.verdict({**unknown, "signature": ""}), Refusal.MEASUREMENT_UNKNOWN)


class QuoteTests(VerificationTestCase):
    """The quote and its platform."""

    def test_attributes(self) -> None:
        """Only one value of the attributes is accepted, though the library accepts more."""
        for value, refusal in (
            ("0100001000000000", Refusal.DEBUG),
            ("0000005000000000", Refusal.TD_ATTRIBUTES),
            ("0000001000000080", Refusal.TD_ATTRIBUTES),
            ("0000000000000000", Refusal.TD_ATTRIBUTES),
            ("0000001000000001", Refusal.TD_ATTRIBUTES),
        ):
            answer = world.make(NONCE, fields={"td_attributes": bytes.fromhex(value)})
            self.assertIs(self.verdict(answer), refusal, value)

    def test_registers(self) -> None:
        """A row is one whole: a quote that differs in any of its registers has none."""
        for field in ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"):
            answer = world.make(NONCE, fields={field: b"\x01" * 48})
            self.assertIs(self.verdict(answer), Refusal.MEASUREMENT_UNKNOWN, field)

    def test_no_collateral(self) -> None:
        """Without collateral, or with collateral that cannot be read, nothing is verified."""
        evidence = world.evidence_of(world.make(NONCE))
        for given in (None, "", "{}", "[]", world.collateral()[:-1]):
            verdict = verify(evidence, QUESTION, given, world.policy(), world.NOW)
            self.assertIs(verdict, Refusal.COLLATERAL)

    def test_times(self) -> None:
        """A time that no collateral has is refused."""
        for now in (0, -1, 2**63):
            self.assertIs(self.verdict(world.make(NONCE), now), Refusal.COLLATERAL)

    def test_real_roots(self) -> None:
        """The synthetic world does not chain to the real roots."""
        answer = world.make(NONCE)
        self.assertIs(self.verdict(answer, intel_root=None), Refusal.COLLATERAL)
        real = world.policy().__class__(rows=()).nvidia_root
        self.assertIs(self.verdict(answer, nvidia_root=real), Refusal.GPU_CHAIN)

    def test_accepted_statuses(self) -> None:
        """A status counts only if it is accepted; not even the best one does by itself."""
        answer = world.make(NONCE)
        self.assertIs(self.verdict(answer, tcb=frozenset({"OutOfDate"})), Refusal.TCB_STATUS)
        self.assertIs(self.verdict(answer, tcb=frozenset()), Refusal.TCB_STATUS)
        self.assertIs(self.verdict(answer, tcb=frozenset({"Nonsense"})), Refusal.COLLATERAL)

    def test_sizes(self) -> None:
        """A quote of more than 16 KiB is not parsed."""
        quote = base64.b64decode(world.make(NONCE)["quote"])
        for size, refusal in (
            (16_384, Refusal.ENVELOPE_SIGNATURE),
            (16_385, Refusal.QUOTE_MALFORMED),
        ):
            padded = base64.b64encode(quote.ljust(size, b"\0")).decode()
            answer = self.changed(quote=padded, attested_body="")
            self.assertIs(self.verdict(answer), refusal)
        self.assertIs(self.verdict(self.changed(quote="é" * 400)), Refusal.QUOTE_MALFORMED)
        self.assertIs(self.verdict(self.changed(quote="A" * 10**6)), Refusal.QUOTE_MALFORMED)

    def test_expiry(self) -> None:
        """A verdict lasts no longer than the collateral and the certificate."""
        verdict = self.verdict(world.make(NONCE))
        assert isinstance(verdict, Verified)
        self.assertEqual((verdict.expires, verdict.advisories), (1782864000, ()))
        evidence = world.evidence_of(world.make(NONCE))
        verdict = verify(
            evidence, QUESTION, world.collateral("long_until_2036"), world.policy(), world.NOW
        )
        assert isinstance(verdict, Verified)
        self.assertEqual(verdict.expires, 2095632000)

    def test_equal_rows(self) -> None:
        """Of rows with the same registers, the one with the number of GPUs counts."""
        row = world.rows()[0]
        other = replace(row, name="4x", gpu_count=4)
        verdict = self.verdict(world.make(NONCE), rows=(other, row))
        assert isinstance(verdict, Verified)
        self.assertEqual(verdict.measurement, row)


class CertificateTests(VerificationTestCase):
    """The certificate of the virtual machine's attestation service."""

    START = datetime.fromtimestamp(world.NOW, UTC)
    END = START + timedelta(seconds=1000)

    def certificate(self, key: RSAPrivateKey | EllipticCurvePrivateKey) -> bytes:
        """Return a self-signed certificate that lasts a thousand seconds."""
        name = Name([])
        builder = CertificateBuilder().subject_name(name).issuer_name(name)
        builder = builder.public_key(key.public_key()).serial_number(1)
        builder = builder.not_valid_before(self.START).not_valid_after(self.END)
        return builder.sign(key, SHA256()).public_bytes(Encoding.DER)

    def test_dates(self) -> None:
        """It is valid from its first to its last second, and a verdict ends with it."""
        answer = world.make(NONCE, certificate=self.certificate(world.vm_key()))
        for now in (world.NOW, world.NOW + 1000):
            verdict = self.verdict(answer, now)
            assert isinstance(verdict, Verified)
            self.assertEqual(verdict.expires, world.NOW + 1001)
        for now in (world.NOW - 1, world.NOW + 1001):
            self.assertIs(self.verdict(answer, now), Refusal.BINDING_CERTIFICATE)

    def test_keys(self) -> None:
        """Its key is an RSA key of 2048 bits or more."""
        small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - as short as must be refused
        for key in (small, ec.generate_private_key(ec.SECP521R1())):
            answer = world.make(NONCE, certificate=self.certificate(key))
            if isinstance(key, RSAPrivateKey):
                body = base64.b64decode(answer["attested_body"])
                signature = key.sign(body, PKCS1v15(), SHA256())
                answer["signature"] = base64.b64encode(signature).decode()
            self.assertIs(self.verdict(answer), Refusal.ENVELOPE_SIGNATURE)

    def test_texts(self) -> None:
        """A text that is no base64 of a certificate is refused."""
        for text in ("!", "AAAA", "", base64.b64encode(bytes(65_537)).decode()):
            answer = self.changed(certificate=text)
            self.assertIs(self.verdict(answer), Refusal.BINDING_CERTIFICATE)


class RootTests(SynchronousTestCase):
    """Other roots than the vendors'."""

    def test_roots(self) -> None:
        """Two certificates are the roots of quotes and of GPUs; any other number is none."""
        ders = world.world()["roots"]
        first, second = (base64.b64decode(ders[name]) for name in sorted(ders, reverse=True))
        pems = [
            load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in (first, second)
        ]
        self.assertEqual(roots_of(b"".join(pems)), world.roots())
        for pem in (b"", pems[0], b"".join(pems) + pems[0]):
            with self.assertRaises(ValueError):
                roots_of(pem)


class EnvelopeTests(VerificationTestCase):
    """The signature of the virtual machine over its own evidence."""

    def contents(self, **members: Any) -> dict[str, Any]:
        """Return a genuine body with other contents."""
        listed = json.dumps(self.answer["gpu_evidence"])
        evidence = {"tdx_quote": self.answer["quote"], "nvtrust_evidence": listed, **members}
        return {"nonce": NONCE, "evidence": evidence}

    def test_signed_again(self) -> None:
        """The VM may write the same contents in another way."""
        self.assertIsInstance(self.verdict(self.signed(self.contents(more=1))), Verified)

    def test_other_contents(self) -> None:
        """The signed body is about the same nonce, quote and GPUs, or it is refused."""
        answer = self.answer
        shorter = json.dumps(answer["gpu_evidence"][:1])
        bodies: tuple[object, ...] = (
            self.contents(nvtrust_evidence=shorter),
            self.contents(nvtrust_evidence="[]"),
            self.contents(nvtrust_evidence="{"),
            self.contents(nvtrust_evidence=answer["gpu_evidence"]),
            self.contents(tdx_quote=world.make("5b" * 32)["quote"]),
            self.contents(tdx_quote=answer["quote"] + "\n"),
            {**self.contents(), "nonce": "5b" * 32},
            {**self.contents(), "nonce": NONCE.upper()},
            {"evidence": self.contents()["evidence"]},
            [],
            b"",
            b"[" * 5000,
        )
        for body in bodies:
            self.assertIs(self.verdict(self.signed(body)), Refusal.ENVELOPE_MISMATCH)

    def test_signatures(self) -> None:
        """A missing, foreign or cut signature is refused, even if none is required."""
        answer = self.answer
        for members in (
            {"signature": None},
            {"attested_body": None},
            {"signature": ""},
            {"signature": answer["signature"][:-4]},
            {"signature": answer["signature"] + "\n"},
            {"signature": world.make("5b" * 32)["signature"]},
            {"signature": world.make(NONCE, "B", key_text=world.key())["signature"]},
            {"attested_body": "!"},
        ):
            for required in (True, False):
                verdict = self.verdict(self.changed(**members), envelope_required=required)
                self.assertIs(verdict, Refusal.ENVELOPE_SIGNATURE, members.keys())

    def test_large_bodies(self) -> None:
        """A body of more than a MiB is refused unread."""
        spaces = b" " * (1024 * 1024)
        body = json.dumps(self.contents()).encode()
        fits = self.signed((spaces + body)[-len(spaces) :])
        self.assertIsInstance(self.verdict(fits), Verified)
        self.assertIs(self.verdict(self.signed(spaces + body)), Refusal.ENVELOPE_SIGNATURE)

    def test_missing(self) -> None:
        """Older instances have none, which must be accepted explicitly."""
        answer = self.changed(signature=None, attested_body=None)
        self.assertIs(self.verdict(answer), Refusal.ENVELOPE_MISSING)
        verdict = self.verdict(answer, envelope_required=False)
        assert isinstance(verdict, Verified)
        self.assertFalse(verdict.envelope)


class GpuTests(VerificationTestCase):
    """The list of GPUs."""

    def unsigned(self, gpus: object) -> Verified | Refusal:
        """Return the verdict on another list, which no envelope signs."""
        answer = self.changed(gpu_evidence=gpus, signature=None, attested_body=None)
        return self.verdict(answer, envelope_required=False)

    def test_count(self) -> None:
        """The list has as many GPUs as the row, and no list has none."""
        gpus = world.make(NONCE)["gpu_evidence"]
        for listed in (None, [], gpus[:1], [*gpus, gpus[0]]):
            self.assertIs(self.unsigned(listed), Refusal.GPU_COUNT)

    def test_shapes(self) -> None:
        """An entry of another type, or with unreadable texts, is malformed."""
        gpu, other = world.make(NONCE)["gpu_evidence"]
        entries: tuple[object, ...] = (
            None,
            1,
            [],
            {},
            {"certificate": gpu["certificate"]},
            {**gpu, "certificate": None},
            {**gpu, "certificate": "!"},
            {**gpu, "certificate": ""},
            {**gpu, "certificate": "é" * 10},
            {**gpu, "evidence": "!"},
            {**gpu, "evidence": ""},
        )
        for entry in entries:
            self.assertIs(self.unsigned([entry, other]), Refusal.GPU_MALFORMED, entry)

    def test_other_architecture(self) -> None:
        """The name of the architecture is not used, and may be absent."""
        gpus = world.make(NONCE)["gpu_evidence"]
        gpus[0].pop("arch")
        self.assertIsInstance(self.unsigned(gpus), Verified)

    def test_most(self) -> None:
        """A machine has at most 16 GPUs, whatever its row says."""
        (gpu, _other), row = world.make(NONCE)["gpu_evidence"], world.rows()[0]
        answer = self.changed(signature=None, attested_body=None)
        for count, refusal in ((16, Refusal.GPU_DUPLICATE), (17, Refusal.GPU_COUNT)):
            rows = (replace(row, gpu_count=count),)
            answer["gpu_evidence"] = [gpu] * count
            verdict = self.verdict(answer, rows=rows, envelope_required=False)
            self.assertIs(verdict, refusal)

    def test_shared_links(self) -> None:
        """Links that the chains of two GPUs share are verified once."""
        links: list[object] = []
        whole = gpu_report._verify_link

        def counted(certificate: Certificate, issuer: Certificate) -> None:
            links.append((certificate, issuer))
            whole(certificate, issuer)

        self.patch(gpu_report, "_verify_link", counted)
        self.assertIsInstance(self.verdict(self.answer), Verified)
        self.assertEqual(len(links), len(set(links)))
        self.assertEqual(len(links), 4)

    def test_foreign_report(self) -> None:
        """A report of one GPU does not serve another."""
        first, second = world.make(NONCE)["gpu_evidence"]
        swapped = {**first, "evidence": second["evidence"]}
        self.assertIs(self.unsigned([swapped, second]), Refusal.GPU_SIGNATURE)

    def test_off(self) -> None:
        """With the GPUs' checks off, neither they nor the envelope are looked at."""
        answer = self.changed(signature="!")
        verdict = self.verdict(answer, gpu_checks=GpuChecks.OFF)
        assert isinstance(verdict, Verified)
        self.assertEqual((verdict.gpus, verdict.envelope), (0, False))
        self.assertIs(verdict.gpu_checks, GpuChecks.OFF)


class AnswerTests(SynchronousTestCase):
    """The platform's answer."""

    def test_members(self) -> None:
        """Members may be unknown, and the optional ones null."""
        read = read_evidence(b'{"quote":"q","certificate":"c","signature":null,"tee_type":"x"}')
        self.assertEqual(read, Evidence("q", "c"))

    def test_unreadable(self) -> None:
        """Anything else is no evidence."""
        for body in (b"", b"[]", b"{}", b'{"quote":1,"certificate":""}', b"\xff", b"[" * 5000):
            with self.assertRaises(RefusedError) as caught:
                read_evidence(body)
            self.assertIs(caught.exception.refusal, Refusal.QUOTE_MALFORMED)
