"""Tests of the comparison of the clock with answers."""

from __future__ import annotations

from email.utils import formatdate

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from autopilot.attestation.clock_check import ClockCheck
from autopilot.http.fetch import FetchedResponse

NOW = 1_780_000_000.0


class ClockCheckTests(SynchronousTestCase):
    """`ClockCheck`."""

    def setUp(self) -> None:
        """Make a check."""
        self.ahead = 0.0
        self.check = ClockCheck(lambda: NOW + self.ahead)

    def answer(self, date: str | None = None, age: str | None = None) -> None:
        """Receive an answer that was made now, unless a date says otherwise."""
        headers = Headers({"Date": [formatdate(NOW, usegmt=True) if date is None else date]})
        if age is not None:
            headers.setRawHeaders("Age", [age])
        answer = FetchedResponse(200, b"", headers)
        self.assertIs(self.check.seen(answer), answer)

    def test_right(self) -> None:
        """An hour's difference is no problem."""
        for self.ahead in (0.0, 3600.0, -3600.0):
            self.answer()
            self.assertIsNone(self.check.problem)

    def test_wrong(self) -> None:
        """A clock that is wrong by a day is said in one line, until it is right again."""
        with capturedLogs() as logs:
            for self.ahead in (-86_400.0, -90_000.0, 0.0, 50 * 3600.0, 60 * 3600.0):
                self.answer()
        self.assertEqual(
            [formatEvent(each) for each in logs],
            [
                f"Private mode: this machine's clock is about {words} that of the platform's"
                " answers; while it is wrong, genuine evidence may be refused"
                for words in ("1 day behind", "2 days ahead of")
            ],
        )
        self.assertIsNotNone(self.check.problem)
        self.ahead = 13 * 3600.0
        self.answer()
        self.assertEqual(self.check.problem, "this machine's clock is about 13 hours ahead of that")

    def test_cached(self) -> None:
        """An answer that a cache has kept is as old as that says."""
        self.answer(formatdate(NOW - 86_400, usegmt=True), age="86400")
        self.assertIsNone(self.check.problem)

    def test_unreadable(self) -> None:
        """Without a date that can be read nothing is compared."""
        self.ahead = 86_400.0
        self.answer("yesterday")
        self.answer(age="old")
        self.check.seen(FetchedResponse(200, b""))
        self.assertIsNone(self.check.problem)
