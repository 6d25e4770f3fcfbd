"""What the evidence of eight GPUs costs: signatures in a turn of the reactor, and altogether."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation import gpu_report
from autopilot.attestation.instances import DiscoveredInstance
from autopilot.attestation.quote_verification import platform_of
from autopilot.attestation.verdict import Verified
from autopilot.attestation.verdicts import Sources, Verdicts
from autopilot.attestation.verification import Policy, Question, read_evidence, verification
from tests.unit.attestation import world
from tests.unit.attestation.issued import Issued, fingerprint

GPUS = 8
INSTANCE = DiscoveredInstance("id", world.key())


class Machine:
    """A virtual machine with eight GPUs, whose chains have five certificates as real ones do."""

    def __init__(self) -> None:
        self.root = Issued("root")
        self.authorities = [self.root]
        for name in ("upper", "middle", "lower"):
            self.authorities.insert(0, Issued(name, self.authorities[0]))
        kit = world.gpu_kit()
        self.report = bytearray.fromhex(kit["report_without_signature_hex"])
        information = gpu_report.read_report(world.sign_report(kit, bytes(self.report))).firmware_id
        self.gpus = [
            Issued(f"gpu {number}", self.authorities[0], ca=None, information=information)
            for number in range(GPUS)
        ]

    @property
    def policy(self) -> Policy:
        """The policy that accepts it."""
        row = replace(world.rows()[0], gpu_count=GPUS)
        nvidia = fingerprint(self.root)
        return world.policy(rows=(row,), nvidia_root=nvidia, envelope_required=True)

    def answer(self, nonce: str) -> bytes:
        """Return genuine evidence for a nonce."""
        made = world.make(nonce)
        self.report[4:36] = sha256((nonce + world.key()).encode()).digest()
        listed = [self._gpu(each) for each in self.gpus]
        body = world.attested_body(nonce, made["quote"], listed)
        signature = b64encode(world.sign(b64decode(body))).decode()
        made |= {"gpu_evidence": listed, "attested_body": body, "signature": signature}
        return json.dumps(made).encode()

    def _gpu(self, gpu: Issued) -> dict[str, str]:
        chain = b"".join(each.pem for each in (gpu, *self.authorities))
        report = world.signed_report(gpu.key, bytes(self.report))
        return {
            "certificate": b64encode(chain).decode(),
            "evidence": b64encode(report).decode(),
            "arch": "HOPPER",
        }


class GpuTests(SynchronousTestCase):
    """The signatures of eight GPUs."""

    def setUp(self) -> None:
        """Make the machine, and count what is verified: links of chains, and reports."""
        self.machine = Machine()
        self.links: list[object] = []
        self.reports: list[object] = []
        self._count("_verify_link", self.links)
        self._count("verify_report", self.reports)

    def _count(self, name: str, calls: list[object]) -> None:
        original = getattr(gpu_report, name)

        def counting(*given: object) -> None:
            calls.append(given[0])
            original(*given)

        self.patch(gpu_report, name, counting)

    def counts(self) -> tuple[int, int]:
        """Return the numbers of links and reports that were verified so far."""
        return len(self.links), len(self.reports)

    def test_steps(self) -> None:
        """A step verifies one GPU; the links that all share are verified with the first one."""
        nonce = "5a" * 32
        evidence = read_evidence(self.machine.answer(nonce))
        question = Question(nonce, world.key())
        policy, collateral = self.machine.policy, world.collateral()
        steps = verification(evidence, question, collateral, policy, world.NOW)
        seen = [self.counts() for _ in steps] + [self.counts()]
        # Five certificates of the first GPU, the last being its own issuer; one of each other.
        self.assertEqual(seen, [(0, 0)] + [(4 + done, done) for done in range(1, GPUS + 1)])

    def test_turns(self) -> None:
        """A turn of the reactor verifies one GPU, and the first one the quote alone."""
        clock = Clock()
        asked: list[tuple[str, Deferred[bytes]]] = []

        def fetch(_instance: DiscoveredInstance, nonce: str, _bearer: str) -> Deferred[bytes]:
            asked.append((nonce, Deferred()))
            return asked[-1][1]

        sources = Sources(
            evidence=fetch,
            platform=lambda body: platform_of(b64decode(read_evidence(body).quote)),
            collateral=lambda _platform: succeed(world.collateral()),
            measurements=lambda: self.machine.policy.rows,
            steps=lambda body, nonce, key, collateral, _rows, now: verification(
                read_evidence(body), Question(nonce, key), collateral, self.machine.policy, now
            ),
            wall=lambda: float(world.NOW),
        )
        verdicts = Verdicts(clock, sources)
        waiting = verdicts.judge("chute", INSTANCE, "Bearer a")
        ((nonce, answered),) = asked
        answered.callback(self.machine.answer(nonce))
        seen = []
        while clock.getDelayedCalls():
            (turn,), clock.calls = clock.calls, []
            turn.func(*turn.args, **turn.kw)
            seen.append(self.counts())
        self.assertEqual(seen, [(0, 0)] + [(4 + done, done) for done in range(1, GPUS + 1)])
        self.assertIsInstance(self.successResultOf(waiting).found, Verified)
