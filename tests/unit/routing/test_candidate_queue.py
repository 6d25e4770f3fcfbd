"""The candidates of one exchange, as they are used up."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import candidates_of
from autopilot.routing.candidate_queue import CandidateQueue

NONE: frozenset[str] = frozenset()


class CandidateQueueTests(SynchronousTestCase):
    """Who comes next, and until when."""

    def test_in_order(self) -> None:
        """Each is handed out once, in the plan's order."""
        candidates = CandidateQueue(candidates_of(("a", "b")), 8)
        self.assertEqual([candidates.take(NONE).model, candidates.exhausted], ["a", False])
        self.assertEqual([candidates.take(NONE).model, candidates.exhausted], ["b", True])

    def test_passed_over(self) -> None:
        """One that cools comes after the others, and is still handed out."""
        candidates = CandidateQueue(candidates_of(("a", "b", "c")), 8)
        self.assertEqual([candidates.take(frozenset("a")).model for _ in "abc"], ["b", "c", "a"])

    def test_at_most_so_many_attempts(self) -> None:
        """Attempts are counted, those after a pause included."""
        candidates = CandidateQueue(candidates_of(tuple("abc")), 2)
        candidates.take(NONE)
        self.assertTrue(candidates.pause_on("a"))
        self.assertTrue(candidates.exhausted)
        self.assertFalse(candidates.pause_on("a"))
        self.assertFalse(candidates.pause_on("b"))

    def test_narrowed(self) -> None:
        """A context that was exceeded leads on only to larger ones, and only once."""
        candidates = CandidateQueue(candidates_of(tuple("abcd")), 8)
        candidates.take(NONE)
        self.assertFalse(candidates.leads_to(frozenset("a")))
        self.assertTrue(candidates.leads_to(frozenset("bd")))
        candidates.narrow(frozenset("bd"))
        self.assertFalse(candidates.leads_to(frozenset("bd")))
        self.assertEqual([candidates.take(NONE).model for _ in "bd"], ["b", "d"])
        self.assertTrue(candidates.exhausted)
