"""Tests of how long a ban of the edge lasts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.edge_circuit import (
    FIRST_BAN,
    LONGEST_BAN,
    REMEMBERED,
    EdgeBan,
    ban,
    told_seconds,
)


class BanTests(SynchronousTestCase):
    """The series of bans of one key."""

    def test_doubles(self) -> None:
        """Each ban is twice as long as the one before, up to a day."""
        last, now, seconds = None, 0.0, []
        for _ in range(13):
            last = ban(last, None, now)
            now = last.until
            seconds.append(last.seconds)
        self.assertEqual(seconds[:4], [60.0, 120.0, 240.0, 480.0])
        self.assertEqual(seconds[-3:], [61440.0, LONGEST_BAN, LONGEST_BAN])
        assert last is not None
        self.assertEqual(last.number, 13)

    def test_forgotten(self) -> None:
        """An hour after a ban, or after as long as it was, another series begins."""
        first = ban(None, None, 0.0)
        self.assertEqual(ban(first, None, FIRST_BAN + REMEMBERED - 1).seconds, 120.0)
        self.assertEqual(ban(first, None, FIRST_BAN + REMEMBERED), ban(None, None, 3660.0))
        long = EdgeBan(80_000.0, 80_000.0, 9)
        self.assertEqual(ban(long, None, 159_999.0).number, 10)
        self.assertEqual(ban(long, None, 160_000.0).number, 1)

    def test_told(self) -> None:
        """What the page says counts, within a second and a day; the next one doubles it."""
        told = ban(None, 300.0, 10.0)
        self.assertEqual((told.until, told.seconds), (310.0, 300.0))
        self.assertEqual(ban(told, None, 310.0).seconds, 600.0)
        self.assertEqual(ban(told, 0.0, 310.0).seconds, 1.0)
        self.assertEqual(ban(told, 1e9, 310.0).seconds, LONGEST_BAN)

    @given(st.lists(st.tuples(st.floats(0, 1e5), st.none() | st.floats(0, 1e6)), max_size=50))
    def test_bounds(self, pages: list[tuple[float, float | None]]) -> None:
        """No ban is shorter than a second or longer than a day, or ends before it begins."""
        last, now = None, 0.0
        for pause, told in pages:
            now += pause
            last = ban(last, told, now)
            self.assertTrue(1.0 <= last.seconds <= LONGEST_BAN)
            self.assertAlmostEqual(last.until, now + last.seconds)


class ToldTests(SynchronousTestCase):
    """What a page says."""

    def test_field(self) -> None:
        """A number of seconds in Retry-After counts more than the text; a date does not count."""
        page = b"<p>Try again in 5 minutes</p>"
        self.assertEqual(told_seconds(" 120 ", page), 120.0)
        self.assertEqual(told_seconds("120\t", page), 120.0)
        # Other blanks, and other letters, are no part of a number.
        self.assertEqual(told_seconds("120\n", page), 300.0)
        self.assertEqual(told_seconds("X120", page), 300.0)
        for field in ("Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1.5", "", None):
            self.assertEqual(told_seconds(field, page), 300.0)

    def test_text(self) -> None:
        """A time is read with its unit, behind a word that makes it a wait."""
        for page, seconds in (
            (b"<html>Try again in 5 minutes.</html>", 300.0),
            (b"You are banned for <b>3600</b> seconds", 3600.0),
            (b"Please wait 1 hour", 3600.0),
            (b"retry after 90s", 90.0),
            (b"Blocked for about 1 day.", 86400.0),
            (b"come back in 10 mins", 600.0),
        ):
            self.assertEqual(told_seconds(None, page), seconds, page)

    def test_no_time(self) -> None:
        """Other numbers are no time: a limit, a version, a style, a script."""
        for page in (
            b"",
            b"<html><center><h1>429 Too Many Requests</h1></center><hr>nginx/1.25.3</html>",
            b"60 requests per 1 minute are allowed",
            b"<style>p { transition: all in 5s }</style>",
            b"<script>setTimeout(f, 'wait 9 seconds')</script>",
            b"in 1234567 seconds",
            b"\xff\xfe wait for it",
        ):
            self.assertIsNone(told_seconds(None, page), page)
