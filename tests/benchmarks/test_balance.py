"""Tests of the comparison of ways to share connections among workers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.balance import Round, largest_part, row


class BalanceTests(SynchronousTestCase):
    """Its arithmetic; the servers themselves are measured by hand."""

    def test_largest_part(self) -> None:
        """An even share is 1; all connections on one of four workers are 4."""
        self.assertEqual(largest_part([100, 100, 100, 100]), 1.0)
        self.assertEqual(largest_part([115, 95, 95, 95]), 1.15)
        self.assertEqual(largest_part([0, 0, 400, 0]), 4.0)
        self.assertEqual(largest_part([0, 0]), 0.0)

    def test_row(self) -> None:
        """Evenness is the worst of the rounds, speed the median."""
        rounds = [
            Round(1.0, 1.5, 1.0, 900.0, 30.0),
            Round(1.2, 1.1, 2.0, 1200.0, 10.0),
            Round(1.1, 1.2, 1.5, 1000.0, 20.0),
        ]
        self.assertEqual(row("w", rounds), "| w | 1.20 × | 1.50 × | 2.00 × | 1,000 | 20 µs |")
