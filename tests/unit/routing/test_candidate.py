"""Candidates as values."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import Candidate, candidates_of


class CandidateTests(SynchronousTestCase):
    """What a candidate is, and when two are the same."""

    def test_usual(self) -> None:
        """A name alone means the usual origin and key, and any instance."""
        found = candidates_of(("a", "b"))
        self.assertEqual(found, (Candidate("a"), Candidate("b")))
        self.assertEqual((found[0].origin, found[0].key, found[0].instance), (None, None, None))

    def test_each_part_counts(self) -> None:
        """The same model elsewhere is another candidate."""
        kinds = {
            Candidate("a"),
            Candidate("a", origin="other"),
            Candidate("a", key="k"),
            Candidate("a", instance="i"),
        }
        self.assertEqual(len(kinds), 4)
