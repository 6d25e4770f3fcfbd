"""The edge's ban of a key or an address: how long the router calls nothing, and how it learns that.

The platform's edge answers too many calls with a 429 page, and each further call prolongs the ban,
to as long as a day (wire §5.2). So nothing is sent until the ban is over, then one probe. Pure
functions over frozen values.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

FIRST_BAN: Final = 60.0
"""Seconds without calls after the first page that does not say how long."""

LONGEST_BAN: Final = 86_400.0
"""The longest ban; the platform's own is no longer (wire §5.2)."""

REMEMBERED: Final = 3600.0
"""Seconds after the end of a ban for which the next one is another of the same series."""

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MARKUP = re.compile(r"(?is)<(script|style)\b.*?</\1\s*>|<[^>]*>")
# "Try again in 5 minutes", "banned for 3600 seconds"; but not "60 requests per 1 minute".
_TOLD = re.compile(
    r"(?i)\b(?:in|for|after|wait|least|about)\s+(\d{1,6})\s*"
    r"(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)\b"
)
_DIGITS = re.compile(r"[0-9]{1,9}")
_LONGEST_PAGE = 65_536


class EdgeBan(Struct, frozen=True, gc=False):
    """A ban that lasts ``seconds``, to the clock time ``until``; ``number`` counts its series."""

    until: float
    seconds: float
    number: int = 1


def ban(before: EdgeBan | None, told: float | None, now: float) -> EdgeBan:
    """Return the ban that a page of the edge begins at the time ``now``.

    ``told`` is how long it says that it lasts. Otherwise each ban is twice as long as the one
    ``before`` it, unless that has been over for long.
    """
    again = before is not None and now < before.until + max(REMEMBERED, before.seconds)
    number = before.number + 1 if again and before is not None else 1
    if told is not None:
        seconds = min(max(told, 1.0), LONGEST_BAN)
    elif again and before is not None:
        seconds = min(2 * before.seconds, LONGEST_BAN)
    else:
        seconds = FIRST_BAN
    return EdgeBan(now + seconds, seconds, number)


def told_seconds(retry_after: str | None, page: bytes) -> float | None:
    """Return how long a page of the edge says to wait: in its ``Retry-After``, else in its text.

    A date in ``Retry-After`` is ignored, because the clocks may differ.
    """
    given = (retry_after or "").strip(" \t")
    if _DIGITS.fullmatch(given):
        return float(given)
    text = _MARKUP.sub(" ", page[:_LONGEST_PAGE].decode("utf-8", "replace"))
    found = _TOLD.search(text)
    return None if found is None else float(int(found[1]) * _SECONDS[found[2][0].lower()])
