"""The prices of a model, and the limit that a route may set on them.

Amounts are US dollars per million tokens, as in the catalog, and exact: sums of rounded binary
fractions would differ from the platform's bill.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

# From dollars for a million tokens to picodollars, millionths of a millionth, for one.
_PER_TOKEN = 10**6


class Prices(Struct, frozen=True, gc=False):
    """The dollars for a million tokens of each kind; None if the catalog does not state a price.

    ``cached_prompt`` is the price of prompt tokens that the platform's cache had.
    """

    prompt: Decimal | None = None
    completion: Decimal | None = None
    cached_prompt: Decimal | None = None

    def per_token(self) -> tuple[int, int, int] | None:
        """Return the picodollars for one token: of the prompt, of the completion, and cached.

        Cached tokens cost as much as others if they have no price of their own. None if another
        price is not known, or if one has a fraction of a picodollar.
        """
        if self.prompt is None or self.completion is None:
            return None
        cached = self.prompt if self.cached_prompt is None else self.cached_prompt
        exact = [price * _PER_TOKEN for price in (self.prompt, self.completion, cached)]
        prompt, completion, cached_prompt = map(int, exact)
        return (prompt, completion, cached_prompt) if all(each % 1 == 0 for each in exact) else None


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
