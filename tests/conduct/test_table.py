"""The conduct table, row by row, and one outage from its beginning to its end."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from tests.conduct.__main__ import main
from tests.conduct.play import OUTAGE, play, play_outage
from tests.conduct.table import ROWS, Conduct, Row


class TableTests(SynchronousTestCase):
    """Each row under both dials."""

    def check(self, row: Row, commit: str, expected: Conduct) -> None:
        """Play a row and compare."""
        played = play(row, commit)
        seen, what = played.seen, f"{row.name} ({commit}): {played}"
        self.assertEqual((seen.status, seen.end), (expected.status, expected.end), what)
        self.assertEqual(played.first_calls, expected.first_calls, what)
        self.assertEqual(played.second_calls, expected.second_calls, what)
        low, high = expected.seconds
        self.assertTrue(low <= seen.seconds <= high, what)
        if expected.by_second is not None:
            model = row.second if expected.by_second else row.first
            self.assertEqual(seen.model, model, what)
            self.assertEqual(seen.headers["x-chutes-autopilot-selected"], model, what)
        if expected.by_second:
            self.assertTrue(seen.usage, what)
            attempts = str(expected.first_calls + expected.second_calls)
            self.assertEqual(seen.headers["x-chutes-autopilot-attempts"], attempts, what)
        if expected.code is not None:
            self.assertEqual(seen.code, expected.code, what)

    def test_content(self) -> None:
        """The client sees an answer from its first token on."""
        for row in ROWS:
            self.check(row, "content", row.content)

    def test_complete(self) -> None:
        """The client sees only whole answers."""
        for row in ROWS:
            self.check(row, "complete", row.complete)

    def test_outage(self) -> None:
        """503 for 60 s, a request each second: all are served, few ask the dead model, and soon
        after its recovery all are served by the first choice again."""
        for commit in ("content", "complete"):
            outage = play_outage(commit)
            self.assertEqual(outage.served, outage.requests)
            self.assertLessEqual(outage.most_attempts_on_first, 1)
            self.assertGreaterEqual(outage.calls_in_outage, 1)
            self.assertLessEqual(outage.calls_in_outage, 10)
            self.assertLessEqual(outage.back_after, 30)
            self.assertGreater(outage.requests, OUTAGE)

    def test_printed(self) -> None:
        """The table is printed, one line for each row under each dial."""
        out = io.StringIO()
        with redirect_stdout(out):
            self.assertEqual(main(), 0)
        for row in ROWS:
            self.assertEqual(out.getvalue().count(row.name), 2, row.name)
        self.assertEqual(out.getvalue().count("503 for 60 s, then healthy"), 2)
