"""Tests of the deadline of an attempt while another candidate is left."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.content_allowance import first_content_allowance


class AllowanceTests(SynchronousTestCase):
    """The time until the first content."""

    def test_an_empty_body_has_the_base_time(self) -> None:
        """An empty body adds no time."""
        self.assertEqual(first_content_allowance(12.0, 0, None), 12.0)

    def test_one_second_per_8_kilobytes(self) -> None:
        """The allowance grows in proportion to the prompt."""
        self.assertEqual(first_content_allowance(12.0, 8000, None), 13.0)
        self.assertEqual(first_content_allowance(12.0, 4000, None), 12.5)
        self.assertEqual(first_content_allowance(0.0, 800_000, None), 100.0)

    def test_three_times_the_95th_percentile_at_least(self) -> None:
        """A slow model has three times its own 95th percentile, if that is more."""
        self.assertEqual(first_content_allowance(12.0, 0, 10.0), 30.0)
        self.assertEqual(first_content_allowance(12.0, 8000, 4.0), 13.0)
        self.assertEqual(first_content_allowance(12.0, 0, 0.0), 12.0)
