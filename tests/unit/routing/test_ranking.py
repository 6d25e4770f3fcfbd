"""Tests of the ranking: its formula, computed by hand, and which records count."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.ranking import Load, Ranked, excluded, rank, ranking_steps, score
from autopilot.routing.steps import STEP

FULL = Load(
    name="acme/M",
    chute_id="id-m",
    active_instance_count=4,
    utilization_current=0.9,
    utilization_5m=0.5,
    utilization_15m=0.25,
    utilization_1h=0.75,
    rate_limit_ratio_5m=0.01,
    rate_limit_ratio_15m=0.04,
    rate_limit_ratio_1h=0.06,
    scalable=True,
    scale_allowance=3,
)


def _idle(name: str, instances: int = 1, chute_id: str | None = None) -> Load:
    return Load(name, chute_id, instances, utilization_5m=0.0)


def _names(*loads: Load, catalog: Catalog | None = None) -> list[str]:
    return [ranked.name for ranked in rank(loads, catalog)]


class ScoreTests(SynchronousTestCase):
    """One record's score and its parts."""

    def near(self, actual: float, expected: float) -> None:
        """Assert equality up to rounding errors."""
        self.assertAlmostEqual(actual, expected, places=12)

    def test_every_part(self) -> None:
        """With all windows known, each part follows the formula."""
        ranked = score(FULL)
        self.near(ranked.util, 0.6 * 0.5 + 0.3 * 0.25 + 0.1 * 0.75)  # 0.45
        self.near(ranked.free, 2.2)
        self.near(ranked.bonus, 0.15)
        self.near(ranked.rate_limit, 0.02)  # half of the 15 minutes' is the most
        self.near(ranked.penalty, 0.16)
        self.near(ranked.score, 2.19)
        self.assertEqual(ranked.active_instance_count, 4)
        self.assertEqual(ranked.utilization_current, 0.9)
        self.assertEqual(ranked.rate_limit_ratio_5m, 0.01)

    def test_the_name(self) -> None:
        """A record ranks under its own name, or under the catalog's."""
        self.assertEqual(score(FULL).name, "acme/M")
        self.assertEqual(score(FULL, "acme/N").name, "acme/N")

    def test_longer_windows_fall_back_on_shorter_ones(self) -> None:
        """A missing hour counts as the 15 minutes, missing 15 minutes as the 5."""
        self.near(score(replace(FULL, utilization_1h=None)).util, 0.3 + 0.075 + 0.025)
        no_15m = replace(FULL, utilization_15m=None)
        self.near(score(no_15m).util, 0.3 + 0.15 + 0.075)
        self.near(score(replace(no_15m, utilization_1h=None)).util, 0.5)

    def test_utilization_now_stands_in_for_five_minutes(self) -> None:
        """Missing 5 minutes count as the current value, and with that missing as full."""
        load = Load("m", None, 2, utilization_current=0.25)
        self.near(score(load).util, 0.25)
        self.near(score(load).free, 1.5)
        blind = score(Load("m", None, 2))
        self.near(blind.util, 1.0)
        self.near(blind.free, 0.0)
        self.near(blind.score, 0.0)
        self.assertEqual(blind.utilization_current, 1.0)

    def test_five_minutes_stand_in_for_utilization_now(self) -> None:
        """The tie-break on current utilization falls back on the 5 minutes'."""
        self.assertEqual(score(replace(FULL, utilization_current=None)).utilization_current, 0.5)

    def test_rate_limits_fall_back_too(self) -> None:
        """Missing ratios count as the shorter window's, and as zero when none is known."""
        self.near(score(replace(FULL, rate_limit_ratio_15m=None)).rate_limit, 0.015)
        only_5m = replace(FULL, rate_limit_ratio_15m=None, rate_limit_ratio_1h=None)
        self.near(score(only_5m).rate_limit, 0.01)
        no_5m = replace(FULL, rate_limit_ratio_5m=None)
        self.near(score(no_5m).rate_limit, 0.02)
        self.assertEqual(score(no_5m).rate_limit_ratio_5m, 0.0)
        self.assertEqual(score(Load("m", None, 1)).rate_limit, 0.0)

    def test_each_window_can_be_the_worst(self) -> None:
        """The largest of the weighted ratios counts."""
        self.near(score(replace(FULL, rate_limit_ratio_5m=0.5)).rate_limit, 0.5)
        self.near(score(replace(FULL, rate_limit_ratio_1h=0.8)).rate_limit, 0.2)

    def test_zero_is_a_value(self) -> None:
        """An idle window is idle, not unknown."""
        load = replace(FULL, utilization_5m=0.0, rate_limit_ratio_5m=0.0)
        self.near(score(load).util, 0.15)
        idle_hour = replace(FULL, utilization_1h=0.0, rate_limit_ratio_15m=0.0)
        self.near(score(idle_hour).util, 0.375)
        self.near(score(idle_hour).rate_limit, 0.015)

    def test_over_full_is_no_debt(self) -> None:
        """Utilization above 1 leaves no free capacity, but not negative capacity."""
        self.assertEqual(score(replace(FULL, utilization_5m=2.0)).free, 0.0)

    def test_growth_counts_up_to_eight_and_only_when_scalable(self) -> None:
        """The bonus is 0.05 for each instance that may be added, up to eight."""
        self.near(score(replace(FULL, scale_allowance=8)).bonus, 0.4)
        self.near(score(replace(FULL, scale_allowance=9)).bonus, 0.4)
        self.near(score(replace(FULL, scale_allowance=7)).bonus, 0.35)
        self.assertEqual(score(replace(FULL, scale_allowance=None)).bonus, 0.0)
        self.assertEqual(score(replace(FULL, scalable=False)).bonus, 0.0)

    def test_a_score_can_be_negative(self) -> None:
        """A model that rejects most requests ranks below one that is merely full."""
        self.near(score(replace(FULL, rate_limit_ratio_5m=1.0)).score, 2.2 + 0.15 - 8)


class EligibilityTests(SynchronousTestCase):
    """Which records are ranked."""

    catalog = Catalog.of([Model("acme/A", "id-a"), Model("acme/B", "id-b"), Model("acme/C")])

    def test_private_chutes_never_do(self) -> None:
        """The placeholder for private chutes never ranks, even if the catalog lists it."""
        private = _idle("[private chute]", chute_id="id-a")
        self.assertEqual(_names(private, catalog=self.catalog), [])
        self.assertEqual(
            _names(private, catalog=Catalog.of([Model("[private chute]", "id-a")])), []
        )

    def test_a_model_needs_an_active_instance(self) -> None:
        """Cold models are left out."""
        cold, warm = _idle("acme/A", 0), _idle("acme/B", 1)
        self.assertEqual(_names(cold, warm, catalog=self.catalog), ["acme/B"])

    def test_the_catalog_is_joined_on_the_chute(self) -> None:
        """A record matched by its chute ranks under the catalog's name."""
        self.assertEqual(
            _names(_idle("renamed", chute_id="id-b"), catalog=self.catalog), ["acme/B"]
        )

    def test_else_on_the_name(self) -> None:
        """A record whose chute is unknown or missing is matched by its name."""
        self.assertEqual(_names(_idle("acme/C", chute_id="id-z"), catalog=self.catalog), ["acme/C"])
        self.assertEqual(_names(_idle("acme/A"), catalog=self.catalog), ["acme/A"])

    def test_what_the_catalog_lacks_is_left_out(self) -> None:
        """With a catalog, a model that is not in it does not rank, whatever its suffix."""
        self.assertEqual(_names(_idle("acme/X-TEE", chute_id="id-z"), catalog=self.catalog), [])

    def test_without_a_catalog_only_tee_names(self) -> None:
        """Before the first catalog, and with an empty one, only names ending in -TEE rank."""
        loads = [_idle("acme/A"), _idle("acme/A-TEE", 2), _idle("B-TEE"), _idle("C-TEE-x")]
        loads.append(_idle("d-tee"))
        for catalog in (None, Catalog.of([])):
            self.assertEqual(_names(*loads, catalog=catalog), ["acme/A-TEE", "B-TEE"])

    def test_a_model_ranks_once(self) -> None:
        """Of two records of one model the better one counts."""
        ranking = rank([_idle("acme/C", 1), _idle("acme/C", 3), _idle("acme/C", 2)], self.catalog)
        self.assertEqual([(ranked.name, ranked.score) for ranked in ranking], [("acme/C", 3.0)])

    def test_even_records_of_one_model(self) -> None:
        """Of two records with equal scores, all parts come from the same record."""
        full = replace(_idle("acme/C"), utilization_current=2.0, utilization_5m=2.0)
        over = replace(full, utilization_1h=3.0)
        for loads in ([full, over], [over, full]):
            self.assertEqual(rank(loads, self.catalog), (score(full),))

    def test_the_record_of_the_chute_counts_before_a_namesake(self) -> None:
        """Another chute of the same name does not add its free instances to a model."""
        own, namesake = _idle("acme/A", 1, "id-a"), _idle("acme/A", 9, "id-z")
        for loads in ([own, namesake], [namesake, own]):
            self.assertEqual([each.score for each in rank(loads, self.catalog)], [1.0])


class ExcludedTests(SynchronousTestCase):
    """The records outside the ranking, each with its reason."""

    CATALOG = Catalog.of([Model("acme/M", "id-m"), Model("acme/N", "id-n")])

    def reasons(self, *loads: Load, catalog: Catalog | None = CATALOG) -> list[tuple[str, str]]:
        """Return names and reasons; check that each record is either ranked or excluded."""
        found = excluded(loads, catalog)
        self.assertEqual(len(found) + len(rank(loads, catalog)), len(loads))
        return [(each.name, each.reason.value) for each in found]

    def test_each_reason(self) -> None:
        """The order is the feed's, and the first reason that applies is named."""
        self.assertEqual(
            self.reasons(
                _idle("[private chute]"),
                _idle("[private chute]", 0, "id-m"),
                _idle("acme/M"),
                _idle("acme/N", 0),
                _idle("acme/X"),
                _idle("acme/X", 0),
            ),
            [
                ("[private chute]", "private"),
                ("[private chute]", "private"),
                ("acme/N", "no_instances"),
                ("acme/X", "not_in_catalog"),
                ("acme/X", "no_instances"),
            ],
        )

    def test_without_a_catalog(self) -> None:
        """Without a catalog the reason is the missing suffix."""
        for catalog in (None, Catalog.of(())):
            found = self.reasons(_idle("a-TEE"), _idle("b"), catalog=catalog)
            self.assertEqual(found, [("b", "no_catalog")])

    def test_another_record(self) -> None:
        """Of two records of one model the superseded one is named, under its own name."""
        better, worse = _idle("acme/old", 2, "id-m"), _idle("acme/M", 3)
        self.assertEqual(self.reasons(better, worse), [("acme/M", "superseded")])
        self.assertEqual(self.reasons(worse, better), [("acme/M", "superseded")])
        self.assertEqual(self.reasons(worse, replace(worse)), [("acme/M", "superseded")])

    def test_nothing(self) -> None:
        """An empty feed and a fully ranked feed have no excluded records."""
        self.assertEqual(self.reasons(), [])
        self.assertEqual(self.reasons(_idle("acme/M")), [])


class OrderTests(SynchronousTestCase):
    """The order of the ranking and its tie-breaks."""

    def order(self, *ranked: Load) -> list[str]:
        """Return the names in order, from records that rank without a catalog."""
        forward, backward = _names(*ranked), _names(*reversed(ranked))
        self.assertEqual(forward, backward)
        return forward

    def test_score_first(self) -> None:
        """The higher score goes first."""
        few = Load("a-TEE", None, 1, utilization_5m=0.0)
        many = Load("b-TEE", None, 10, utilization_5m=0.95)
        self.assertEqual(self.order(many, few), ["a-TEE", "b-TEE"])

    def test_then_more_instances(self) -> None:
        """Of equal scores the one with more instances comes first."""
        small = Load("a-TEE", None, 1, utilization_5m=0.5)
        large = Load("b-TEE", None, 2, utilization_5m=0.75)
        self.assertEqual(score(small).score, score(large).score)
        self.assertEqual(self.order(small, large), ["b-TEE", "a-TEE"])

    def test_then_less_utilization_now(self) -> None:
        """Next, the one with the lower current utilization."""
        busy = Load("a-TEE", None, 2, utilization_current=0.6, utilization_5m=0.5)
        calm = Load("b-TEE", None, 2, utilization_current=0.4, utilization_5m=0.5)
        plain = Load("c-TEE", None, 2, utilization_5m=0.5)
        self.assertEqual(self.order(busy, calm, plain), ["b-TEE", "c-TEE", "a-TEE"])

    def test_then_fewer_refusals(self) -> None:
        """Next, the one with the lower rate-limit ratio of the last 5 minutes."""
        more = Load("a-TEE", None, 2, 0.5, rate_limit_ratio_5m=0.25)
        less = Load("b-TEE", None, 2, 0.5, rate_limit_ratio_5m=0.125, rate_limit_ratio_15m=0.5)
        none = Load("c-TEE", None, 2, 0.5, rate_limit_ratio_1h=1.0)
        self.assertEqual({score(each).score for each in (more, less, none)}, {0.0})
        self.assertEqual(self.order(more, less, none), ["c-TEE", "b-TEE", "a-TEE"])

    def test_then_the_name(self) -> None:
        """Last, the name decides, so that no tie remains."""
        self.assertEqual(self.order(_idle("b-TEE"), _idle("a-TEE")), ["a-TEE", "b-TEE"])

    def test_equal_scores_from_different_parts(self) -> None:
        """Two records of one model that tie in every rank give the same entry in either order."""
        one = Load("a-TEE", None, 1, 0.5, 0.5)
        two = Load("a-TEE", None, 1, 0.5, 0.6, scalable=True, scale_allowance=2)
        first, second = rank([one, two], None), rank([two, one], None)
        self.assertEqual(first, second)
        self.assertIsInstance(first[0], Ranked)


class LargeFeedTests(SynchronousTestCase):
    """Feeds that take more than one step to rank."""

    COUNT = 2 * STEP + 76

    def loads(self, count: int) -> list[Load]:
        """Return records in no order of their scores, with one in each step that does not rank."""
        places = [(place * 7) % count for place in range(count)]
        assert len(set(places)) == count
        return [
            _idle("private" if place % STEP == 5 else f"m{place:04}-TEE", place + 1)
            for place in places
        ]

    def test_the_order_is_that_of_one_sort(self) -> None:
        """Every model ranks once, best first, whatever step its record falls into."""
        for count in (STEP, STEP + 1, 2 * STEP, self.COUNT):
            loads = self.loads(count)
            kept = [each for each in loads if each.name != "private"]
            expected = sorted(kept, key=lambda each: -each.active_instance_count)
            self.assertEqual(_names(*loads), [each.name for each in expected], count)
            self.assertEqual(_names(*kept), [each.name for each in expected], count)

    def test_no_step_handles_more(self) -> None:
        """Records are scored, sorted and merged, with a pause after each `STEP` of them."""
        for count, pauses in (
            *((0, 0), (1, 0), (STEP - 1, 0)),
            (STEP, 1),  # one while scoring; a single part needs no merge
            (2 * STEP, 2 + 1 + 2),
            (2 * STEP + 1, 2 + 2 + 2),
        ):
            loads = [_idle(f"m{place:04}-TEE", place + 1) for place in range(count)]
            found = sum(1 for _ in ranking_steps(loads, None))
            self.assertEqual(found, pauses, count)
