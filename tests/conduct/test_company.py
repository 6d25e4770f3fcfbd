"""Tests that conversations keep their cached prompts when fifty users share one key."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.conduct.company import USERS, cached_alone, company, play

SEED = 22


class CompanyTests(SynchronousTestCase):
    """One company, with and without affinity."""

    def test_affinity(self) -> None:
        """Affinity by conversation keeps nine tenths of what each user alone would have cached."""
        turns = company(SEED)
        alone = cached_alone(turns)
        played = play(turns)
        self.assertEqual(sum(played.requests.values()), len(turns))
        # Not one model for all: each of the six has its share of the conversations.
        self.assertEqual(len(played.requests), 6)
        self.assertLess(max(played.requests.values()), len(turns) / 2)
        self.assertGreaterEqual(played.cached, 0.9 * alone)

    def test_without(self) -> None:
        """Without stickiness at most four tenths are left."""
        turns = company(SEED)
        played = play(turns, sticky_ttl_secs=0)
        self.assertEqual(len(played.requests), 6)
        self.assertLessEqual(played.cached, 0.4 * cached_alone(turns))

    def test_alone(self) -> None:
        """The measure is right: one user alone has exactly these tokens cached."""
        turns = [each for each in company(SEED) if each.user == 0]
        self.assertGreater(cached_alone(turns), 0)
        self.assertEqual(play(turns).cached, cached_alone(turns))
        self.assertEqual(len({each.user for each in company(SEED)}), USERS)
