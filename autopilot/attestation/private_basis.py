"""What verdicts rest on besides evidence: rows of registers, Intel's data, the time of day.

It also says why nothing is attestable, where that is known without a request's key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from twisted.internet.defer import Deferred, succeed

from autopilot.attestation.clock_check import ClockCheck
from autopilot.attestation.collateral_cache import CollateralCache
from autopilot.attestation.collateral_probe import CollateralProbe
from autopilot.attestation.measurements_feed import MeasurementsFeed
from autopilot.attestation.missing_registers import MissingRegisters
from autopilot.attestation.private_report import ChuteReport, MeasurementsReport, PrivateReport
from autopilot.attestation.verdicts import NoEvidence
from autopilot.measurement import Measurement

PUBLISHED = "published"
PINNED = "pinned"


class PrivateBasis:
    """See `autopilot.attestation.attested_instances.Basis`.

    ``chutes`` returns those of the catalog's TEE models, and None while there is no catalog.
    ``pinned`` are the rows of an operator's own file, if there is one. ``roots`` names the roots.
    """

    def __init__(
        self,
        feed: MeasurementsFeed,
        collateral: CollateralCache,
        probe: CollateralProbe,
        clock_check: ClockCheck,
        missing: MissingRegisters,
        chutes: Callable[[], Collection[str] | None],
        pinned: Sequence[Measurement] | None,
        roots: str,
    ) -> None:
        self._feed = feed
        self._collateral = collateral
        self._probe = probe
        self._clock_check = clock_check
        self._missing = missing
        self._chutes = chutes
        self._pinned = pinned
        self._roots = roots
        self._running = False

    def rows(self) -> Sequence[Measurement]:
        """Return the rows that registers are compared with."""
        return self._feed.rows() if self._pinned is None else self._pinned

    def ready(self) -> Deferred[bool]:
        """See `Basis`."""
        return self._feed.ready() if self._pinned is None else succeed(True)

    def unknown(self) -> None:
        """See `Basis`."""
        self._feed.hurry()

    def pin(self, pinned: Sequence[Measurement] | None) -> bool:
        """Compare with these rows from now on: an operator's own, or the platform's.

        Return whether they are others than before.
        """
        if pinned == self._pinned:
            return False
        self._pinned = pinned
        if self._running:
            self._follow()
        return True

    def start(self) -> None:
        """See `Basis`."""
        self._running = True
        self._follow()
        self._collateral.start()
        self._probe.start()

    def stop(self) -> None:
        """See `Basis`."""
        self._running = False
        self._feed.stop()
        self._probe.stop()
        self._collateral.stop()

    def _follow(self) -> None:
        """Fetch the platform's list only while it counts."""
        if self._pinned is None:
            self._feed.start()
        else:
            self._feed.stop()

    def report(self, chutes: dict[str, ChuteReport]) -> PrivateReport:
        """See `Basis`."""
        why_not = self._why_not(chutes)
        published = self._pinned is None
        return PrivateReport(
            roots=self._roots,
            chutes=chutes,
            collateral=self._collateral.report(),
            measurements=MeasurementsReport(
                source=PUBLISHED if published else PINNED,
                age=self._feed.age if published else None,
                rows=len(self.rows()),
                missing=self._missing.lacking(self.rows()),
            ),
            attestable=why_not is None,
            why_not=why_not,
        )

    def _why_not(self, chutes: dict[str, ChuteReport]) -> str | None:
        """Return why nothing is attestable; nothing is known of it before the first request."""
        if not self.rows():
            again = "could not be fetched" if self._feed.tried else "have not been fetched yet"
            return f"the platform's measurements {again}"
        if any(each.verified for each in chutes.values()):
            return None
        if self._clock_check.problem is not None:
            return self._clock_check.problem + " of the platform's answers"
        listed = self._chutes()
        if not listed:
            return "the catalog lists no model with a TEE"
        if all(_is_hopeless(chutes.get(each)) for each in listed):
            return "no instance of a model with a TEE has evidence"
        if self._collateral.lacks or self._probe.failed:
            return "Intel's collateral could not be fetched"
        return None


def _is_hopeless(report: ChuteReport | None) -> bool:
    return report is not None and report.refused == ((NoEvidence.UNATTESTABLE, report.known),)
