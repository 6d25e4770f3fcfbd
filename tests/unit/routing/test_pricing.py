"""Tests of the prices of models and of their limit."""

from __future__ import annotations

from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.catalog import Model
from autopilot.routing.pricing import NO_PRICES, MaxPrice, Prices

_PRICES = Prices(Decimal("0.3"), Decimal("1.2"), Decimal("0.03"))


class PricesTests(SynchronousTestCase):
    """The prices of a model."""

    def test_unknown(self) -> None:
        """Nothing is known by default."""
        self.assertEqual(Model("m").prices, NO_PRICES)
        self.assertEqual(NO_PRICES, Prices(None, None, None))
        self.assertNotEqual(NO_PRICES, Prices(Decimal(0), Decimal(0), Decimal(0)))


class MaxPriceTests(SynchronousTestCase):
    """The most that a model may cost."""

    def test_each_price_has_its_limit(self) -> None:
        """A price may be as high as its limit; the price of cached tokens has none."""
        for prompt, completion, allowed in (
            ("0.3", "1.2", True),
            ("0.29", "1.2", False),
            ("0.3", "1.19", False),
            ("5", "5", True),
            (None, "1.2", True),
            (None, "1.1", False),
            ("0.3", None, True),
            ("0.2", None, False),
            (None, None, True),
        ):
            limit = MaxPrice(
                None if prompt is None else Decimal(prompt),
                None if completion is None else Decimal(completion),
            )
            self.assertIs(limit.allows(_PRICES), allowed, limit)

    def test_an_unknown_price(self) -> None:
        """A price that is not known is too high, unless its kind has no limit."""
        most = Decimal(1000)
        self.assertFalse(MaxPrice(most, most).allows(NO_PRICES))
        self.assertFalse(MaxPrice(prompt=most).allows(Prices(completion=Decimal(1))))
        self.assertFalse(MaxPrice(completion=most).allows(Prices(prompt=Decimal(1))))
        self.assertTrue(MaxPrice(prompt=most).allows(Prices(prompt=Decimal(1))))
        self.assertTrue(MaxPrice(completion=most).allows(Prices(completion=Decimal(1))))
        self.assertTrue(MaxPrice().allows(NO_PRICES))

    def test_nothing_is_free(self) -> None:
        """A limit of zero allows what costs nothing."""
        nothing = MaxPrice(Decimal(0), Decimal(0))
        self.assertTrue(nothing.allows(Prices(Decimal(0), Decimal("0.0"))))
        self.assertFalse(nothing.allows(_PRICES))


class PerTokenTests(SynchronousTestCase):
    """The picodollars for one token."""

    def test_whole(self) -> None:
        """Prices with up to six decimal places are whole picodollars."""
        prices = Prices(Decimal("0.25"), Decimal("0.000001"), Decimal("0.05"))
        self.assertEqual(prices.per_token(), (250_000, 1, 50_000))
        self.assertEqual(Prices(Decimal(0), Decimal(3)).per_token(), (0, 3_000_000, 0))
        self.assertEqual(
            Prices(Decimal(2), Decimal(3)).per_token(), (2_000_000, 3_000_000, 2_000_000)
        )

    def test_none(self) -> None:
        """Finer prices are not, and unknown ones have no value."""
        one, finer = Decimal(1), Decimal("0.0000001")
        for prices in (
            Prices(finer, one, one),
            Prices(one, finer, one),
            Prices(one, one, finer),
            Prices(None, one, one),
            Prices(one, None, one),
            NO_PRICES,
        ):
            self.assertIsNone(prices.per_token(), prices)
