"""The conduct table row by row, and one outage from start to end."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from stub_backend.generation import sentence
from tests.conduct.__main__ import main
from tests.conduct.endings import ROWS as ENDINGS
from tests.conduct.learned import ROWS as LEARNED
from tests.conduct.play import Played, asked, new_clients, one_client, play, play_outage
from tests.conduct.seen import CUT
from tests.conduct.served import QUESTION
from tests.conduct.table import ROWS, Conduct, Row

# A request's size adds hundredths of a second to the allowance.
_EXACT = 0.03
# Fields of the connection, not of the answer.
_OWN = {"server", "date", "connection", "transfer-encoding"}


class TableTests(SynchronousTestCase):
    """Each row under both commit settings."""

    def check(self, row: Row, commit: str) -> None:
        """Run a row and compare."""
        expected = row.expected(commit)
        played = play(row, commit)
        seen, what = played.seen, f"{row.name} ({commit}): {played}"
        model = row.second if expected.by_second else row.first
        self.assertEqual(
            (seen.status, seen.end, seen.code), (expected.status, expected.end, expected.code), what
        )
        self.assertApproximates(seen.seconds, expected.seconds, _EXACT, what)
        calls = (len(played.first), len(played.second))
        self.assertEqual(calls, (expected.first_calls, expected.second_calls), what)
        self.assertEqual(played.first[0].aborted, expected.first_aborted, what)
        self.assertEqual(seen.headers["x-chutes-autopilot-selected"], model, what)
        self.assertEqual(seen.headers["x-chutes-autopilot-attempts"], str(sum(calls)), what)
        self.assertEqual((played.sent, played.left), ({asked(row)}, []), what)
        self.check_answer(played, expected, model, what)

    def check_answer(self, played: Played, expected: Conduct, model: str, what: str) -> None:
        """Check for one model's words and bytes, and after a break for the error event only."""
        seen, said = played.seen, played.said
        if expected.status == 200:
            words = [piece.text for piece in sentence(model, QUESTION, 60)][: expected.tokens]
            self.assertEqual((seen.models, seen.text), ({model}, "".join(words)), what)
            counted = (said.usage or {}).get("completion_tokens")
            self.assertEqual(counted, None if expected.end == CUT else 60, what)
        notice = seen.given.removeprefix(said.body)
        self.assertEqual(notice.count(b"\n\n"), 1 if expected.end == CUT else 0, what)
        self.assertEqual(seen.given, said.body + notice, what)
        if expected.end != CUT:
            self.assertEqual(notice, b"", what)
        passed = {name: value for name, value in said.headers.items() if name not in _OWN}
        if "content-length" in passed:
            passed["content-length"] = str(len(seen.body))
        self.assertEqual(passed, {name: seen.headers.get(name) for name in passed}, what)

    def test_content(self) -> None:
        """The client receives an answer from its first token on."""
        for row in ROWS:
            self.check(row, "content")

    def test_complete(self) -> None:
        """The client receives complete answers only."""
        for row in ROWS:
            self.check(row, "complete")

    def test_outage(self) -> None:
        """All requests during 60 s of 503 are served, and the first choice soon serves again.

        There is a request every second, and few reach the failed model. One client tries the first
        model again every 10 s. Of new clients nothing is known: three reach the failed model, and
        then one every 10 s of its cooldown.
        """
        for key, most_calls in ((one_client, 6), (new_clients, 3 + 6)):
            for commit in ("content", "complete"):
                outage = play_outage(commit, key)
                what = f"{key.__name__} ({commit}): {outage}"
                self.assertEqual((outage.served, outage.requests), (120, 120), what)
                self.assertEqual(outage.most_attempts_on_first, 1, what)
                self.assertTrue(2 <= outage.calls_in_outage <= most_calls, what)
                self.assertLessEqual(outage.back_after, 10 + 1, what)

    def test_printed(self) -> None:
        """The table is printed, one line for each row and commit setting."""
        out = io.StringIO()
        with redirect_stdout(out):
            self.assertEqual(main(), 0)
        table, learned, faults, endings, _ = out.getvalue().split("\n\n")
        for row in ROWS:
            for commit in ("content", "complete"):
                self.assertEqual(table.count(f"{row.name:<45} {commit}"), 1, row.name)
        self.assertEqual(table.count("503 for 60 s, then healthy"), 4)
        self.assertEqual(len(learned.splitlines()), 1 + 2 * len(LEARNED))
        for verdict, count in (("pass", 13 + 16), ("safe", 3), ("partial", 0), ("fail", 0)):
            self.assertEqual(faults.count(f" {verdict:<8} "), count, verdict)
        self.assertEqual(len(endings.splitlines()), 1 + 4 * len(ENDINGS))
        self.assertNotIn("not as", table + endings)
