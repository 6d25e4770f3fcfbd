"""Candidates as values."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import Candidate, candidate_of, candidates_of


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

    def test_a_name_of_absurd_length(self) -> None:
        """Tables and records keep a short mark of it; the name itself is sent."""
        self.assertEqual(candidate_of("a" * 256), Candidate("a" * 256))
        for name in ("a" * 257, "\U0001f600" * 60_000, "\ud800" * 300):
            found = candidate_of(name)
            self.assertEqual(found.sent, name)
            self.assertEqual(found.model[:65], name[:64] + "…")
            self.assertEqual(len(found.model), 81)
        self.assertNotEqual(candidate_of("a" * 257).model, candidate_of("a" * 258).model)
