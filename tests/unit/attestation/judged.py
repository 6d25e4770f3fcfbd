"""Attested instances over fakes: the test answers discoveries and questions for evidence."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from autopilot.attestation.attested_instances import AttestedInstances
from autopilot.attestation.collateral import Platform
from autopilot.attestation.instances import DiscoveredInstance, Discovery
from autopilot.attestation.nonce_pool import NoncePool
from autopilot.attestation.private_instances import Attested
from autopilot.attestation.private_report import ChuteReport, PrivateReport
from autopilot.attestation.sealing import InstanceKey, UnsealableError
from autopilot.attestation.verdict import Refusal, RefusedError, Verified
from autopilot.attestation.verdicts import NoEvidence, NoEvidenceError, Sources, Verdicts
from tests.unit.attestation.fake_instances import FOUND
from tests.unit.attestation.sealed import instance_key

BEARER = "Bearer canary"
CHUTE, CLIENT = "chute", b"client"
NO_KEY = "no key"


def parse(text: str) -> InstanceKey:
    """Return a key whose text is any but one."""
    if text == NO_KEY:
        raise UnsealableError("no key")
    key = object.__new__(InstanceKey)
    key.text, key.public = text, instance_key().public
    return key


def listed(*names: str, nonces: int = 10, run: int = 0, seconds: float = 55) -> Discovery:
    """Return a discovery of instances, whose ids are their names; ``run`` makes nonces others."""
    return Discovery(
        tuple(
            DiscoveredInstance(
                name, f"key of {name}", tuple(f"{run}-{name}-{each}" for each in range(nonces))
            )
            for name in names
        ),
        seconds,
    )


@dataclass
class FakeBasis:
    """Measurements that are there, unless the test says otherwise."""

    there: Deferred[bool] | bool = True
    unknowns: int = 0
    running: bool = False
    chutes: dict[str, ChuteReport] = field(default_factory=dict)

    def ready(self) -> Deferred[bool]:
        """See `Basis`."""
        return succeed(self.there) if isinstance(self.there, bool) else self.there

    def unknown(self) -> None:
        """See `Basis`."""
        self.unknowns += 1

    def report(self, chutes: dict[str, ChuteReport]) -> PrivateReport:
        """See `Basis`."""
        self.chutes = chutes
        return PrivateReport(chutes=chutes, attestable=True)

    def start(self) -> None:
        """See `Basis`."""
        self.running = True

    def stop(self) -> None:
        """See `Basis`."""
        self.running = False


class Bench:
    """The service, and the questions that it asks; ``verified`` is found of what is genuine."""

    def __init__(self, ttl: float = 900.0) -> None:
        self.clock = Clock()
        self.discoveries: list[Deferred[Discovery]] = []
        self.cancelled: list[str] = []
        self.keys: list[str] = []
        self.questions: list[tuple[str, Deferred[bytes]]] = []
        self.basis = FakeBasis()
        self.verified = FOUND
        sources = Sources(
            evidence=self._evidence,
            platform=lambda _body: Platform("F", "platform"),
            collateral=lambda _platform: succeed(None),
            measurements=tuple,
            steps=self._steps,
            wall=self.clock.seconds,
        )
        self.pool = NoncePool(self.clock, self._discover)
        self.verdicts = Verdicts(self.clock, sources, ttl)
        self.service = AttestedInstances(self.clock, self.pool, self.verdicts, self.basis, parse)

    def _discover(self, chute: str, authorization: str) -> Deferred[Discovery]:
        self.keys.append(authorization)
        self.discoveries.append(Deferred(lambda _: self.cancelled.append(chute)))
        return self.discoveries[-1]

    def _evidence(
        self, instance: DiscoveredInstance, nonce: str, authorization: str
    ) -> Deferred[bytes]:
        self.keys.append(authorization)
        self.questions.append((instance.instance_id, Deferred()))
        return self.questions[-1][1]

    def _steps(self, body: bytes, *_given: object) -> Generator[None, None, Verified]:
        if body != b"genuine":
            raise RefusedError(Refusal(body.decode()))
        yield
        return self.verified

    def acquire(
        self, *avoid: str, prefer: str | None = None, client: bytes = CLIENT, chute: str = CHUTE
    ) -> Deferred[Attested]:
        """Ask for an instance."""
        return self.service.acquire(chute, client, BEARER, avoid, prefer)

    def discover(self, *names: str, nonces: int = 10) -> None:
        """Answer the last discovery."""
        found = listed(*names, nonces=nonces, run=len(self.discoveries))
        self.discoveries[-1].callback(found)

    @property
    def open(self) -> list[str]:
        """The instances whose questions are not answered."""
        return [name for name, answer in self.questions if not answer.called]

    def answer(self, name: str, said: NoEvidence | Refusal | None = None) -> None:
        """Answer the open question for an instance: its key is verified, unless one says why not.

        Turns pass until the verdict.
        """
        answer = next(each for asked, each in self.questions if asked == name and not each.called)
        if isinstance(said, NoEvidence):
            answer.errback(NoEvidenceError(said))
        else:
            answer.callback(b"genuine" if said is None else said.encode())
        for _ in range(8):
            self.clock.advance(0)

    def known(self, *names: str, nonces: int = 10) -> None:
        """Discover instances and verify all, for a request that takes a nonce of the first."""
        waiting = self.acquire()
        self.discover(*names, nonces=nonces)
        for name in names:
            self.answer(name)
        assert waiting.called
