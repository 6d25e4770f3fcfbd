"""A `PrivateInstances` that answers when the test says so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from autopilot.attestation.private_instances import Attested, ChuteStanding, UnavailableError
from autopilot.attestation.private_report import PrivateReport
from autopilot.attestation.sealing import InstanceKey
from autopilot.attestation.verdict import GpuChecks, Verified
from autopilot.measurement import Measurement

ROW = Measurement("1.4.1", "8xh200", b"\1" * 48, (b"\2" * 48,) * 4, 8)
FOUND = Verified("UpToDate", (), ROW, 8, GpuChecks.SIGNED, True, 2_000_000_000)


def attested(
    key: InstanceKey, instance_id: str, nonce: str = "n" * 32, since: float = 0.0
) -> Attested:
    """Return an attested instance."""
    return Attested(instance_id, key, nonce, FOUND, since)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of `acquire`, and its answer, which is to be fired."""

    chute: str
    client: bytes
    authorization: str
    avoid: frozenset[str]
    prefer: str | None
    answer: Deferred[Attested]


class FakeInstances:
    """Keeps the questions in ``asked``, cancelled ones too, and the notices in ``told``.

    ``ready`` are answers that the next questions get at once.
    """

    def __init__(self, *ready: Attested | UnavailableError) -> None:
        self.ready = list(ready)
        self.asked: list[Asked] = []
        self.told: list[tuple[str, str]] = []
        self.known = ChuteStanding()
        self.shown = PrivateReport(attestable=True)
        self.running = False

    def acquire(
        self,
        chute: str,
        client: bytes,
        authorization: str,
        avoid: Collection[str],
        prefer: str | None,
    ) -> Deferred[Attested]:
        """See `PrivateInstances`."""
        answer: Deferred[Attested] = Deferred()
        self.asked.append(Asked(chute, client, authorization, frozenset(avoid), prefer, answer))
        if self.ready:
            result = self.ready.pop(0)
            if isinstance(result, UnavailableError):
                answer.errback(result)
            else:
                answer.callback(result)
        return answer

    def standing(self, client: bytes) -> ChuteStanding:
        """See `PrivateInstances`."""
        return self.known

    def nonce_refused(self, chute: str, client: bytes, attested: Attested) -> None:
        """See `PrivateInstances`."""
        self.told.append(("nonce_refused", attested.instance_id))

    def key_changed(self, chute: str, attested: Attested) -> None:
        """See `PrivateInstances`."""
        self.told.append(("key_changed", attested.instance_id))

    def vanished(self, chute: str, client: bytes, attested: Attested) -> None:
        """See `PrivateInstances`."""
        self.told.append(("vanished", attested.instance_id))

    def report(self) -> PrivateReport:
        """See `PrivateInstances`."""
        return self.shown

    def start(self) -> None:
        """See `PrivateInstances`."""
        self.running = True

    def stop(self) -> None:
        """See `PrivateInstances`."""
        self.running = False
