"""The ranking, compared with an independent calculation, for any feed."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.ranking import PRIVATE_NAME, Load, rank, score

shares = st.one_of(
    st.none(),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.floats(0, 1.5, allow_nan=False, allow_infinity=False),
)
chutes = st.one_of(st.none(), st.sampled_from(["id-0", "id-1", "id-2", "id-3", "id-x"]))
loads = st.builds(
    Load,
    name=st.sampled_from(["m0", "m1", "m2-TEE", "m3-TEE", "other", "other-TEE", PRIVATE_NAME]),
    chute_id=chutes,
    active_instance_count=st.integers(0, 40),
    utilization_current=shares,
    utilization_5m=shares,
    utilization_15m=shares,
    utilization_1h=shares,
    rate_limit_ratio_5m=shares,
    rate_limit_ratio_15m=shares,
    rate_limit_ratio_1h=shares,
    scalable=st.booleans(),
    scale_allowance=st.one_of(st.none(), st.integers(0, 20)),
)
feeds = st.lists(loads, max_size=12)
catalogs = st.one_of(
    st.none(),
    st.just(Catalog.of([])),
    st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True).map(
        lambda picked: Catalog.of(
            Model(("m0", "m1", "m2-TEE", "m3-TEE")[at], None if at == 1 else f"id-{at}")
            for at in picked
        )
    ),
)
quick = settings(deadline=None, max_examples=200)


def _known(*values: float | None) -> Fraction:
    """Return the first value that is not null, exactly."""
    return Fraction(next(value for value in values if value is not None))


def _exact(load: Load) -> tuple[Fraction, Fraction, Fraction]:
    """Return free capacity, bonus and penalty as fractions."""
    now, u5, u15, u1h = (
        load.utilization_current,
        load.utilization_5m,
        load.utilization_15m,
        load.utilization_1h,
    )
    r5, r15, r1h = (
        load.rate_limit_ratio_5m,
        load.rate_limit_ratio_15m,
        load.rate_limit_ratio_1h,
    )
    util = (
        6 * _known(u5, now, 1.0) + 3 * _known(u15, u5, now, 1.0) + _known(u1h, u15, u5, now, 1.0)
    ) / 10
    limited = max(_known(r5, 0.0), _known(r15, r5, 0.0) / 2, _known(r1h, r15, r5, 0.0) / 4)
    free = load.active_instance_count * max(Fraction(0), 1 - util)
    bonus = Fraction(min(load.scale_allowance or 0, 8), 20) if load.scalable else Fraction(0)
    return free, bonus, 2 * load.active_instance_count * limited


class ScoreProperties(SynchronousTestCase):
    """One record."""

    @quick
    @given(loads)
    def test_the_formula(self, load: Load) -> None:
        """Every part equals exact arithmetic, except for a float's last digits."""
        ranked = score(load)
        free, bonus, penalty = _exact(load)
        for part, exact in (
            (ranked.free, free),
            (ranked.bonus, bonus),
            (ranked.penalty, penalty),
            (ranked.score, free + bonus - penalty),
        ):
            self.assertTrue(math.isclose(part, exact, rel_tol=1e-12, abs_tol=1e-12), (part, exact))
        self.assertEqual(ranked.score, ranked.free + ranked.bonus - ranked.penalty)

    @quick
    @given(loads, st.floats(0, 1), st.floats(0, 1))
    def test_busier_is_never_better(self, load: Load, less: float, more: float) -> None:
        """More load, or more refusals, never raises a score."""
        less, more = sorted((less, more))
        for low, high in (
            (replace(load, utilization_5m=less), replace(load, utilization_5m=more)),
            (replace(load, rate_limit_ratio_5m=less), replace(load, rate_limit_ratio_5m=more)),
            (replace(load, rate_limit_ratio_1h=less), replace(load, rate_limit_ratio_1h=more)),
        ):
            self.assertGreaterEqual(score(low).score + 1e-9, score(high).score)


class RankProperties(SynchronousTestCase):
    """A feed."""

    @quick
    @given(feeds, catalogs, st.randoms(use_true_random=False))
    def test_permutation_invariance(
        self, feed: list[Load], catalog: Catalog | None, random: Random
    ) -> None:
        """The order of the records does not matter, even with repetitions."""
        shuffled = list(feed)
        random.shuffle(shuffled)
        self.assertEqual(rank(feed, catalog), rank(shuffled, catalog))

    @quick
    @given(feeds, catalogs)
    def test_a_total_order(self, feed: list[Load], catalog: Catalog | None) -> None:
        """Each name occurs once, and the order is strict."""
        ranking = rank(feed, catalog)
        self.assertEqual(len({ranked.name for ranked in ranking}), len(ranking))
        keys = [
            (
                -ranked.score,
                -ranked.active_instance_count,
                ranked.utilization_current,
                ranked.rate_limit_ratio_5m,
                ranked.name,
            )
            for ranked in ranking
        ]
        for one, next_one in pairwise(keys):
            self.assertLess(one, next_one)

    @quick
    @given(feeds, catalogs)
    def test_who_is_in(self, feed: list[Load], catalog: Catalog | None) -> None:
        """The ranking has exactly the public models with an instance and an admitted name."""
        expected = set()
        for load in feed:
            if load.name == PRIVATE_NAME or load.active_instance_count == 0:
                continue
            if not catalog:
                expected |= {load.name} if load.name.endswith("-TEE") else set()
            elif load.chute_id in catalog.by_chute:
                expected.add(catalog.by_chute[load.chute_id or ""])
            elif load.name in catalog:
                expected.add(load.name)
        self.assertEqual({ranked.name for ranked in rank(feed, catalog)}, expected)

    @quick
    @given(feeds, catalogs)
    def test_each_entry_is_the_score_of_a_record(
        self, feed: list[Load], catalog: Catalog | None
    ) -> None:
        """Each entry is the score of a record."""
        for ranked in rank(feed, catalog):
            self.assertIn(ranked, [score(load, ranked.name) for load in feed])
