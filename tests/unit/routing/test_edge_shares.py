"""Tests of the limit of one key that replicas share."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.edge_circuit import EdgeBan
from autopilot.routing.edge_shares import (
    LASTS,
    PROBES_FOR,
    Granted,
    Part,
    Report,
    SharedBucket,
    renewed,
)

EMPTY = SharedBucket(fill=0.0)


class ShareTests(SynchronousTestCase):
    """What a replica gets."""

    def test_first(self) -> None:
        """The first gets everything, the next one nothing until something is returned."""
        bucket, one = renewed(SharedBucket(), Report("1", 0.0, 1.0), 9.0)
        self.assertEqual((one.share, one.fill, one.replicas), (1.0, 1.0, 1))
        bucket, two = renewed(bucket, Report("2", 0.0, 1.0), 9.0)
        self.assertEqual((two.share, two.fill, two.replicas), (0.0, 0.0, 2))
        bucket, one = renewed(bucket, Report("1", 0.5, 0.5, 0.25), 9.0)
        self.assertEqual((one.share, one.fill), (0.5, 0.0))
        bucket, two = renewed(bucket, Report("2", 0.0, 0.5), 9.0)
        self.assertEqual((two.share, two.fill), (0.5, 0.25))

    def test_pool_fills(self) -> None:
        """The pool fills within a minute; clocks that step back add nothing."""
        bucket, _ = renewed(EMPTY, Report("1", 0.0, 0.5), 0.0)
        for now, fill in ((0.0, 0.0), (30.0, 0.25), (10.0, 0.25), (60.0, 0.5), (900.0, 0.5)):
            bucket, _ = renewed(bucket, Report("1", 0.5, 0.5), now)
            self.assertAlmostEqual(bucket.fill, fill)

    def test_grows(self) -> None:
        """Of the pool a replica gets what its growth is of all that it could grow by."""
        bucket = SharedBucket(0.5, 0.0, {"1": Part(0.25, LASTS)})
        after, one = renewed(bucket, Report("1", 0.25, 0.625), 0.0)
        self.assertEqual((one.share, one.fill), (0.625, 0.25))
        self.assertEqual(after.fill, 0.25)
        after, two = renewed(after, Report("2", 0.0, 1.0), 0.0)
        self.assertEqual((two.share, two.fill, after.fill), (0.375, 0.25, 0.0))

    def test_does_not_grow(self) -> None:
        """A replica that wants less, or has what it wants but for rounding, gets nothing."""
        bucket = SharedBucket(0.5, 0.0, {"1": Part(0.5, LASTS)})
        after, one = renewed(bucket, Report("1", 0.5, 0.25), 0.0)
        self.assertEqual((one.share, one.fill, after.fill), (0.25, 0.0, 0.5))
        after, two = renewed(SharedBucket(), Report("2", 0.0, 1e-9), 0.0)
        self.assertEqual((two.share, two.fill), (1e-9, 0.0))

    def test_expires(self) -> None:
        """The part of a replica that is gone is free, without what was in it."""
        bucket, _ = renewed(SharedBucket(), Report("1", 0.0, 1.0), 100.0)
        _, two = renewed(bucket, Report("2", 0.0, 1.0), 100.0 + LASTS - 0.1)
        self.assertEqual(two.share, 0.0)
        _, two = renewed(bucket, Report("2", 0.0, 1.0), 100.0 + LASTS)
        self.assertEqual((two.share, two.fill, two.replicas), (1.0, 0.0, 1))

    def test_leaves(self) -> None:
        """Who wants nothing has no part any more."""
        bucket, _ = renewed(SharedBucket(), Report("1", 0.0, 1.0), 0.0)
        bucket, granted = renewed(bucket, Report("1", 0.0, 0.0, 0.75), 0.0)
        self.assertEqual((granted.share, granted.replicas, bucket.parts), (0.0, 0, {}))
        self.assertEqual(bucket.fill, 0.75)

    def test_lost_data(self) -> None:
        """A replica keeps its part if the store has lost it, and gets no tokens by that."""
        bucket, one = renewed(SharedBucket(), Report("1", 0.5, 0.5), 0.0)
        self.assertEqual((one.share, one.fill, bucket.fill), (0.5, 0.0, 0.5))
        bucket, two = renewed(bucket, Report("2", 0.5, 0.5), 0.0)
        self.assertEqual((two.share, two.fill, bucket.fill), (0.5, 0.0, 0.0))


class BanTests(SynchronousTestCase):
    """Who may find out whether a ban is over."""

    def setUp(self) -> None:
        """Begin a ban."""
        self.now = 0.0
        self.bucket = SharedBucket()
        self.report("1", ban=EdgeBan(60.0, 60.0))

    def report(self, replica: str, **values: object) -> Granted:
        """Report."""
        report = Report(replica, 0.0, 0.0, **values)  # type: ignore[arg-type]
        self.bucket, granted = renewed(self.bucket, report, self.now)
        return granted

    def test_one(self) -> None:
        """No replica while it lasts; then one, until it says no more."""
        self.assertTrue(self.report("2").is_banned)
        self.assertFalse(self.report("2", probes=True).probes)
        self.now = 60.0
        self.assertTrue(self.report("2", probes=True).probes)
        self.assertFalse(self.report("1", probes=True).probes)
        self.now += PROBES_FOR - 1.0
        self.assertTrue(self.report("2", probes=True).probes)
        self.now += PROBES_FOR - 1.0
        self.assertFalse(self.report("1", probes=True).probes)
        self.report("2")
        self.assertTrue(self.report("1", probes=True).probes)
        self.now += PROBES_FOR
        self.assertTrue(self.report("2", probes=True).probes)

    def test_over(self) -> None:
        """Its answer ends the ban, or begins a longer one."""
        self.now = 60.0
        self.report("2", probes=True)
        longer = EdgeBan(180.0, 120.0, 2)
        granted = self.report("2", ban=longer)
        self.assertEqual((granted.ban, granted.is_banned), (longer, True))
        # One that was found before is news no more.
        self.assertEqual(self.report("1", ban=EdgeBan(61.0, 60.0)).ban, longer)
        self.assertEqual(self.bucket.prober, "")
        self.now = 180.0
        self.assertTrue(self.report("1", probes=True).probes)
        granted = self.report("1", is_over=True)
        self.assertEqual((granted.ban, granted.is_banned, granted.probes), (longer, False, False))
        self.assertEqual(self.bucket.prober, "")
        # Who learns late of the ban that is over does not begin it anew.
        self.assertFalse(self.report("2", ban=longer).is_banned)

    def test_others(self) -> None:
        """A replica that does not probe leaves the probe to the one that does."""
        self.now = 60.0
        self.assertTrue(self.report("2", probes=True).probes)
        self.report("1")
        self.assertFalse(self.report("3", probes=True).probes)
        self.report("2")
        self.assertEqual(self.bucket.prober, "")


@dataclass
class _Replica:
    share: float = 0.0
    tokens: float = 0.0
    replicas: int = 1


class ConservationTests(SynchronousTestCase):
    """Any reports, some of whose answers get lost."""

    @given(
        st.lists(
            st.tuples(
                st.integers(0, 3),
                st.floats(0.0, 4.0),
                st.floats(0.0, 1.0),
                st.sampled_from(["renews", "renews", "renews", "leaves", "loses"]),
            ),
            max_size=80,
        )
    )
    def test_never_more(self, steps: list[tuple[int, float, float, str]]) -> None:
        """All tokens are no more than a burst, all parts than the whole, and calls than both."""
        replicas = [_Replica() for _ in range(4)]
        renewed_at = [0.0] * 4
        bucket, now, spent = SharedBucket(), 0.0, 0.0
        for number, passed, spends, what in steps:
            now += passed
            for each in replicas:
                each.tokens = min(each.share, each.tokens + each.share * passed / 60.0)
            for index, at in enumerate(renewed_at):
                if now - at >= LASTS:  # the others take it for gone, so it must be
                    replicas[index] = _Replica()
            replica = replicas[number]
            spent += replica.tokens * spends
            replica.tokens -= replica.tokens * spends
            wants = 0.0 if what == "leaves" else 1.0 / replica.replicas
            returns = 0.0
            if replica.share > wants:
                kept = replica.tokens * wants / replica.share
                returns, replica.tokens, replica.share = replica.tokens - kept, kept, wants
            report = Report(str(number), replica.share, wants, returns)
            bucket, granted = renewed(bucket, report, now)
            renewed_at[number] = now
            if what != "loses":
                replica.share, replica.replicas = granted.share, max(1, granted.replicas)
                replica.tokens = min(replica.share, replica.tokens + granted.fill)
            self.assertLessEqual(sum(each.share for each in replicas), 1.0 + 1e-6)
            tokens = bucket.fill + sum(each.tokens for each in replicas)
            self.assertLessEqual(tokens, 1.0 + 1e-6)
            self.assertLessEqual(spent, 1.0 + now / 60.0 + 1e-6)
