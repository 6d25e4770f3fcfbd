"""The queue of candidates of one exchange."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import candidates_of
from autopilot.routing.candidate_queue import CandidateQueue

NONE: frozenset[str] = frozenset()


class CandidateQueueTests(SynchronousTestCase):
    """The order of candidates, and the end of the queue."""

    def queue(self, models: str, max_attempts: int = 8) -> CandidateQueue:
        """Return a queue of models that are named by single letters."""
        return CandidateQueue(candidates_of(tuple(models)), max_attempts)

    def test_in_order(self) -> None:
        """The queue returns each candidate once, in the plan's order."""
        candidates = self.queue("ab")
        self.assertIs(candidates.exhausted, False)
        self.assertEqual([candidates.take(NONE).model, candidates.exhausted], ["a", False])
        self.assertEqual([candidates.take(NONE).model, candidates.exhausted], ["b", True])

    def test_exhausted_from_the_start(self) -> None:
        """A queue without candidates or attempts is exhausted; one of each suffices."""
        for models, attempts, exhausted in (
            *(("", 8, True), ("", 0, True), ("a", 0, True)),
            *(("a", 1, False), ("ab", 1, False)),
        ):
            candidates = self.queue(models, attempts)
            self.assertIs(candidates.exhausted, exhausted, (models, attempts))

    def test_passed_over(self) -> None:
        """A cooling candidate comes after the others, but is still returned."""
        candidates = self.queue("abc")
        self.assertEqual([candidates.take(frozenset("a")).model for _ in "abc"], ["b", "c", "a"])

    def test_following(self) -> None:
        """What `take` would return can be seen before, with a last resort and without."""
        others = candidates_of(("x", "y"))
        for attempts in range(2, 7):
            for cooling in (NONE, frozenset("a"), frozenset("abc")):
                queue = CandidateQueue(candidates_of(tuple("abc")), attempts, others)
                while not queue.exhausted:
                    following = queue.following(cooling)
                    self.assertIs(queue.take(cooling), following, (attempts, cooling))

    def test_at_most_so_many_attempts(self) -> None:
        """The queue is exhausted after `max_attempts`, even if candidates are left."""
        candidates = self.queue("abcd", 3)
        exhausted = []
        for _ in "abc":
            candidates.take(NONE)
            exhausted.append(candidates.exhausted)
        self.assertEqual(exhausted, [False, False, True])

    def test_a_pause_is_an_attempt(self) -> None:
        """An attempt after a pause counts like any other."""
        candidates = self.queue("abc", 2)
        candidates.take(NONE)
        self.assertTrue(candidates.pause_on("a"))
        self.assertIs(candidates.exhausted, True)
        self.assertFalse(candidates.pause_on("a"))
        self.assertFalse(candidates.pause_on("b"))

    def test_one_pause_for_each_model(self) -> None:
        """A model is paused on once, whichever models follow; the last attempt may be used."""
        candidates = self.queue("abc", 6)
        candidates.take(NONE)
        self.assertTrue(candidates.pause_on("a"))
        self.assertIs(candidates.exhausted, False)
        candidates.take(NONE)
        self.assertTrue(candidates.pause_on("b"))
        self.assertFalse(candidates.pause_on("a"))
        self.assertFalse(candidates.pause_on("b"))
        self.assertIs(candidates.exhausted, False)
        candidates.take(NONE)
        self.assertTrue(candidates.pause_on("c"))

    def test_a_pause_without_candidates(self) -> None:
        """The last candidate may be paused on, while attempts are left."""
        candidates = self.queue("a", 2)
        candidates.take(NONE)
        self.assertTrue(candidates.pause_on("a"))
        self.assertIs(candidates.exhausted, True)

    def test_the_last_attempt_of_many(self) -> None:
        """A pause leaves the other candidates as long as one attempt is left."""
        candidates = self.queue("ab", 3)
        candidates.take(NONE)
        self.assertTrue(candidates.pause_on("a"))
        self.assertIs(candidates.exhausted, False)
        candidates.take(NONE)
        self.assertIs(candidates.exhausted, True)

    def test_again(self) -> None:
        """A model is tried again once, two models in all, without using up attempts."""
        candidates = self.queue("abc", 1)
        self.assertIs(candidates.try_again("a"), True)
        self.assertIs(candidates.try_again("a"), False)
        self.assertIs(candidates.exhausted, False)
        self.assertIs(candidates.try_again("b"), True)
        self.assertIs(candidates.try_again("c"), False)
        self.assertIs(candidates.try_again("b"), False)

    def test_narrowed(self) -> None:
        """After an exceeded context only larger ones follow, and only once."""
        candidates = self.queue("abcd")
        candidates.take(NONE)
        self.assertFalse(candidates.leads_to(frozenset("a")))
        self.assertTrue(candidates.leads_to(frozenset("bd")))
        candidates.narrow(frozenset("bd"))
        self.assertIs(candidates.exhausted, False)
        self.assertFalse(candidates.leads_to(frozenset("bd")))
        self.assertEqual([candidates.take(NONE).model for _ in "bd"], ["b", "d"])
        self.assertTrue(candidates.exhausted)

    def test_narrowed_to_nothing(self) -> None:
        """The queue is exhausted if no larger context or no attempt is left."""
        candidates = self.queue("ab")
        candidates.narrow(frozenset("c"))
        self.assertIs(candidates.exhausted, True)
        for attempts, exhausted in ((1, True), (2, False)):
            candidates = self.queue("ab", attempts)
            candidates.take(NONE)
            candidates.narrow(frozenset("b"))
            self.assertIs(candidates.exhausted, exhausted)

    def test_an_exhausted_queue_leads_nowhere(self) -> None:
        """Without an attempt left a larger context does not help."""
        candidates = self.queue("ab", 1)
        candidates.take(NONE)
        self.assertFalse(candidates.leads_to(frozenset("b")))

    def test_beside(self) -> None:
        """A second attempt is what a context error leads to, though nothing may be taken."""
        candidates = self.queue("ab", 1)
        candidates.take(NONE)
        self.assertTrue(candidates.leads_to(frozenset("b"), "b"))
        self.assertFalse(candidates.leads_to(frozenset("b"), "c"))
        candidates.narrow(frozenset("b"))
        self.assertFalse(candidates.leads_to(frozenset("b"), "b"))
