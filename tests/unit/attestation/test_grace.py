"""Tests of the days of grace after a TCB recovery."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.collateral import CollateralError, Fetched, Platform
from autopilot.attestation.grace import Grace, evaluation_of, fetch_in_grace, grace_of
from autopilot.http.fetch import FetchedResponse
from autopilot.http.fetch_error import NETWORK, FetchError
from tests.unit.attestation import world
from tests.unit.attestation.platform import fetched, intel

PLATFORM = Platform("B0C06F000000", "platform")
PRESENT: dict[str, str] = world.world()["collateral"]["fixed_30_days"]
STANDARD = 20
DAY = 86_400
RECOVERED = world.NOW - 5 * DAY
LISTING = "/tdx/certification/v4/tcbevaluationdatanumbers"


def listing(*numbers: tuple[int, str]) -> bytes:
    """Return Intel's answer with these numbers and dates."""
    listed = [
        {"tcbEvaluationDataNumber": number, "tcbRecoveryEventDate": date, "tcbDate": date}
        for number, date in numbers
    ]
    inner = {"id": "TDX", "version": 1, "tcbEvalNumbers": listed}
    return json.dumps({"tcbEvaluationDataNumbers": inner, "signature": "00"}).encode()


USUAL = listing(
    (21, "2026-05-31T00:00:00Z"), (STANDARD, "2026-05-27T00:00:00Z"), (19, "x"), (17, "x")
)


class GraceTests(SynchronousTestCase):
    """`grace_of`."""

    def test_days(self) -> None:
        """The number before the present one counts from the recovery for so many days."""
        until = RECOVERED + 14 * DAY
        for now, expected in (
            (RECOVERED - 1, None),
            (RECOVERED, Grace(19, until)),
            (world.NOW, Grace(19, until)),
            (until - 1, Grace(19, until)),
            (until, None),
        ):
            self.assertEqual(grace_of(USUAL, STANDARD, 14, now), expected)

    def test_none(self) -> None:
        """Without a number, a date or a former number there is no grace."""
        date = "2026-05-27T00:00:00Z"
        for given in (
            b"{}",
            b"\xff",
            listing(),
            listing((19, date)),
            listing((STANDARD, date)),
            listing((STANDARD, "soon"), (19, date)),
        ):
            self.assertIsNone(grace_of(given, STANDARD, 14, world.NOW), given)

    def test_evaluation(self) -> None:
        """The number is read from the signed text."""
        self.assertEqual(evaluation_of(PRESENT["tcb_info"]), STANDARD)
        for given in ("{}", "", b"\xff"):
            self.assertIsNone(evaluation_of(given))


class FetchTests(SynchronousTestCase):
    """`fetch_in_grace`."""

    def setUp(self) -> None:
        """Let Intel's service have the present data and the former."""
        self.log: list[str] = []
        self.former: dict[str, str] | None = dict(PRESENT)
        number = f'"tcbEvaluationDataNumber":{STANDARD}'
        self.assertIn(number, PRESENT["tcb_info"])
        self.former["tcb_info"] = PRESENT["tcb_info"].replace(number, number[:-2] + "19")
        self.listing: FetchedResponse | FetchError = FetchedResponse(200, USUAL)

    def ask(self, url: str) -> Deferred[FetchedResponse]:
        """Answer as Intel does."""
        path, _, query = url.removeprefix("https://intel.test").partition("?")
        self.log.append(path)
        if path == LISTING:
            return (
                fail(self.listing)
                if isinstance(self.listing, FetchError)
                else succeed(self.listing)
            )
        given = PRESENT
        if "tcbEvaluationDataNumber=19" in query:
            if self.former is None:
                return succeed(FetchedResponse(404, b""))
            given = self.former
        return succeed(fetched(intel(path, given)))

    def fetch(self, days: int = 14) -> Fetched:
        """Return what is fetched."""
        fetching = fetch_in_grace(
            self.ask, "https://intel.test", PLATFORM, days, lambda: float(world.NOW)
        )
        return self.successResultOf(Deferred.fromCoroutine(fetching))

    def assert_present(self, got: Fetched) -> None:
        """Assert that this is the present data, without an end of its own."""
        self.assertEqual((json.loads(got.text), got.until), (PRESENT, Fetched("").until))

    def test_off(self) -> None:
        """Without days nothing else is asked."""
        self.assert_present(self.fetch(0))
        self.assertEqual(len(self.log), 4)

    def test_in_grace(self) -> None:
        """The former data is fetched whole, and counts until the end of the days."""
        got = self.fetch()
        self.assertEqual(json.loads(got.text), self.former)
        self.assertEqual(got.until, RECOVERED + 14 * DAY)

    def test_after(self) -> None:
        """Afterwards the present data counts."""
        self.assert_present(self.fetch(5))

    def test_failures(self) -> None:
        """Whatever goes wrong leaves the present data, which is the stricter."""
        for self.listing in (
            FetchError(NETWORK, "connection refused"),
            FetchedResponse(404, USUAL),
            FetchedResponse(200, b"[]"),
        ):
            self.assert_present(self.fetch())
        self.setUp()
        self.former = None
        self.assert_present(self.fetch())
        # A cache that takes no number answers with the present data.
        self.former = PRESENT
        self.assert_present(self.fetch())

    def test_no_data(self) -> None:
        """Without the present data there is none."""

        def nothing(_url: str) -> Any:
            return succeed(FetchedResponse(503, b""))

        fetching = fetch_in_grace(nothing, "https://intel.test", PLATFORM, 14, lambda: 0.0)
        self.failureResultOf(Deferred.fromCoroutine(fetching), CollateralError)
