"""The tokens that an answer used, as its upstream reported, and their cost by the catalog.

Costs are whole picodollars, millionths of a millionth of a US dollar. They are exact at prices with
up to six decimal places for a million tokens, and so are their sums.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from autopilot.routing.catalog import Catalog
from autopilot.routing.names import catalog_name

PICODOLLARS: Final = 10**12
"""The picodollars of one US dollar."""

_DECIMALS: Final = 12
# From dollars for a million tokens to picodollars for one.
_PER_TOKEN: Final = 10**6


class Usage(Struct, frozen=True, gc=False):
    """The tokens of one answer by kind; None if the upstream did not report.

    ``prompt`` includes the ``cached`` ones, which the upstream did not have to process again, and
    ``completion`` those of ``reasoning``.
    """

    prompt: int | None = None
    cached: int | None = None
    completion: int | None = None
    reasoning: int | None = None


def cost_of(usage: Usage | None, model: str, catalog: Catalog | None) -> int | None:
    """Return the cost of an answer of ``model`` in picodollars.

    ``model`` is the name that was sent: a chute's id, or a name with a suffix, has the prices of
    the model that it means. None unless both counts are known, and both prices. Cached tokens cost
    as much as others if the catalog has no price of their own.
    """
    if usage is None or catalog is None:
        return None
    listed = catalog.models.get(model) or catalog.models.get(catalog_name(model, catalog))
    if listed is None:
        return None
    prompt, completion, cached = usage.prompt, usage.completion, usage.cached
    rates = listed.rates
    if rates is not None and prompt is not None and completion is not None:  # the usual case
        if cached is None:
            return prompt * rates[0] + completion * rates[1]
        return (prompt - cached) * rates[0] + completion * rates[1] + cached * rates[2]
    prices = listed.prices
    if prompt is None or completion is None or prices.prompt is None or prices.completion is None:
        return None
    total = prompt * prices.prompt + completion * prices.completion
    if cached and prices.cached_prompt is not None:
        total += cached * (prices.cached_prompt - prices.prompt)
    return round(total * _PER_TOKEN)


def dollars(cost: int) -> str:
    """Return picodollars as US dollars: a plain decimal without an exponent or trailing zeros."""
    whole, rest = divmod(cost, PICODOLLARS)
    if not rest:
        return str(whole)
    # Without the format of a number with leading zeros, which took half of this function.
    return f"{whole}.{str(rest).zfill(_DECIMALS)}".rstrip("0")
