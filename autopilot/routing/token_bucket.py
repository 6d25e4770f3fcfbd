"""Token bucket: how many calls a key may make now, and how long the next one must wait.

Pure functions over frozen values. A bucket stores what is missing from a full one, so that a new
bucket is full, and one that is not used needs no attention.
"""

from __future__ import annotations

from math import inf
from typing import Final

from msgspec import Struct

# What sums of fractions may be off by; the platform counts whole calls.
_SLACK: Final = 1e-6


class Rate(Struct, frozen=True, gc=False):
    """A limit: calls a minute, and how many of them may come at once."""

    per_minute: float
    burst: float

    @classmethod
    def of(cls, per_minute: float) -> Rate:
        """Return the rate whose bursts are as large as a minute's calls."""
        return cls(per_minute, per_minute)

    def shared(self, share: float) -> Rate:
        """Return a part of the rate."""
        return Rate(self.per_minute * share, self.burst * share)

    @property
    def unlimited(self) -> bool:
        """Whether there is no limit at all."""
        return self.per_minute == inf


class TokenBucket(Struct, frozen=True, gc=False):
    """The tokens that are ``missing`` from a full bucket at the clock time ``at``."""

    missing: float = 0.0
    at: float = 0.0


FULL: Final = TokenBucket()


def with_one(rate: Rate, at: float) -> TokenBucket:
    """Return a bucket that has one token at the time ``at``, and no more if its rate grows."""
    return FULL if rate.unlimited else TokenBucket(inf, at - 60.0 / rate.per_minute)


def without_gain(bucket: TokenBucket, before: Rate, rate: Rate, now: float) -> TokenBucket:
    """Return the bucket after a change of its rate by which it gets no tokens at once."""
    if before.unlimited or rate.unlimited:
        return bucket
    grown = max(0.0, rate.burst - before.burst)
    return TokenBucket(refilled(bucket, before, now).missing + grown, now)


def refilled(bucket: TokenBucket, rate: Rate, now: float) -> TokenBucket:
    """Return the bucket at the time ``now``.

    A clock that steps back adds nothing, and the bucket fills from the new time on. Of a rate that
    has become smaller no more than its burst is missing.
    """
    gained = max(0.0, now - bucket.at) * rate.per_minute / 60.0
    return TokenBucket(max(0.0, min(bucket.missing, rate.burst) - gained), now)


def take(bucket: TokenBucket, rate: Rate, now: float, tokens: int = 1) -> TokenBucket | None:
    """Return the bucket without these tokens; None if it does not have them all."""
    if rate.unlimited:
        return TokenBucket(0.0, now)
    filled = refilled(bucket, rate, now)
    missing = filled.missing + tokens
    return TokenBucket(missing, now) if missing <= rate.burst + _SLACK else None


def spent(bucket: TokenBucket, rate: Rate, now: float, tokens: int) -> TokenBucket:
    """Return the bucket after calls that have been made, whether it had their tokens or not."""
    filled = refilled(bucket, rate, now)
    return filled if rate.unlimited else TokenBucket(filled.missing + tokens, now)


def put_back(bucket: TokenBucket, tokens: int) -> TokenBucket:
    """Return the bucket with tokens that were taken and not used."""
    return TokenBucket(max(0.0, bucket.missing - tokens), bucket.at)


def wait(bucket: TokenBucket, rate: Rate, now: float, tokens: int = 1) -> float:
    """Return the seconds until the bucket has these tokens, one after the other.

    More than a burst of them are counted as they are refilled.
    """
    if rate.unlimited:
        return 0.0
    lacking = refilled(bucket, rate, now).missing + tokens - rate.burst
    return 0.0 if lacking <= _SLACK else lacking * 60.0 / rate.per_minute


def available(bucket: TokenBucket, rate: Rate, now: float) -> float:
    """Return the number of tokens in the bucket, which may have a fraction."""
    if rate.unlimited:
        return inf
    return max(0.0, rate.burst - refilled(bucket, rate, now).missing)
