"""The limits of an account that an upstream states."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.account_limits import quota_left, quota_resets, read_limit

TOTAL, REMAINING = b"x-chutes-quota-total", b"x-chutes-quota-remaining"


class LimitTests(SynchronousTestCase):
    """What counts as a number."""

    def test_values(self) -> None:
        """Digits, and the infinity of a private chute."""
        for value, number in (
            (b"0", 0),
            (b"2000", 2000),
            (b"007", 7),
            (b" 60 ", 60),
            (b"9" * 18, 10**18 - 1),
            (b"inf", inf),
            (b"Inf", inf),
        ):
            self.assertEqual(read_limit(value), number, value)

    def test_garbage(self) -> None:
        """Anything else states nothing."""
        for value in (
            *(None, b"", b"-1", b"+1", b"1.5", b"1e3", b"nan", b"-inf", b"60, 60;w=60", b"1 2"),
            *(b"9" * 19, b"infinity", b"\xb2", "\u0663".encode(), b"0x10", b"1_000"),
        ):
            self.assertIsNone(read_limit(value), value)

    def test_quota_resets(self) -> None:
        """The time is one with an offset, in the body of a 402."""
        for text, expected in (
            (b'{"detail":{"quota_reset_timestamp":"2026-02-19T00:00:00+00:00"}}', 1_771_459_200.0),
            (b'{"quota_reset_timestamp" : "2026-02-19T00:00:00Z"}', 1_771_459_200.0),
            (b'{"quota_reset_timestamp":"2026-02-19T00:00:00"}', None),
            (b'{"quota_reset_timestamp":"2026-99-19T00:00:00Z"}', None),
            (b'{"quota_reset_timestamp":"tomorrow"}', None),
            (b"{}", None),
        ):
            self.assertEqual(quota_resets(text), expected, text)

    def test_quota_left(self) -> None:
        """The share needs both numbers, and a quota."""
        for total, remaining, share in (
            (b"2000", b"500", 0.25),
            (b"2000", b"0", 0),
            (b"0", b"0", None),
            (b"inf", b"5", None),
            (b"2000", b"inf", inf),
            (b"x", b"5", None),
            (b"2000", b"x", None),
        ):
            self.assertEqual(quota_left({TOTAL: total, REMAINING: remaining}), share)
        self.assertIsNone(quota_left({TOTAL: b"1"}))
        self.assertIsNone(quota_left({REMAINING: b"1"}))
