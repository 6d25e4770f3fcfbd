"""Tests of what a key allows: models, routes, budgets by UTC days and months, and its end."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import candidates_of
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.fallbacks import Fallbacks
from autopilot.routing.key_policy import (
    KeyRules,
    Spent,
    at,
    budgets,
    day_of,
    exhausted,
    expired,
    month_ends,
    permit,
    too_many_at_a_time,
    too_many_requests,
    utc,
    with_usage,
)
from autopilot.routing.patterns import NamePattern
from autopilot.routing.plan import Plan
from autopilot.routing.pricing import Prices
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import Mode, Selector, parse_selector

_DAY = 86_400
_PRICED = Prices(Decimal(1), Decimal(2))
_CATALOG = Catalog.of(
    [
        Model("acme/a", chute_id="1", prices=_PRICED),
        Model("acme/b", chute_id="2", prices=_PRICED),
        Model("other/c", chute_id="3"),
    ]
)


def wall(text: str) -> float:
    """Return a UTC time in seconds since 1970."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def patterns(*names: str) -> tuple[NamePattern, ...]:
    """Return patterns."""
    return tuple(map(NamePattern.of, names))


class BudgetTests(SynchronousTestCase):
    """The rest of a budget, and when it begins anew."""

    def test_days_and_months(self) -> None:
        """A new day begins with nothing, a new month too; months end on the first, in any year."""
        spent = with_usage(Spent(day_of(wall("2026-12-31T12:00"))), 5, 7, wall("2026-12-31T23:59"))
        self.assertEqual(spent, Spent(day_of(wall("2026-12-31T00:00")), 5, 7, 5, 7))
        self.assertEqual(utc(month_ends(spent.day)), "2027-01-01T00:00:00Z")
        self.assertEqual(utc(month_ends(day_of(wall("2028-02-29T01:00")))), "2028-03-01T00:00:00Z")
        self.assertEqual(at(spent, wall("2027-01-01T00:00")), Spent(spent.day + 1))
        mid = Spent(day_of(wall("2026-11-05T00:00")), 1, 2, 3, 4)
        later = day_of(wall("2026-11-07T00:00"))
        self.assertEqual(at(mid, wall("2026-11-07T08:00")), Spent(later, 0, 0, 3, 4))

    def test_clock_set_back(self) -> None:
        """Within a day the later date stays, so that midnight gives nothing twice."""
        monday = wall("2026-11-02T00:00:01")
        spent = with_usage(Spent(day_of(monday)), 5, 0, monday)
        back = at(spent, monday - 2)
        self.assertEqual(back, spent)
        self.assertEqual(at(back, monday), spent)

    def test_clock_set_far_back(self) -> None:
        """A later date that was an error is left; the count stays, and ends with the real day."""
        wrong = wall("2036-06-01T00:00")
        spent = with_usage(Spent(day_of(wrong)), 5, 0, wrong)
        now = wall("2026-11-02T12:00")
        self.assertEqual(at(spent, now), Spent(day_of(now), 5, 0, 5, 0))
        self.assertEqual(at(at(spent, now), now + _DAY).tokens_today, 0)

    @given(
        st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 9)), max_size=30),
    )
    def test_no_step_back_gives_anything_back(self, steps: list[tuple[int, int]]) -> None:
        """Whatever the clock does, what was spent today is gone only after a step forward."""
        now = wall("2026-11-15T12:00")
        spent = Spent(day_of(now))
        for days, tokens in steps:
            now += days * _DAY / 2
            before = spent
            spent = with_usage(spent, tokens, 0, now)
            if day_of(now) <= before.day:
                self.assertEqual(spent.tokens_today, before.tokens_today + tokens)
            self.assertLessEqual(spent.tokens_today, spent.tokens_this_month)
            self.assertLessEqual(abs(spent.day - day_of(now)), 1)

    def test_utc(self) -> None:
        """Times for people are in UTC, wherever the machine is."""
        before = os.environ.get("TZ")
        os.putenv("TZ", "XYZ-9")
        time.tzset()
        try:
            self.assertEqual(utc(0.0), "1970-01-01T00:00:00Z")
        finally:
            os.unsetenv("TZ") if before is None else os.putenv("TZ", before)
            time.tzset()

    def test_exhausted(self) -> None:
        """Of several budgets that are spent, the one that lasts longest is named, with its end."""
        rules = KeyRules("k", tokens_per_day=10, tokens_per_month=100, picodollars_per_day=5)
        day = day_of(wall("2026-11-05T00:00"))
        self.assertIsNone(exhausted(rules, Spent(day, 9, 4, 99, 4)))
        error = exhausted(rules, Spent(day, 11, 0, 99, 0))
        assert error is not None
        self.assertEqual((error.status, error.code), (402, "key_budget_exhausted"))
        self.assertEqual(
            error.message,
            "The key 'k' has spent its budget of 10 tokens a day. It begins anew at"
            " 2026-11-06T00:00:00Z.",
        )
        error = exhausted(rules, Spent(day, 10, 5, 100, 5))
        assert error is not None
        self.assertIn("100 tokens a month. It begins anew at 2026-12-01T00:00:00Z", error.message)
        error = exhausted(
            KeyRules("k", picodollars_per_month=5 * 10**11), Spent(day, 0, 0, 0, 10**12)
        )
        assert error is not None
        self.assertIn("of 0.5 dollars a month", error.message)
        self.assertEqual(
            [each.left for each in budgets(rules, Spent(day, 11, 2, 99, 2))], [0, 1, 3]
        )

    def test_other_refusals(self) -> None:
        """Each says what, and when to come back."""
        rules = KeyRules("k", requests_per_minute=3, concurrent_requests=2, expires=100.0)
        self.assertIsNone(expired(rules, 99.9))
        self.assertIsNone(expired(KeyRules("k"), 1e12))
        error = expired(rules, 100.0)
        assert error is not None
        self.assertEqual((error.status, error.code), (401, "unknown_key"))
        self.assertIn("expired at 1970-01-01T00:01:40Z", error.message)
        limited = too_many_requests(rules, 2.1)
        self.assertEqual((limited.status, limited.code), (429, "key_rate_limited"))
        self.assertEqual(limited.retry_after, 3)
        self.assertIn("its 3 requests of this minute. Try again in 3 s.", limited.message)
        self.assertEqual(too_many_requests(rules, 0.0).retry_after, 1)
        busy = too_many_at_a_time(rules)
        self.assertEqual((busy.status, busy.code, busy.retry_after), (429, "key_rate_limited", 1))
        self.assertEqual(
            busy.message,
            "The key 'k' has 2 requests in progress, as many as it may. Try again when one of them"
            " has ended.",
        )

    def test_kinds(self) -> None:
        """Each budget is named by its time and by what it counts."""
        rules = KeyRules(
            "k",
            tokens_per_day=10,
            tokens_per_month=100,
            picodollars_per_day=10**12,
            picodollars_per_month=2 * 10**12,
        )
        self.assertEqual(
            [(each.per, each.kind, each.amount) for each in budgets(rules, Spent(1))],
            [
                ("day", "tokens", "10 tokens"),
                ("month", "tokens", "100 tokens"),
                ("day", "dollars", "1 dollars"),
                ("month", "dollars", "2 dollars"),
            ],
        )


class PermitTests(SynchronousTestCase):
    """Which models and routes a key may use."""

    def permit(
        self, rules: KeyRules, text: str, *models: str, added: tuple[str, ...] = ()
    ) -> tuple[str, ...] | str:
        """Return the models left to a selector whose plan has these, or the refusal's text."""
        routes = {"fast": False, "best": True}
        selector = parse_selector(text, frozenset({"alias"}), 8, routes=routes)
        assert isinstance(selector, Selector)
        planned = Plan(selector.mode, candidates_of(models), added=frozenset(added))
        result = permit(rules, selector, planned, _CATALOG)
        if isinstance(result, RouterError):
            self.assertEqual((result.status, result.code), (403, "model_not_allowed"))
            self.assertEqual(result.param, "model")
            return result.message
        return result.models

    def test_everything(self) -> None:
        """A key with neither list may use everything."""
        self.assertEqual(self.permit(KeyRules("k"), "x", "x"), ("x",))
        self.assertEqual(self.permit(KeyRules("k"), "fast", "x", "y"), ("x", "y"))

    def test_named_models(self) -> None:
        """Names and lists are refused as a whole, with what is not allowed."""
        rules = KeyRules("k", models=patterns("ACME/*"))
        self.assertEqual(self.permit(rules, "acme/a", "acme/a"), ("acme/a",))
        self.assertEqual(self.permit(rules, "2", "2"), ("2",))  # the id of a chute
        self.assertEqual(
            self.permit(rules, "acme/a:latency", "acme/a:latency"), ("acme/a:latency",)
        )
        self.assertEqual(
            self.permit(rules, "acme/a,other/c,3", "acme/a", "other/c", "3"),
            "The key 'k' may not use 'other/c', '3'. The operator's file of keys lists what it may"
            " use.",
        )
        many = ",".join(f"x{number}" for number in range(7))
        self.assertIn("'x4' and 2 more", str(self.permit(rules, many, "acme/a")))
        five = ",".join(f"x{number}" for number in range(5))
        self.assertIn("'x3', 'x4'. The", str(self.permit(rules, five, "acme/a")))

    def test_alias(self) -> None:
        """The router chooses among the models that the key may use."""
        rules = KeyRules("k", models=patterns("*/b", "other/c"))
        self.assertEqual(
            self.permit(rules, "alias", "acme/a", "acme/b", "other/c"), ("acme/b", "other/c")
        )
        self.assertEqual(
            self.permit(rules, "alias", "acme/a"),
            "The key 'k' may use none of the models that are available for this request. The"
            " operator's file of keys lists what it may use.",
        )
        self.assertEqual(
            self.permit(
                rules, "other/c,alias", "other/c", "acme/a", "acme/b", added=("acme/a", "acme/b")
            ),
            ("other/c", "acme/b"),
        )

    def test_routes(self) -> None:
        """A route that the key may use brings all its models; one kind of list is not the other."""
        rules = KeyRules("k", routes=patterns("f*"))
        self.assertEqual(self.permit(rules, "fast", "acme/a", "other/c"), ("acme/a", "other/c"))
        self.assertIn("may not use 'best'", str(self.permit(rules, "best", "acme/a")))
        self.assertIn("may not use 'acme/a'", str(self.permit(rules, "acme/a", "acme/a")))
        self.assertIn("may use none", str(self.permit(rules, "alias", "acme/a")))
        only = KeyRules("k", models=patterns("acme/a"))
        self.assertIn("may not use 'fast'", str(self.permit(only, "fast", "acme/a")))
        both = KeyRules("k", models=patterns("acme/a"), routes=patterns("best"))
        found = self.permit(both, "acme/a,best", "acme/a", "other/c", added=("other/c",))
        self.assertEqual(found, ("acme/a", "other/c"))
        other = KeyRules("k", models=patterns("acme/b"), routes=patterns("fast"))
        found = self.permit(
            other, "fast,alias", "acme/a", "acme/b", "other/c", added=("acme/b", "other/c")
        )
        self.assertEqual(found, ("acme/a", "acme/b"))
        found = self.permit(both, "best,alias", "acme/a", "other/c", added=("acme/a", "other/c"))
        self.assertEqual(found, ("acme/a",))

    def test_prices(self) -> None:
        """A budget in dollars leaves out what has no price, and refuses where nothing else is."""
        rules = KeyRules("k", picodollars_per_day=1)
        self.assertEqual(self.permit(rules, "alias", "other/c", "acme/a"), ("acme/a",))
        self.assertEqual(self.permit(rules, "acme/a", "acme/a"), ("acme/a",))
        self.assertEqual(
            self.permit(rules, "other/c,x", "other/c", "x"),
            "The key 'k' has a budget in dollars, and the catalog has no price for 'other/c', 'x'."
            " Choose a model with a price.",
        )

    def test_half_a_price(self) -> None:
        """With the price of prompts or of completions alone, a cost could not be counted."""
        for prices in (Prices(Decimal(1), None), Prices(None, Decimal(1))):
            catalog = Catalog.of([Model("m", prices=prices)])
            selector = parse_selector("m", frozenset(), 8)
            assert isinstance(selector, Selector)
            planned = Plan(Mode.DIRECT, candidates_of(("m",)))
            result = permit(KeyRules("k", picodollars_per_day=1), selector, planned, catalog)
            self.assertIsInstance(result, RouterError)

    def test_both(self) -> None:
        """A key with models and a budget in dollars may use those with a price."""
        rules = KeyRules("k", models=patterns("*"), picodollars_per_day=1)
        self.assertEqual(self.permit(rules, "alias", "other/c", "acme/a"), ("acme/a",))

    def sticky(self, rules: KeyRules, *models: str, sticky: bool = True) -> bool:
        """Return whether the plan of the alias with these models is sticky for a key."""
        selector = parse_selector("alias", frozenset({"alias"}), 8)
        assert isinstance(selector, Selector)
        planned = Plan(Mode.ALIAS, candidates_of(models), sticky=sticky)
        result = permit(rules, selector, planned, _CATALOG)
        assert isinstance(result, Plan)
        self.assertNotEqual(result.models, models)
        return result.sticky

    def test_sticky(self) -> None:
        """A plan is sticky as long as the key may use its first candidate, and never else."""
        for rules in (
            KeyRules("k", models=patterns("acme/*")),
            KeyRules("k", picodollars_per_day=1),
        ):
            self.assertIs(self.sticky(rules, "other/c", "acme/a"), False)
            self.assertIs(self.sticky(rules, "acme/a", "other/c"), True)
            self.assertIs(self.sticky(rules, "acme/a", "other/c", sticky=False), False)


class FallbackTests(SynchronousTestCase):
    """What a key may use of other services (docs/fallbacks.md)."""

    RESORT = Fallbacks.of((("x", ("m", "n"), "n"), ("y", ("m",), "m"))).resort

    def permit(self, rules: KeyRules, planned: Plan) -> Plan | RouterError:
        """Return what a key leaves of the plan of an alias."""
        selector = parse_selector("alias", frozenset({"alias"}), 8)
        assert isinstance(selector, Selector)
        return permit(rules, selector, planned, _CATALOG)

    def refused(self, rules: KeyRules, planned: Plan) -> str:
        """Return the message of the refusal."""
        error = self.permit(rules, planned)
        assert isinstance(error, RouterError), error
        self.assertEqual((error.status, error.code), (403, "model_not_allowed"))
        return error.message

    def test_last_resort(self) -> None:
        """A key with a list of models needs their names in it."""
        planned = Plan(Mode.ALIAS, candidates_of(("acme/a",)), resort=self.RESORT)
        self.assertEqual(self.permit(KeyRules("k"), planned), planned)
        for names, resort in (
            (("*",), self.RESORT),
            (("acme/*", "@x/*"), self.RESORT[:1]),
            (("acme/*", "@y/m"), self.RESORT[1:]),
            (("acme/*",), ()),
        ):
            rules = KeyRules("k", models=patterns(*names))
            expected = Plan(Mode.ALIAS, planned.candidates, resort=resort)
            self.assertEqual(self.permit(rules, planned), expected, names)

    def test_nothing_else(self) -> None:
        """The same holds where the last resort is all that there is."""
        planned = Plan(Mode.ALIAS, self.RESORT, resorted=True)
        for names, kept in ((("@*",), self.RESORT), (("@y/*",), self.RESORT[1:])):
            rules = KeyRules("k", models=patterns(*names))
            expected = Plan(Mode.ALIAS, kept, resorted=True)
            self.assertEqual(self.permit(rules, planned), expected, names)
        rules = KeyRules("k", models=patterns("acme/*"))
        self.assertIn("may use none of the models", self.refused(rules, planned))

    def test_resort_of_a_list(self) -> None:
        """It is the router's choice behind a list, too, and behind a route with the alias."""
        planned = Plan(Mode.LIST, self.RESORT, resorted=True)
        for text, routes in (("acme/a,acme/b", {}), ("fast", {"fast": True})):
            selector = parse_selector(text, frozenset({"alias"}), 8, routes=routes)
            assert isinstance(selector, Selector)
            rules = KeyRules("k", models=patterns("acme/*", "@x/n"), routes=patterns("fast"))
            found = permit(rules, selector, planned, _CATALOG)
            self.assertEqual(found, Plan(Mode.LIST, self.RESORT[:1], resorted=True), text)

    def test_budget_in_dollars(self) -> None:
        """Other services have no price, so such a key uses none."""
        rules = KeyRules("k", picodollars_per_day=1)
        planned = Plan(Mode.ALIAS, candidates_of(("acme/a",)), True, resort=self.RESORT)
        expected = Plan(Mode.ALIAS, planned.candidates, True)
        self.assertEqual(self.permit(rules, planned), expected)
        self.assertIn(
            "no price for '@x/n', '@y/m'.", self.refused(rules, Plan(Mode.ALIAS, self.RESORT))
        )
