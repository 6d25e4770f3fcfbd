"""Tests of the report on attested instances: what it says before anything is known, and never."""

from __future__ import annotations

from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.private_report import (
    ChuteReport,
    CollateralReport,
    MeasurementsReport,
    PrivateReport,
)

REPORTS: tuple[type[Struct], ...] = (
    ChuteReport,
    CollateralReport,
    MeasurementsReport,
    PrivateReport,
)


class PrivateReportTests(SynchronousTestCase):
    """The report and its parts."""

    def test_nothing_known(self) -> None:
        """Before anything is known, nothing is attestable, and nothing has an age."""
        report = PrivateReport()
        self.assertEqual((report.attestable, report.why_not), (False, None))
        self.assertEqual((report.roots, report.chutes), ("published", {}))
        collateral, measurements = report.collateral, report.measurements
        self.assertEqual(
            (collateral.platforms, collateral.age, collateral.next_update, collateral.evaluation),
            (0, None, None, None),
        )
        self.assertEqual((measurements.source, measurements.rows), ("published", 0))
        self.assertEqual((measurements.age, measurements.missing), (None, ()))

    def test_chute_unknown(self) -> None:
        """A chute of which nothing is known has no key, no verdict, no nonce and no age."""
        chute = ChuteReport()
        self.assertEqual((chute.known, chute.verified, chute.nonces), (0, 0, 0))
        self.assertEqual((chute.refused, chute.measurements, chute.tcb), ((), (), ()))
        self.assertEqual((chute.age, chute.discovered), (None, None))

    def test_apart(self) -> None:
        """What one report is given does not appear in another."""
        PrivateReport().chutes["chute"] = ChuteReport(known=1)
        self.assertEqual(PrivateReport().chutes, {})

    def test_frozen(self) -> None:
        """A page that shows a report cannot change it."""
        for kind in REPORTS:
            name = kind.__struct_fields__[0]
            with self.assertRaises(AttributeError):
                setattr(kind(), name, None)

    def test_no_secrets(self) -> None:
        """It has counts, ages, reasons and labels: no member for a key, a nonce, a certificate."""
        members = {name: each for kind in REPORTS for name, each in kind.__annotations__.items()}
        self.assertEqual(
            {name for name, kind in members.items() if "int" not in kind and "float" not in kind},
            {
                *("attestable", "chutes", "collateral", "measurements", "missing"),
                *("roots", "source", "tcb", "why_not"),
            },
        )
        self.assertNotIn("bytes", " ".join(members.values()))
