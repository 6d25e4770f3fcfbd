"""Tests of what verdicts rest on, and of why nothing is attestable."""

from __future__ import annotations

import json
from email.utils import formatdate

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from autopilot.attestation.clock_check import ClockCheck
from autopilot.attestation.collateral import CollateralError, Fetched, Platform
from autopilot.attestation.collateral_cache import CollateralCache
from autopilot.attestation.collateral_probe import CollateralProbe
from autopilot.attestation.measurements_feed import MeasurementsFeed
from autopilot.attestation.missing_registers import MissingRegisters
from autopilot.attestation.private_basis import PrivateBasis
from autopilot.attestation.private_report import ChuteReport
from autopilot.http.fetch import FetchedResponse
from tests.unit.attestation import world

BODY = json.dumps(world.world()["measurements"]).encode()
PLATFORM = Platform("B0C06F000000", "platform")
HOPELESS = ChuteReport(known=2, refused=(("unattestable", 2),))


class PrivateBasisTests(SynchronousTestCase):
    """`PrivateBasis`."""

    def setUp(self) -> None:
        """Make a basis in the world's time."""
        self.clock = Clock()
        self.lists: list[Deferred[FetchedResponse]] = []
        self.collateral: list[Deferred[Fetched]] = []
        self.chutes: list[str] | None = ["chute"]
        self.feed = MeasurementsFeed(self.clock, self.fetch_list, self.wall)
        self.cache = CollateralCache(self.clock, self.fetch_collateral, self.wall)
        self.tries: list[Deferred[FetchedResponse]] = []
        self.probe = CollateralProbe(self.clock, self.try_intel, lambda: self.cache.has_data)
        self.check = ClockCheck(self.wall)
        self.basis = self.made(None)
        self.basis.start()
        self.addCleanup(self.basis.stop)

    def made(self, pinned: tuple[object, ...] | None) -> PrivateBasis:
        """Return a basis with pinned rows, or without."""
        return PrivateBasis(
            self.feed,
            self.cache,
            self.probe,
            self.check,
            MissingRegisters(),
            lambda: self.chutes,
            pinned,  # type: ignore[arg-type]
            "published",
        )

    def wall(self) -> float:
        """Return the time of day."""
        return world.NOW + self.clock.seconds()

    def fetch_list(self) -> Deferred[FetchedResponse]:
        """Begin to fetch measurements."""
        self.lists.append(Deferred())
        return self.lists[-1]

    def try_intel(self) -> Deferred[FetchedResponse]:
        """Begin to try Intel's service."""
        self.tries.append(Deferred())
        return self.tries[-1]

    def fetch_collateral(self, platform: Platform) -> Deferred[Fetched]:
        """Begin to fetch collateral."""
        self.collateral.append(Deferred())
        return self.collateral[-1]

    def measured(self) -> None:
        """Answer with the measurements."""
        self.lists[-1].callback(FetchedResponse(200, BODY))

    def why_not(self, **chutes: ChuteReport) -> str | None:
        """Return why nothing is attestable, with what is known of chutes."""
        report = self.basis.report(chutes)
        self.assertEqual(report.attestable, report.why_not is None)
        return report.why_not

    def test_measurements(self) -> None:
        """Without measurements nothing is attestable, whatever was verified before."""
        verified = ChuteReport(known=1, verified=1)
        words = "the platform's measurements have not been fetched yet"
        self.assertEqual(self.why_not(chute=verified), words)
        waiting = self.basis.ready()
        self.lists[-1].callback(FetchedResponse(503, b""))
        self.assertFalse(self.successResultOf(waiting))
        self.assertEqual(self.why_not(), "the platform's measurements could not be fetched")
        self.clock.advance(15)
        self.measured()
        self.assertIsNone(self.why_not(chute=verified))

    def test_untried(self) -> None:
        """Before the first request nothing speaks against it."""
        self.measured()
        self.assertIsNone(self.why_not())

    def test_clock(self) -> None:
        """A wrong clock is named while nothing is verified in spite of it."""
        self.measured()
        date = formatdate(self.wall() + 86_400, usegmt=True)
        self.check.seen(FetchedResponse(200, b"", Headers({"Date": [date]})))
        self.assertEqual(
            self.why_not(),
            "this machine's clock is about 1 day behind that of the platform's answers",
        )
        self.assertIsNone(self.why_not(chute=ChuteReport(known=1, verified=1)))

    def test_no_model(self) -> None:
        """Without a TEE model in the catalog there is nothing to attest."""
        self.measured()
        for self.chutes in (None, []):
            self.assertEqual(self.why_not(), "the catalog lists no model with a TEE")

    def test_no_evidence(self) -> None:
        """If no instance of any TEE model has evidence, that is why."""
        self.measured()
        self.chutes = ["chute", "other"]
        self.assertIsNone(self.why_not(chute=HOPELESS))
        self.assertEqual(
            self.why_not(chute=HOPELESS, other=HOPELESS),
            "no instance of a model with a TEE has evidence",
        )
        refused = ChuteReport(known=2, refused=(("tcb_status", 1), ("unattestable", 1)))
        self.assertIsNone(self.why_not(chute=HOPELESS, other=refused))

    def test_collateral(self) -> None:
        """Without Intel's data nothing can be verified."""
        self.measured()
        self.cache.get(PLATFORM)
        self.collateral[-1].errback(CollateralError("TCB info: status 503"))
        self.assertEqual(self.why_not(), "Intel's collateral could not be fetched")
        self.cache.get(Platform("00906ED50000", "platform"))
        self.collateral[-1].callback(Fetched(world.collateral()))
        self.assertIsNone(self.why_not())

    def test_untried_collateral(self) -> None:
        """Before the first quote Intel's service is tried."""
        self.measured()
        self.tries[-1].callback(FetchedResponse(503, b""))
        self.assertEqual(self.why_not(), "Intel's collateral could not be fetched")
        self.clock.advance(60)
        self.tries[-1].callback(FetchedResponse(200, b""))
        self.assertIsNone(self.why_not())

    def test_pinned(self) -> None:
        """An operator's own rows count alone; the platform's list is then not fetched."""
        rows = world.rows()[:1]
        self.assertFalse(self.basis.pin(None))
        self.assertTrue(self.basis.pin(rows))
        self.assertFalse(self.basis.pin(rows))
        self.assertEqual(self.basis.rows(), rows)
        self.assertTrue(self.successResultOf(self.basis.ready()))
        report = self.basis.report({})
        self.assertEqual(
            (report.measurements.source, report.measurements.rows, report.measurements.age),
            ("pinned", 1, None),
        )
        self.clock.pump([15] * 100)
        self.assertEqual(len(self.lists), 1)
        self.assertTrue(self.basis.pin(None))
        self.assertEqual(len(self.lists), 2)
        self.measured()
        self.assertEqual(self.basis.rows(), world.rows())

    def test_unknown(self) -> None:
        """Registers that no row has are a reason to fetch the list again."""
        self.measured()
        self.clock.advance(60)
        self.basis.unknown()
        self.clock.advance(15)
        self.assertEqual(len(self.lists), 2)

    def test_report(self) -> None:
        """The report has the age of the list, and the data about Intel's."""
        self.measured()
        self.cache.get(PLATFORM)
        self.collateral[-1].callback(Fetched(world.collateral()))
        self.clock.advance(5)
        report = self.basis.report({"chute": HOPELESS})
        self.assertEqual((report.measurements.source, report.measurements.age), ("published", 5))
        self.assertEqual(report.measurements.rows, len(world.rows()))
        self.assertEqual((report.collateral.platforms, report.collateral.age), (1, 5))
        self.assertEqual(report.collateral.next_update, 1782864000)
        self.assertEqual(report.collateral.evaluation, 20)
        self.assertEqual(report.chutes, {"chute": HOPELESS})

    def test_stopped(self) -> None:
        """Afterwards a change of rows begins nothing, and no timer is left."""
        self.basis.stop()
        self.basis.pin(world.rows())
        self.basis.pin(None)
        self.assertEqual(len(self.lists), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
