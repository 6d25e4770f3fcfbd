"""Tests of the reports on chutes: keys, verdicts and nonces of all clients, counted at a time."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.chute_reports import chute_reports
from autopilot.attestation.instances import DiscoveredInstance
from autopilot.attestation.nonce_pool import Place
from autopilot.attestation.private_report import ChuteReport
from autopilot.attestation.verdict import Refusal
from autopilot.attestation.verdicts import UNATTESTABLE_SECONDS, NoEvidence
from tests.unit.attestation.fake_instances import FOUND, ROW
from tests.unit.attestation.judged import BEARER, CHUTE, CLIENT, Bench


class ChuteReportsTests(SynchronousTestCase):
    """Pools and verdicts of which the test knows everything."""

    def setUp(self) -> None:
        """Begin with nothing."""
        self.bench = Bench()

    def discovered(
        self, *names: str, chute: str = CHUTE, client: bytes = CLIENT, nonces: int = 10
    ) -> None:
        """Fill a client's pool."""
        self.bench.pool.discover(Place(client, chute), BEARER)
        self.bench.discover(*names, nonces=nonces)

    def judged(
        self, name: str, said: NoEvidence | Refusal | None = None, chute: str = CHUTE
    ) -> None:
        """Have a verdict on the key of an instance: verified, unless one says why not."""
        instance = DiscoveredInstance(name, f"key of {name}")
        self.bench.verdicts.judge(chute, instance, BEARER)
        self.bench.answer(name, said)

    def reports(self) -> dict[str, ChuteReport]:
        """Return the reports of this moment."""
        bench = self.bench
        return chute_reports(bench.pool, bench.verdicts, bench.clock.seconds())

    def report(self) -> ChuteReport:
        """Return the report on the only chute."""
        (chute, report), *others = self.reports().items()
        self.assertEqual((chute, others), (CHUTE, []))
        return report

    def test_nothing(self) -> None:
        """There is no report on a chute of which nothing is known."""
        self.assertEqual(self.reports(), {})

    def test_discovered(self) -> None:
        """Keys that wait for a verdict are known, and nothing else is said of them."""
        self.discovered("a", "b")
        self.bench.clock.advance(4)
        self.assertEqual(self.report(), ChuteReport(known=2, nonces=20, discovered=4))

    def test_empty_discovery(self) -> None:
        """A chute without instances was discovered all the same."""
        self.discovered()
        self.bench.clock.advance(4)
        self.assertEqual(self.report(), ChuteReport(discovered=4))

    def test_verified(self) -> None:
        """A verified key has an age, registers and a TCB."""
        self.discovered("a")
        self.judged("a")
        self.bench.clock.advance(3)
        self.assertEqual(
            self.report(),
            ChuteReport(
                known=1,
                verified=1,
                age=3,
                measurements=("1.4.1 8xh200",),
                tcb=("UpToDate",),
                nonces=10,
                discovered=3,
            ),
        )

    def test_reasons(self) -> None:
        """Keys without a good verdict are counted by reason, in the order of the words."""
        for each in Refusal:
            self.judged(f"key {each}", each)
        self.judged("other", Refusal.GPU_CHAIN)
        self.judged("none", NoEvidence.UNATTESTABLE)
        self.judged("silent", NoEvidence.UNANSWERED)
        expected = {each.value: 1 for each in Refusal} | {"unattestable": 1, "unanswered": 1}
        expected["gpu_chain"] = 2
        report = self.report()
        self.assertEqual(report.refused, tuple(sorted(expected.items())))
        self.assertEqual((report.known, report.verified), (len(Refusal) + 3, 0))
        self.assertEqual((report.age, report.measurements, report.tcb), (None, (), ()))

    def test_refused_to_one_client(self) -> None:
        """A client's key that the platform refuses says nothing of the instance's key."""
        self.judged("a", NoEvidence.UNAUTHORIZED)
        self.assertEqual(self.reports(), {})

    def test_oldest(self) -> None:
        """The age is that of the oldest verdict that counts, not of a refusal."""
        self.judged("refused", Refusal.TCB_STATUS)
        self.bench.clock.advance(7)
        self.judged("a")
        self.bench.clock.advance(5)
        self.judged("b")
        self.assertEqual((self.report().age, self.report().verified), (5, 2))

    def test_labels(self) -> None:
        """Each measurement and each TCB is named once, in order."""
        for name, version, tcb in (
            ("a", "1.4.1", "UpToDate"),
            ("b", "1.3.0", "OutOfDate"),
            ("c", "1.4.1", "OutOfDate"),
        ):
            row = replace(ROW, version=version)
            self.bench.verified = replace(FOUND, measurement=row, tcb=tcb)
            self.judged(name)
        report = self.report()
        self.assertEqual(report.measurements, ("1.3.0 8xh200", "1.4.1 8xh200"))
        self.assertEqual(report.tcb, ("OutOfDate", "UpToDate"))

    def test_clients(self) -> None:
        """Pools of all clients count, a key in several of them once; the youngest has the age."""
        self.discovered("a", "b")
        self.bench.clock.advance(6)
        self.discovered("b", "c", client=b"other", nonces=3)
        self.bench.clock.advance(1)
        self.assertEqual(self.report(), ChuteReport(known=3, nonces=26, discovered=1))

    def test_taken(self) -> None:
        """A nonce that was taken is not left."""
        self.discovered("a", nonces=2)
        self.assertIsNotNone(self.bench.pool.take(Place(CLIENT, CHUTE)))
        self.assertEqual(self.report().nonces, 1)

    def test_pool_expires(self) -> None:
        """Of a pool that has expired nothing is left but the verdicts."""
        self.discovered("a", "b")
        self.judged("a")
        self.bench.clock.advance(55)
        report = self.report()
        self.assertEqual((report.known, report.verified), (1, 1))
        self.assertEqual((report.nonces, report.discovered), (0, None))

    def test_verdicts_expire(self) -> None:
        """A chute whose verdicts have aged, and whose pools have expired, is known no more."""
        self.discovered("a")
        self.judged("a", NoEvidence.UNATTESTABLE)
        self.bench.clock.advance(UNATTESTABLE_SECONDS)
        self.assertEqual(self.reports(), {})

    def test_chutes(self) -> None:
        """Each chute has a report of its own, in the order of their ids."""
        self.judged("a", chute="y")
        self.discovered("a", chute="x", nonces=1)
        self.discovered("c", chute="z", nonces=2)
        reports = self.reports()
        self.assertEqual(list(reports), ["x", "y", "z"])
        self.assertEqual([each.verified for each in reports.values()], [0, 1, 0])
        self.assertEqual([each.nonces for each in reports.values()], [1, 0, 2])
