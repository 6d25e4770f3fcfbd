"""Tests of the section of private mode."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.private_report import (
    ChuteReport,
    CollateralReport,
    MeasurementsReport,
    PrivateReport,
)
from autopilot.attestation.verdict import Refusal
from autopilot.attestation.verdicts import NoEvidence
from autopilot.web.status.private import (
    PrivateNow,
    key_states,
    private,
    private_now,
    refusal_words,
)
from tests.unit.web.status.test_page import Reading, data, read
from tests.unit.web.status.values import facts

WALL = 1_780_272_000.0
CHUTE = ChuteReport(
    known=5,
    verified=2,
    refused=(("tcb_status", 2), ("unattestable", 1)),
    age=312.0,
    measurements=("1.4.1 8xh200 [<b>]",),
    tcb=("UpToDate",),
    nonces=17,
    discovered=33.0,
)
REPORT = PrivateReport(
    chutes={"c-1": CHUTE, "c-gone": ChuteReport(known=1, refused=(("unanswered", 1),))},
    collateral=CollateralReport(2, 7200.0, WALL + 86_400 * 9, 20),
    measurements=MeasurementsReport(age=60.0, rows=36, missing=("AB12CD34",)),
    attestable=True,
)
MODELS = (("c-1", "acme/one"), ("c-1", "acme/twin"), ("c-2", "acme/plain"))


def now(report: PrivateReport = REPORT, mode: str = "ask") -> PrivateNow:
    """Return what is shown of a report."""
    return private_now(mode, report, MODELS, WALL)


class PrivateTests(SynchronousTestCase):
    """The section."""

    def test_off(self) -> None:
        """A router without private mode has neither section nor member."""
        self.assertEqual(str(private(None)), '<section id="private" hidden></section>')
        self.assertNotIn("private", data(facts("a")))
        self.assertNotIn("Private mode", read(facts("a")).text)

    def test_by_model(self) -> None:
        """Models have their names, one for a chute; one that has left has the chute's id."""
        self.assertEqual(sorted(now().models), ["acme/one", "c-gone"])
        shown = Reading(str(private(now()))).text
        self.assertIn("52" + "2 TCB status not accepted1 no evidence to be had", shown)
        self.assertIn("5 minUpToDate1.4.1 8xh200 [<b>]1733 s ago", shown)
        self.assertNotIn("acme/plain", shown)

    def test_numbers(self) -> None:
        """The keys of all models, Intel's data and the measurements are figures."""
        shown = Reading(str(private(now()))).text
        self.assertIn("PRIVATE=ask", shown)
        self.assertIn("Verified keys2of 6 known", shown)
        self.assertIn("Intel's datavalid 9 days2 platforms, evaluation 20fetched 2 h ago", shown)
        self.assertIn("Measurements36 rowspublished by the platformfetched 60 s ago", shown)
        self.assertIn("seen, but not listed: AB12CD34", shown)

    def test_claims(self) -> None:
        """It claims no more than was verified, and nothing under the roots of a test."""
        shown = Reading(str(private(now()))).text
        self.assertIn("The model and the code that runs in it are not verified.", shown)
        self.assertNotIn("secure", shown.lower())
        tested = PrivateReport(roots="test-roots", attestable=True)
        shown = Reading(str(private(now(tested, "always")))).text
        self.assertIn("PRIVATE=always, test-roots", shown)
        self.assertIn("Every request is sealed", shown)
        self.assertIn("nothing on this page is attested", shown)
        self.assertNotIn("Verified means", shown)

    def test_nothing_yet(self) -> None:
        """Before the first request it says what is missing, and that no key is known."""
        shown = str(private(now(PrivateReport(why_not="dcap-qvl is not installed"))))
        text = Reading(shown).text
        self.assertIn("Nothing is attestable: dcap-qvl is not installed.", text)
        self.assertIn("Intel's datanone yet", text)
        self.assertIn("No key is known yet", text)
        self.assertIn('<div class="stale"><dt>Measurements</dt><dd>0 rows', shown)

    def test_out_of_date(self) -> None:
        """Intel's data that has ended is marked, and a wrong clock is a possible reason."""
        ended = PrivateReport(collateral=CollateralReport(1, 5.0, WALL - 1, 19))
        shown = str(private(now(ended)))
        self.assertIn('<div class="stale"><dt>Intel&#39;s data</dt><dd>out of date', shown)
        self.assertIn("also if this machine&#39;s clock is wrong", shown)

    def test_many(self) -> None:
        """Long lists are shortened."""
        many = ChuteReport(
            known=9,
            refused=tuple((each, 1) for each in Refusal),
            measurements=tuple(map(str, range(9))),
        )
        missing = tuple(f"{each:08X}" for each in range(9))
        report = PrivateReport(
            chutes={"c-1": many}, measurements=MeasurementsReport("pinned", missing=missing)
        )
        shown = Reading(str(private(now(report)))).text
        self.assertIn(f"{len(Refusal) - 6} more", shown)
        self.assertIn("3 more", shown)
        self.assertIn("pinned", shown)
        self.assertIn("00000005 and others", shown)

    def test_every_reason(self) -> None:
        """Each reason has words, and no two the same."""
        words = [refusal_words(each) for each in (*Refusal, *NoEvidence)]
        self.assertEqual(len(set(words)), len(words))
        for each in words:
            self.assertNotIn("_", each)
        self.assertEqual(refusal_words("<new>"), "&lt;new&gt;")

    def test_states(self) -> None:
        """For the metrics a reason of the checks is a refusal."""
        self.assertEqual(
            key_states(REPORT), {"verified": 2, "refused": 2, "unattestable": 1, "unanswered": 1}
        )

    def test_on_the_page(self) -> None:
        """The section is on the page, and in /status.json by model."""
        report = facts("a", private=now())
        self.assertIn("Private mode PRIVATE=ask", read(report).text)
        shown = data(report)["private"]
        self.assertEqual(shown["mode"], "ask")
        self.assertEqual(shown["models"]["acme/one"]["refused"][0], ["tcb_status", 2])
        self.assertEqual(shown["collateral"]["evaluation"], 20)
        self.assertEqual(shown["collateral_ends_in"], 86_400 * 9)
