"""The sixteen faults, each under both commit settings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.conduct.faults import FALLBACK, FAULTS, PRIMARY, Judged, try_fault
from tests.conduct.judge import Verdict

# An answer that has begun for the client cannot be replaced, only truncated visibly.
_CUTS = {8, 9, 14}


class FaultTests(SynchronousTestCase):
    """The verdict on each."""

    def test_defaults(self) -> None:
        """Thirteen pass; a break after the first word is visible to the client."""
        for number, judged in self.judged("content").items():
            expected = Verdict.SAFE if number in _CUTS else Verdict.PASS
            self.assertIs(judged.verdict, expected, f"{number}: {judged}")

    def test_complete(self) -> None:
        """With `COMMIT=complete` all pass, because no answer begins before it is complete."""
        for number, judged in self.judged("complete").items():
            self.assertIs(judged.verdict, Verdict.PASS, f"{number}: {judged}")

    def test_two_origins(self) -> None:
        """The verdicts are the same if the fallback is another service's."""
        for commit in ("content", "complete"):
            for number, judged in self.judged(commit, across=True).items():
                cut = commit == "content" and number in _CUTS
                expected = Verdict.SAFE if cut else Verdict.PASS
                self.assertIs(judged.verdict, expected, f"{number}, {commit}: {judged}")

    def test_broken_event(self) -> None:
        """An event with invalid JSON passes unchanged, except under `COMMIT=complete`."""
        answer = try_fault(FAULTS[9], "content").answer
        self.assertEqual((len(answer.words), answer.broken, answer.models), (59, 1, {PRIMARY}))
        answer = try_fault(FAULTS[9], "complete").answer
        self.assertEqual((len(answer.words), answer.broken, answer.models), (60, 0, {FALLBACK}))

    def judged(self, commit: str, *, across: bool = False) -> dict[int, Judged]:
        """Run all faults; return the results by number."""
        self.assertEqual(len(FAULTS), 16)
        return {
            n: try_fault(fault, commit, across=across) for n, fault in enumerate(FAULTS, start=1)
        }
