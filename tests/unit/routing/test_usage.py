"""What tokens cost."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.pricing import NO_PRICES, Prices
from autopilot.routing.usage import PICODOLLARS, Usage, cost_of, dollars

_PRICES = Prices(Decimal("0.25"), Decimal("1.1"), Decimal("0.025"))
_tokens = st.integers(0, 999_999_999)
_prices = st.decimals(0, 1_000_000, places=6)


def cost(usage: Usage | None, prices: Prices) -> int | None:
    """Return the cost of an answer of a model with these prices."""
    free = Prices(Decimal(0), Decimal(0))
    catalog = Catalog.of([Model("other", prices=free), Model("m", prices=prices)])
    return cost_of(usage, "m", catalog)


class CostTests(SynchronousTestCase):
    """The cost of one answer."""

    def test_kinds(self) -> None:
        """Each kind of token has its price; reasoning is a part of the completion."""
        for usage, expected in (
            (Usage(1_000_000, None, 0), 250_000_000_000),
            (Usage(1_000_000, 0, 0, 0), 250_000_000_000),
            (Usage(1_000_000, 1_000_000, 0), 25_000_000_000),
            (Usage(1_000_000, 400_000, 0), 160_000_000_000),
            (Usage(0, 0, 1_000_000), 1_100_000_000_000),
            (Usage(0, 0, 1_000_000, 900_000), 1_100_000_000_000),
            (Usage(9, None, 2), 9 * 250_000 + 2 * 1_100_000),
            (Usage(9, 4, 2), 5 * 250_000 + 4 * 25_000 + 2 * 1_100_000),
            (Usage(0, 0, 0), 0),
        ):
            self.assertEqual(cost(usage, _PRICES), expected, usage)

    def test_cached_without_price(self) -> None:
        """Without a price of their own, cached tokens cost what others do."""
        prices = Prices(Decimal("0.25"), Decimal(1))
        self.assertEqual(cost(Usage(4, 4, 0), prices), 1_000_000)

    def test_unknown(self) -> None:
        """Without both counts and both prices there is no cost."""
        whole = Usage(1, 1, 1, 1)
        for usage, prices in (
            (Usage(None, None, 1), _PRICES),
            (Usage(1, 1, None), _PRICES),
            (whole, NO_PRICES),
            (whole, Prices(None, Decimal(1), Decimal(1))),
            (whole, Prices(Decimal(1), None, Decimal(1))),
        ):
            self.assertIsNone(cost(usage, prices))
        self.assertIsNone(cost(None, _PRICES))
        catalog = Catalog.of([Model("m", prices=_PRICES)])
        self.assertIsNone(cost_of(whole, "n", catalog))
        self.assertIsNone(cost_of(whole, "m", None))

    def test_names(self) -> None:
        """A chute's id and a name with a suffix have the prices of their model."""
        catalog = Catalog.of([Model("org/m", chute_id="1-2", prices=_PRICES), Model("org/n")])
        usage = Usage(4, None, 0)
        for name in ("org/m", "1-2", "org/m:THINKING", "org/m:latency", "1-2:THINKING", "ORG/M"):
            self.assertEqual(cost_of(usage, name, catalog), 1_000_000, name)
        for name in ("org/n", "org/n:THINKING", "org/m:NOTHING", "", "3-4"):
            self.assertIsNone(cost_of(usage, name, catalog), name)

    def test_free(self) -> None:
        """A price of 0 is known."""
        zero = Decimal(0)
        self.assertEqual(cost(Usage(5, 2, 7), Prices(zero, zero, zero)), 0)

    @given(_tokens, _tokens, _tokens, _prices, _prices, _prices)
    def test_exact(
        self, plain: int, cached: int, completion: int, one: Decimal, two: Decimal, three: Decimal
    ) -> None:
        """Nothing is rounded: the cost is that of fractions."""
        expected = plain * Fraction(one) + cached * Fraction(three) + completion * Fraction(two)
        usage = Usage(plain + cached, cached, completion)
        exact = expected * PICODOLLARS / 1_000_000
        self.assertEqual(cost(usage, Prices(one, two, three)), exact)

    def test_finer_prices(self) -> None:
        """Prices with more decimal places are rounded once, at the end."""
        prices = Prices(Decimal("0.0000004"), Decimal("0.0000004"))
        self.assertEqual(cost(Usage(1, 0, 1), prices), 1)
        self.assertEqual(cost(Usage(1, 0, 0), prices), 0)
        # Ten prompt tokens at 250,000.4, of which four are cached, at 25,000, and two others.
        prices = Prices(Decimal("0.2500004"), Decimal(1), Decimal("0.025"))
        whole = 6 * 250_000 + 4 * 25_000 + 2 * 1_000_000 + 2  # and 6 * 0.4, rounded
        self.assertEqual(cost(Usage(10, 4, 2), prices), whole)
        without = 10 * 250_000 + 2 * 1_000_000 + 4
        self.assertEqual(cost(Usage(10, None, 2), prices), without)
        prices = Prices(Decimal("0.2500004"), Decimal(1))
        self.assertEqual(cost(Usage(10, 4, 2), prices), without)


class DollarsTests(SynchronousTestCase):
    """Picodollars as text."""

    def test_plain(self) -> None:
        """A plain decimal without an exponent, and without zeros at its end."""
        for amount, text in (
            (0, "0"),
            (1, "0.000000000001"),
            (10, "0.00000000001"),
            (1_050_000_000, "0.00105"),
            (PICODOLLARS, "1"),
            (10 * PICODOLLARS, "10"),
            (1200 * PICODOLLARS + 500_000_000_000, "1200.5"),
            (10**9 * PICODOLLARS + 1, "1000000000.000000000001"),
        ):
            self.assertEqual(dollars(amount), text)
            self.assertEqual(Decimal(text) * PICODOLLARS, amount)


class UsageTests(SynchronousTestCase):
    """The value."""

    def test_frozen(self) -> None:
        """It cannot be changed, and knows nothing by default."""
        self.assertEqual(Usage(), Usage(None, None, None, None))
        self.assertRaises(AttributeError, setattr, Usage(), "prompt", 1)
