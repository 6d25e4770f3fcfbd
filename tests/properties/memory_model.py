"""What the router remembers between requests, as plain dicts and the time (contract: stickiness,
cooldown).

Everything is kept as it was told and looked at anew for every question; nothing is ever tidied up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Key: TypeAlias = tuple[str, str]
"""A client's token, and the selector as it wrote it."""


class Stickiness:
    """Which model served whom, and which failed whom; ``used`` has the longest unused key first."""

    def __init__(self, *, ttl: float, most: int, list_retry: float) -> None:
        self.ttl, self.most, self.list_retry = ttl, most, list_retry
        self.served_by: dict[Key, tuple[str, float]] = {}
        self.failed_at: dict[Key, dict[str, float]] = {}
        self.last_broken: dict[Key, str] = {}
        self.used: list[Key] = []

    def serves(self, key: Key, model: str, now: float) -> None:
        """A 2xx of ``model`` was committed, which may break all the same."""
        if self.ttl:
            self.served_by[key] = model, now
            self.failed_at.get(key, {}).pop(model, None)
            self._use(key)

    def fails(self, key: Key, model: str, now: float) -> None:
        """``model`` failed retryably."""
        if self.ttl:
            self.failed_at.setdefault(key, {})[model] = now
            if self.served_by.get(key, ("", 0.0))[0] == model:
                del self.served_by[key]
            self._use(key)

    def breaks(self, key: Key, model: str, now: float) -> None:
        """``model`` failed after its 2xx was committed."""
        self.fails(key, model, now)
        self.last_broken[key] = model

    def broken(self, key: Key, now: float) -> str | None:
        """The model that last broke an answer, while it is one that failed lately."""
        model = self.last_broken.get(key)
        return model if model in self.failed_lately(key, now) else None

    def remembered(self, key: Key, now: float) -> str | None:
        """The model that last served, if that is recent; to ask is to use."""
        if key in self.used:
            self._use(key)
        model, at = self.served_by.get(key, (None, 0.0))
        return model if now - at < self.ttl else None

    def failed_lately(self, key: Key, now: float) -> set[str]:
        """The models whose failure still lets a list's fallback go first."""
        failed = self.failed_at.get(key, {})
        return {model for model, at in failed.items() if now - at < self.list_retry}

    def _use(self, key: Key) -> None:
        self.used = [*(other for other in self.used if other != key), key]
        while len(self.used) > self.most:
            gone = self.used.pop(0)
            self.served_by.pop(gone, None)
            self.failed_at.pop(gone, None)
            self.last_broken.pop(gone, None)


class Cooldown:
    """How often each model has failed in a row, and until when it is behind all others."""

    def __init__(self, *, failures: int, period: float) -> None:
        self.most, self.period = failures, period
        self.in_a_row: dict[str, int] = {}
        self.until: dict[str, float] = {}

    def is_asked(self, model: str, now: float) -> None:
        """A request goes to ``model``; if its time is over that is the one probe of a period."""
        if model in self.cooled and self.until[model] <= now:
            self.until[model] = now + self.period

    def answers(self, model: str) -> None:
        """A 2xx of ``model`` ended, or has flowed for a period."""
        self.in_a_row[model] = 0

    def fails(self, model: str, now: float) -> None:
        """``model`` failed retryably, and not with a 4xx, or broke its 2xx."""
        self.in_a_row[model] = self.in_a_row.get(model, 0) + 1
        self.until[model] = now + self.period

    @property
    def cooled(self) -> set[str]:
        """The models that failed too often and have not answered since."""
        if not self.most:
            return set()
        return {model for model, failures in self.in_a_row.items() if failures >= self.most}

    def cooling(self, now: float) -> set[str]:
        """Those that are behind all others now."""
        return {model for model in self.cooled if self.until[model] > now}


def order(
    names: Sequence[str], key: Key, sticky: Stickiness, cooldown: Cooldown, now: float
) -> list[str]:
    """The candidates of one request, in the order in which they have to be asked."""
    cooling, favourite = cooldown.cooling(now), sticky.remembered(key, now)
    ordered, in_a_list = list(names), "," in key[1]
    broken = sticky.broken(key, now)
    if favourite is None and broken in ordered and in_a_list:
        behind = ordered[ordered.index(broken) + 1 :]
        favourite = next((name for name in behind if name not in cooling), None)
        if favourite is not None:
            ordered.remove(favourite)
            ordered.insert(0, favourite)
    elif favourite in ordered and favourite not in cooling:
        before = set(ordered[: ordered.index(favourite)])
        if not in_a_list or before & sticky.failed_lately(key, now):
            ordered.remove(favourite)
            ordered.insert(0, favourite)
    return [name for name in ordered if name not in cooling] + [
        name for name in ordered if name in cooling
    ]


def next_of(left: Sequence[str], cooling: set[str]) -> str:
    """Who is asked next: a cooling one only when nobody else is left."""
    return next((name for name in left if name not in cooling), left[0])
