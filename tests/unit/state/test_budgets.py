"""Tests of the accounts of keys: the minute, what is in progress, budgets, and other processes."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.key_policy import KeyRules, Spent, day_of
from autopilot.state.budgets import KeyBudgets, Used

_NOON = 20_000 * 86_400 + 43_200.0


class BudgetsTestCase(SynchronousTestCase):
    """Accounts with two clocks."""

    def setUp(self) -> None:
        """Begin at noon of a day in 2024."""
        self.clock = Clock()
        self.offset = _NOON
        self.budgets = KeyBudgets(self.clock.seconds, self.wall)

    def wall(self) -> float:
        """Return the time of day."""
        return self.clock.seconds() + self.offset

    def code(self, rules: KeyRules) -> str | None:
        """Return the code by which a request would be refused now."""
        error = self.budgets.refusal(rules)
        return None if error is None else error.code

    def fields(self, rules: KeyRules) -> dict[str, str]:
        """Return the header fields of a response."""
        fields = self.budgets.fields(rules)
        return {
            name.decode().removeprefix("x-ratelimit-"): value.decode() for name, value in fields
        }


class LimitTests(BudgetsTestCase):
    """What a key may do at a time."""

    def test_requests_per_minute(self) -> None:
        """In any sixty seconds there are no more, and the error says when the next may come."""
        rules = KeyRules("k", requests_per_minute=2)
        self.budgets.begin(rules)
        self.clock.advance(10)
        self.assertIsNone(self.code(rules))
        self.budgets.begin(rules)
        self.assertEqual(self.fields(rules)["remaining-requests"], "0")
        self.clock.advance(20)
        error = self.budgets.refusal(rules)
        assert error is not None
        self.assertEqual((error.code, error.retry_after), ("key_rate_limited", 30))
        self.clock.advance(29.9)
        self.assertEqual(self.code(rules), "key_rate_limited")
        self.clock.advance(0.1)
        self.assertIsNone(self.code(rules))
        self.budgets.begin(rules)
        self.assertEqual(self.code(rules), "key_rate_limited")
        # A file with a lower limit, read meanwhile, counts what has been sent before.
        error = self.budgets.refusal(KeyRules("k", requests_per_minute=1))
        assert error is not None
        self.assertEqual(error.retry_after, 60)
        self.assertIsNone(self.code(KeyRules("other", requests_per_minute=1)))

    def test_wall_clock_moves_no_minute(self) -> None:
        """A step of the clock of the day changes nothing about the minute."""
        rules = KeyRules("k", requests_per_minute=1)
        self.budgets.begin(rules)
        self.offset += 1e6
        self.assertEqual(self.code(rules), "key_rate_limited")
        self.offset -= 2e6
        self.assertEqual(self.code(rules), "key_rate_limited")

    def test_in_progress(self) -> None:
        """Requests that have ended make room."""
        rules = KeyRules("k", concurrent_requests=2)
        self.budgets.begin(rules)
        self.assertIsNone(self.code(rules))
        self.budgets.begin(rules)
        self.assertEqual(self.code(rules), "key_rate_limited")
        self.budgets.end("k")
        self.assertIsNone(self.code(rules))
        self.assertEqual(self.fields(rules), {})

    def test_budgets(self) -> None:
        """What was spent counts until the day, or the month, is over."""
        rules = KeyRules("k", tokens_per_day=10, picodollars_per_month=9)
        self.budgets.spend("k", 9, 3)
        self.assertIsNone(self.code(rules))
        self.assertEqual(
            self.fields(rules),
            {"limit-tokens": "10", "remaining-tokens": "1", "reset-tokens": "12h0m0s"},
        )
        self.budgets.spend("k", 5, 3)
        self.assertEqual(self.code(rules), "key_budget_exhausted")
        self.assertEqual(self.fields(rules)["remaining-tokens"], "0")
        self.clock.advance(43_200)
        self.assertIsNone(self.code(rules))
        self.assertEqual(self.fields(rules)["remaining-tokens"], "10")
        self.budgets.spend("k", 0, 3)
        self.assertEqual(self.code(rules), "key_budget_exhausted")

    def test_fields(self) -> None:
        """The names are OpenAI's; of two budgets the one with the smaller rest counts."""
        rules = KeyRules("k", requests_per_minute=60, tokens_per_day=500, tokens_per_month=100)
        self.assertEqual(self.fields(rules)["reset-requests"], "0s")
        self.budgets.begin(rules)
        self.clock.advance(0.5)
        self.assertEqual(
            self.fields(rules),
            {
                "limit-requests": "60",
                "remaining-requests": "59",
                "reset-requests": "1m0s",
                "limit-tokens": "100",
                "remaining-tokens": "100",
                "reset-tokens": "27d12h0m0s",
            },
        )


class ProcessTests(BudgetsTestCase):
    """What other processes of the router have used, and what is kept."""

    def setUp(self) -> None:
        """Count the calls."""
        super().setUp()
        self.calls = 0

    def told(self) -> None:
        """Count a call."""
        self.calls += 1

    def test_news(self) -> None:
        """News is summed up by key until it is read; without a reader there is none."""
        rules = KeyRules("k", requests_per_minute=5)
        self.budgets.begin(rules)
        self.assertEqual(self.budgets.news(), [])
        self.budgets.told = self.told
        self.budgets.begin(rules)
        self.budgets.spend("k", 3, 4)
        self.budgets.end("k")
        self.budgets.spend("j", 1, 0)
        self.assertEqual(self.calls, 4)
        self.assertEqual(self.budgets.news(), [Used("k", 1, 0, 3, 4), Used("j", tokens=1)])
        self.assertEqual(self.budgets.news(), [])

    def test_hear(self) -> None:
        """What others use counts as if it were used here."""
        rules = KeyRules("k", requests_per_minute=3, concurrent_requests=2, tokens_per_day=10)
        self.budgets.hear([Used("k", requests=2, in_progress=1, tokens=4)])
        self.budgets.begin(rules)
        self.assertEqual(self.code(rules), "key_rate_limited")
        self.clock.advance(60)
        self.assertEqual(self.code(rules), "key_rate_limited")
        self.budgets.hear([Used("k", in_progress=-1)])
        self.assertIsNone(self.code(rules))
        self.budgets.hear([Used("k", tokens=6)])
        self.assertEqual(self.code(rules), "key_budget_exhausted")
        (now,) = self.budgets.now(["k"])
        self.assertEqual((now.in_progress, now.requests_last_minute, now.tokens_today), (1, 0, 10))

    def test_restore(self) -> None:
        """What was spent before a restart is added to what has been spent since."""
        self.budgets.spend("k", 1, 2)
        self.budgets.restore(
            {"k": Spent(day_of(self.wall()), 10, 20, 100, 200), "old": Spent(19_000, 1, 1, 1, 1)}
        )
        expected = {"k": Spent(day_of(self.wall()), 11, 22, 101, 202)}
        self.assertEqual(self.budgets.spent(), expected)
        self.budgets.raise_to({"k": Spent(day_of(self.wall()) - 1, 500, 5, 200, 5)})
        expected["k"] = Spent(day_of(self.wall()), 11, 22, 200, 202)
        self.assertEqual(self.budgets.spent(), expected)

    def test_at_present(self) -> None:
        """A new process learns of the requests of the last minute and those in progress."""
        rules = KeyRules("k", requests_per_minute=9)
        self.budgets.begin(rules)
        self.budgets.hear([Used("k", requests=1, in_progress=1), Used("j", in_progress=0)])
        self.assertEqual(self.budgets.at_present(), [Used("k", 2, 2)])
        self.clock.advance(60)
        self.budgets.end("k")
        self.budgets.hear([Used("k", in_progress=-1)])
        self.assertEqual(self.budgets.at_present(), [])
