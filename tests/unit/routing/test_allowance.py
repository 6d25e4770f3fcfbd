"""Tests of the time limits that depend on the request and on its model."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.allowance import (
    first_content_allowance,
    longest_pause,
    pause_allowance,
    plain_allowance,
)


class FirstContentTests(SynchronousTestCase):
    """The time to the first content."""

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


class PauseTests(SynchronousTestCase):
    """The time between two bytes."""

    def test_the_setting_while_nothing_is_known(self) -> None:
        """Without a percentile the setting holds, however long it is."""
        self.assertEqual(longest_pause(45.0, None), 45.0)
        self.assertEqual(longest_pause(600.0, None), 600.0)

    def test_five_times_the_99th_percentile_at_least(self) -> None:
        """A model that often pauses has five times its own 99th percentile, if that is more."""
        self.assertEqual(longest_pause(45.0, 9.0), 45.0)
        self.assertEqual(longest_pause(45.0, 9.5), 47.5)

    def test_at_most_two_minutes(self) -> None:
        """What is learned gives at most two minutes; the setting may give more."""
        self.assertEqual(longest_pause(45.0, 24.0), 120.0)
        self.assertEqual(longest_pause(45.0, 25.0), 120.0)
        self.assertEqual(longest_pause(121.0, 25.0), 121.0)

    def test_while_held(self) -> None:
        """With a candidate left the base is that of the first content."""
        self.assertEqual(pause_allowance(12.0, 4000, None), 12.5)
        self.assertEqual(pause_allowance(12.0, 8000, 2.6), 13.0)
        self.assertEqual(pause_allowance(12.0, 8000, 3.0), 15.0)


class PlainTests(SynchronousTestCase):
    """The time to the end of an answer that is not a stream."""

    def test_base(self) -> None:
        """A request without a usable limit has the setting."""
        for tokens in (None, 0, -5):
            self.assertEqual(plain_allowance(180.0, 600.0, tokens, None), 180.0)

    def test_one_second_per_100_tokens(self) -> None:
        """The allowance grows with the completion limit."""
        self.assertEqual(plain_allowance(180.0, 600.0, 4000, None), 220.0)
        self.assertEqual(plain_allowance(180.0, 600.0, 50, None), 180.5)
        self.assertEqual(plain_allowance(180.0, 600.0, 1, None), 180.01)

    def test_at_most_half_the_deadline_is_added(self) -> None:
        """A client that allows for a book does not wait for a book."""
        self.assertEqual(plain_allowance(180.0, 600.0, 30_000, None), 480.0)
        self.assertEqual(plain_allowance(180.0, 600.0, 10**400, None), 480.0)

    def test_three_times_the_95th_percentile_then(self) -> None:
        """Once the model's times are known, the limit of the request says nothing more."""
        self.assertEqual(plain_allowance(180.0, 600.0, 30_000, 10.0), 180.0)
        self.assertEqual(plain_allowance(180.0, 600.0, None, 70.0), 210.0)
