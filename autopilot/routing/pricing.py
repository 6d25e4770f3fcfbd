"""The prices of a model, and the limit that a route may set on them.

Amounts are US dollars per million tokens, as in the catalog, and exact: sums of rounded binary
fractions would differ from the platform's bill.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct


class Prices(Struct, frozen=True, gc=False):
    """The dollars for a million tokens of each kind; None if the catalog does not state a price.

    ``cached_prompt`` is the price of prompt tokens that the platform's cache had.
    """

    prompt: Decimal | None = None
    completion: Decimal | None = None
    cached_prompt: Decimal | None = None


NO_PRICES = Prices()
"""The prices of a model without any."""


class MaxPrice(Struct, frozen=True, gc=False):
    """The most that a model may cost, in dollars for a million tokens; None is no limit."""

    prompt: Decimal | None = None
    completion: Decimal | None = None

    def allows(self, prices: Prices) -> bool:
        """Return whether no price is above its limit. A price that is not known is above each."""
        return _within(prices.prompt, self.prompt) and _within(prices.completion, self.completion)


NO_LIMIT = MaxPrice()
"""The limit that every model keeps."""


def _within(price: Decimal | None, limit: Decimal | None) -> bool:
    return limit is None or (price is not None and price <= limit)
