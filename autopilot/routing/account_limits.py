"""The limits of an account that an upstream states in the fields of its responses.

The platform states the quota before the call, and the requests per minute (wire §5.1); other
servers use OpenAI's fields. Pure functions: what is not a number is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from math import inf
from typing import Final

QUOTA_TOTAL: Final = b"x-chutes-quota-total"
QUOTA_USED: Final = b"x-chutes-quota-used"
QUOTA_REMAINING: Final = b"x-chutes-quota-remaining"

RATE_LIMITS: Final[Mapping[bytes, str]] = {
    b"x-chutes-rl-user": "user",
    b"x-chutes-rl-chute": "chute",
    b"x-ratelimit-limit-requests": "requests",
    b"x-ratelimit-limit-tokens": "tokens",
}
"""The scope of each field that states a limit of a rate."""

RATES_REMAINING: Final[Mapping[bytes, str]] = {
    b"x-ratelimit-remaining-requests": "requests",
    b"x-ratelimit-remaining-tokens": "tokens",
}
"""The scope of each field that states the rest of a rate."""

LIMIT_FIELDS: Final = frozenset(
    {QUOTA_TOTAL, QUOTA_USED, QUOTA_REMAINING, *RATE_LIMITS, *RATES_REMAINING}
)
"""The lower-case names of all these fields."""

LONGEST_LIMIT: Final = 20
"""Bytes of a value that are worth keeping."""

_MOST_DIGITS = 18
_RESET = re.compile(rb'"quota_reset_timestamp"[ \t\r\n]*+:[ \t\r\n]*+"([0-9T:.+Z -]{10,40})"')


def read_limit(value: bytes | None) -> float | None:
    """Return the number that a field states, infinite for ``inf``; None if it states none."""
    if value is None:
        return None
    value = value.strip()  # llhttp leaves blanks behind a value
    if value.isdigit() and len(value) <= _MOST_DIGITS:
        return int(value)
    return inf if value.lower() == b"inf" else None


def quota_left(fields: Mapping[bytes, bytes]) -> float | None:
    """Return the share of the quota that remains; None if there is no quota, or it is unknown."""
    total, remaining = read_limit(fields.get(QUOTA_TOTAL)), read_limit(fields.get(QUOTA_REMAINING))
    if remaining is None or not total or total == inf:
        return None
    return remaining / total


def quota_resets(body: bytes) -> float | None:
    """Return when a quota begins anew, in seconds since 1970, by the body of a 402 (wire §5.4)."""
    found = _RESET.search(body)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[1].decode("ascii"))
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.timestamp()
