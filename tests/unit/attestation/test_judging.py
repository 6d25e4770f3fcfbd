"""Tests of judging under the router's policy: every reason of refusal, and the quotes to note."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation import judging
from autopilot.attestation.collateral import Platform
from autopilot.attestation.judging import Judge, check_library, parse_key, policy_of
from autopilot.attestation.private_config import PrivateConfig
from autopilot.attestation.quote import Quote
from autopilot.attestation.quote_verification import MAX_QUOTE_BYTES
from autopilot.attestation.sealing import UnsealableError
from autopilot.attestation.verdict import GpuChecks, Refusal, RefusedError, Verified
from autopilot.attestation.verification import Policy
from autopilot.settings import Settings
from autopilot.wiring.mapping import private
from tests.unit.attestation import world

NONCE = "5a" * 32


class KeyTests(SynchronousTestCase):
    """The keys that discovery lists."""

    def test_key(self) -> None:
        """A key is kept as it was written."""
        self.assertEqual(parse_key(world.key()).text, world.key())

    def test_no_key(self) -> None:
        """A text to which nothing can be sealed is refused."""
        for text in ("", "no key", world.key()[:-4], world.key() + "AAAA"):
            self.assertRaises(UnsealableError, parse_key, text)


class LibraryTests(SynchronousTestCase):
    """The package that seals."""

    def test_seals(self) -> None:
        """The one that is installed for tests passes."""
        check_library()

    def test_cannot_seal(self) -> None:
        """One that has the names, and a backend without the algorithm, fails as it does."""

        class Without:
            @staticmethod
            def generate() -> None:
                raise UnsupportedAlgorithm("ML-KEM is not supported by this backend")

        self.patch(judging, "MLKEM768PrivateKey", Without)
        self.assertRaises(UnsupportedAlgorithm, check_library)


class PolicyTests(SynchronousTestCase):
    """The policy of a configuration."""

    def config(self, **more: Any) -> PrivateConfig:
        """Return a configuration that differs from the defaults."""
        return replace(private(Settings()), **more)

    def test_defaults(self) -> None:
        """By default an up-to-date TCB, signed GPUs, an envelope and the vendors' roots count."""
        self.assertEqual(policy_of(self.config()), Policy(rows=()))

    def test_configured(self) -> None:
        """What the configuration says is the policy; rows come with each question."""
        tcb = frozenset({"UpToDate", "SWHardeningNeeded"})
        config = self.config(
            tcb=tcb, gpu_checks=GpuChecks.OFF, envelope_required=False, pinned=world.rows()
        )
        self.assertEqual(policy_of(config), Policy((), tcb, GpuChecks.OFF, False))

    def test_test_roots(self) -> None:
        """Other roots replace both of the vendors'."""
        policy = policy_of(self.config(test_roots=world.roots_pem()))
        self.assertEqual((policy.intel_root, policy.nvidia_root), world.roots())

    def test_bad_roots(self) -> None:
        """Anything but two certificates is no pair of roots."""
        pem = world.roots_pem()
        for roots in (b"", b"no PEM", pem + pem):
            self.assertRaises(ValueError, policy_of, self.config(test_roots=roots))


class JudgeTestCase(SynchronousTestCase):
    """A judge in the synthetic world, and the quotes that it notes."""

    def setUp(self) -> None:
        """Note nothing yet."""
        self.noted: list[Quote] = []

    def verdict(
        self,
        body: bytes,
        key: str = world.key(),
        rows: tuple[Any, ...] = world.rows(),
        **policy: Any,
    ) -> Verified | Refusal:
        """Return the verdict on an answer to a question with `NONCE`."""
        judge = Judge(world.policy(rows=(), **policy), self.noted.append)
        return self.ran(judge, body, NONCE, key, world.collateral(), rows, world.NOW)

    def ran(self, judge: Judge, *question: Any) -> Verified | Refusal:
        """Return the result of all steps."""
        steps = judge.steps(*question)
        try:
            while True:
                next(steps)
        except StopIteration as stop:
            verified: Verified = stop.value
            return verified
        except RefusedError as error:
            return error.refusal


class VerdictTests(JudgeTestCase):
    """Evidence as the platform answers it."""

    def test_every_reason(self) -> None:
        """Each case has its verdict, with its reason; a quote without a row is noted."""
        seen, unknown = set(), 0
        for case in world.world()["cases"]:
            policy = world.policy_of(case)
            verdict = self.ran(
                Judge(replace(policy, rows=()), self.noted.append),
                json.dumps(world.answer(case)).encode(),
                case["caller_nonce"],
                world.key(case["e2e_pubkey_of"]),
                world.collateral(case["collateral"]),
                policy.rows,
                case["now"],
            )
            found = "ok" if isinstance(verdict, Verified) else verdict
            self.assertEqual(found, case["verdict"], case["name"])
            seen.add(found)
            unknown += found == Refusal.MEASUREMENT_UNKNOWN
        self.assertEqual(seen, {"ok", *Refusal})
        self.assertEqual(len(self.noted), unknown)

    def test_unreadable(self) -> None:
        """A body of another shape counts as a quote that cannot be read."""
        for body in (b"", b"{}", b"[]", b"\xff", b'{"quote":"!","certificate":""}'):
            self.assertIs(self.verdict(body), Refusal.QUOTE_MALFORMED, body)

    def test_question(self) -> None:
        """Nonce and key are those that were asked about."""
        body = _body()
        verified = self.verdict(body)
        assert isinstance(verified, Verified)
        self.assertEqual((verified.measurement, verified.gpus), (world.rows()[0], 2))
        self.assertIs(self.verdict(body, key=world.key("B")), Refusal.BINDING_KEY)

    def test_policy(self) -> None:
        """The policy is the one of the configuration."""
        bare = _body(signature=None, attested_body=None)
        self.assertIsInstance(self.verdict(bare), Verified)
        self.assertIs(self.verdict(bare, envelope_required=True), Refusal.ENVELOPE_MISSING)

    def test_rows(self) -> None:
        """A quote is compared with the rows of its question."""
        body, (first, *others) = _body(), world.rows()
        self.assertIs(self.verdict(body, rows=tuple(others)), Refusal.MEASUREMENT_UNKNOWN)
        self.assertIsInstance(self.verdict(body, rows=(first,)), Verified)

    def test_noted(self) -> None:
        """Only registers of a quote that passed all checks before them are worth a row."""
        self.verdict(_body())
        forged = world.make("5b" * 32, fields={"mrtd": b"\1" * 48})
        self.assertIs(self.verdict(json.dumps(forged).encode()), Refusal.BINDING_KEY)
        self.assertEqual(self.noted, [])
        genuine = world.make(NONCE, fields={"mrtd": b"\1" * 48})
        self.assertIs(self.verdict(json.dumps(genuine).encode()), Refusal.MEASUREMENT_UNKNOWN)
        self.assertEqual([each.mrtd for each in self.noted], [b"\1" * 48])

    def test_step_by_step(self) -> None:
        """A step for each GPU lets the reactor run between them."""
        judge = Judge(world.policy(), self.noted.append)
        steps = judge.steps(
            _body(), NONCE, world.key(), world.collateral(), world.rows(), world.NOW
        )
        self.assertEqual(len(list(steps)), 2)


class PlatformTests(JudgeTestCase):
    """Which of Intel's data an answer needs."""

    def test_platform(self) -> None:
        """The quote names it."""
        found = Judge(world.policy(), self.noted.append).platform(_body())
        self.assertEqual(found, Platform("B0C06F000000", "platform"))

    def test_unreadable(self) -> None:
        """An answer whose quote cannot be read, or is too long, needs none."""
        judge = Judge(world.policy(), self.noted.append)
        for body in (b"", b"{}", _body(quote="!"), _body(quote="A" * (2 * MAX_QUOTE_BYTES))):
            with self.assertRaises(RefusedError) as caught:
                judge.platform(body)
            self.assertIs(caught.exception.refusal, Refusal.QUOTE_MALFORMED)


def _body(**members: object) -> bytes:
    """Return the platform's genuine answer, with other members."""
    return json.dumps({**world.make(NONCE), **members}).encode()
