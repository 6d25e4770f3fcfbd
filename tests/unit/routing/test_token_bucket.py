"""Tests of the token bucket, beside an edge that counts as nginx does."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.token_bucket import (
    FULL,
    Rate,
    TokenBucket,
    available,
    put_back,
    refilled,
    spent,
    take,
    wait,
    with_one,
    without_gain,
)

USUAL = Rate.of(60)


class TakeTests(SynchronousTestCase):
    """The usual rate: one a second, sixty at once."""

    def _taken(self, calls: int, now: float = 0.0) -> TokenBucket:
        bucket: TokenBucket | None = FULL
        for _ in range(calls):
            assert bucket is not None
            bucket = take(bucket, USUAL, now)
        assert bucket is not None
        return bucket

    def test_burst(self) -> None:
        """A new bucket has a burst, and then a token for each second."""
        empty = self._taken(60)
        self.assertIsNone(take(empty, USUAL, 0.0))
        self.assertIsNone(take(empty, USUAL, 0.99))
        self.assertIsNotNone(take(empty, USUAL, 1.0))
        self.assertEqual(available(empty, USUAL, 90.0), 60.0)
        self.assertEqual(available(empty, USUAL, 0.5), 0.5)

    def test_wait(self) -> None:
        """The wait is the time until the tokens are there, more than a burst of them included."""
        empty = self._taken(60)
        self.assertEqual(wait(FULL, USUAL, 0.0), 0.0)
        self.assertEqual(wait(empty, USUAL, 0.0), 1.0)
        self.assertEqual(wait(empty, USUAL, 0.25), 0.75)
        self.assertEqual(wait(empty, USUAL, 0.0, 90), 90.0)

    def test_several(self) -> None:
        """Several tokens are taken together or not at all, and can be put back."""
        empty = take(FULL, USUAL, 0.0, 60)
        assert empty is not None
        self.assertIsNone(take(FULL, USUAL, 0.0, 61))
        self.assertEqual(available(put_back(empty, 5), USUAL, 0.0), 5.0)
        self.assertEqual(put_back(empty, 500).missing, 0.0)
        later = take(FULL, USUAL, 7.0, 60)
        assert later is not None
        self.assertEqual(put_back(later, 5), TokenBucket(55.0, 7.0))

    def test_spent(self) -> None:
        """Calls that have been made count, whether there were tokens for them or not."""
        self.assertEqual(spent(FULL, USUAL, 7.0, 5), TokenBucket(5.0, 7.0))
        empty = take(FULL, USUAL, 0.0, 60)
        assert empty is not None
        self.assertEqual(spent(empty, USUAL, 1.0, 3), TokenBucket(62.0, 1.0))
        self.assertEqual(spent(FULL, Rate.of(inf), 7.0, 5).missing, 0.0)

    def test_no_limit(self) -> None:
        """An infinite rate never lacks a token, and leaves a full bucket behind."""
        none = Rate.of(inf)
        empty = self._taken(60)
        left = take(empty, none, 0.0, 1000)
        self.assertEqual((left, wait(empty, none, 0.0)), (TokenBucket(), 0.0))
        self.assertEqual(available(empty, none, 0.0), inf)
        self.assertEqual(take(empty, none, 9.0), TokenBucket(0.0, 9.0))

    def test_other_rate(self) -> None:
        """After a change of the rate at most the new burst is missing."""
        self.assertEqual(wait(self._taken(60), Rate.of(6), 0.0), 10.0)
        self.assertEqual(available(self._taken(3), Rate.of(6), 0.0), 3.0)

    def test_share(self) -> None:
        """A part of a rate has that part of both numbers."""
        self.assertEqual(USUAL.shared(0.25), Rate(15, 15))

    def test_clock_steps(self) -> None:
        """A clock that steps back adds nothing, and the bucket fills from the new time on."""
        empty = self._taken(60, 1000.0)
        back = refilled(empty, USUAL, 10.0)
        self.assertEqual((back.missing, back.at), (60.0, 10.0))
        self.assertEqual(available(back, USUAL, 13.0), 3.0)


class EdgeTests(SynchronousTestCase):
    """What passes the bucket passes an edge that counts as `limit_req` of nginx does."""

    @given(
        st.sampled_from((1, 30, 60, 600)),
        st.lists(st.one_of(st.just(0.0), st.floats(0, 90)), max_size=300),
    )
    def test_never_banned(self, per_minute: int, pauses: list[float]) -> None:
        """Whatever the pauses between calls are, the edge never counts one too many."""
        rate, bucket, now, excess, seen = Rate.of(per_minute), FULL, 0.0, 0.0, 0.0
        passed = 0
        for pause in pauses:
            now += pause
            taken = take(bucket, rate, now)
            due = wait(bucket, rate, now)
            self.assertEqual(taken is None, due > 0.0)
            if taken is None:
                continue
            bucket, passed = taken, passed + 1
            # A leaky bucket: it answers 429 as soon as more than the burst is in it.
            excess = max(0.0, excess - (now - seen) * per_minute / 60) + 1
            seen = now
            self.assertLessEqual(excess, per_minute + 1e-3)
        self.assertLessEqual(passed, per_minute + now * per_minute / 60 + 1e-3)

    @given(st.lists(st.floats(-50, 50), min_size=1, max_size=100))
    def test_steps_add_nothing(self, steps: list[float]) -> None:
        """Of a clock that goes back and forth, only the time that passes adds tokens."""
        bucket, now = TokenBucket(60.0, 0.0), 0.0
        gained = 0.0
        for step in steps:
            now += step
            gained += max(0.0, step)
            bucket = refilled(bucket, USUAL, now)
            self.assertAlmostEqual(bucket.missing, max(0.0, 60.0 - gained), 6)


class StartTests(SynchronousTestCase):
    """A bucket of which it is unknown what was taken."""

    def test_one(self) -> None:
        """It has one token, and is full a minute later; what is unlimited stays so."""
        for per_minute in (20.0, 60.0, 120.0):
            rate = Rate.of(per_minute)
            bucket = with_one(rate, 5.0)
            self.assertAlmostEqual(available(bucket, rate, 5.0), 1.0)
            self.assertAlmostEqual(available(bucket, rate, 35.0), 1.0 + per_minute / 2)
            self.assertEqual(available(bucket, rate, 65.0), per_minute)
        self.assertIs(with_one(Rate.of(inf), 5.0), FULL)

    def test_change(self) -> None:
        """A rate that grows adds no token; of one that shrinks as many are missing as before."""
        before = with_one(USUAL, 0.0)
        for per_minute, left in ((30.0, 0.0), (60.0, 10.0), (120.0, 10.0)):
            rate = Rate.of(per_minute)
            bucket = without_gain(before, USUAL, rate, 9.0)
            self.assertAlmostEqual(available(bucket, rate, 9.0), left)
        self.assertIs(without_gain(before, USUAL, Rate.of(inf), 9.0), before)
        self.assertIs(without_gain(before, Rate.of(inf), USUAL, 9.0), before)
