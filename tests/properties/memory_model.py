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
        self.failed_at: dict[Key, dict[str, tuple[float, float]]] = {}
        self.last_broken: dict[Key, str] = {}
        self.used: list[Key] = []

    def serves(self, key: Key, model: str, now: float) -> None:
        """A 2xx of ``model`` was committed, which may break all the same."""
        if self.ttl:
            self.served_by[key] = model, now
            self.failed_at.get(key, {}).pop(model, None)
            self._use(key)

    def fails(self, key: Key, model: str, now: float, took: float) -> None:
        """``model`` failed retryably."""
        if self.ttl:
            self.failed_at.setdefault(key, {})[model] = now, took
            if self.served_by.get(key, ("", 0.0))[0] == model:
                del self.served_by[key]
            self._use(key)

    def breaks(self, key: Key, model: str, now: float, took: float) -> None:
        """``model`` failed after its 2xx was committed."""
        self.fails(key, model, now, took)
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
        return {
            model
            for model, (at, took) in failed.items()
            if now - at < longer(self.list_retry, took)
        }

    def _use(self, key: Key) -> None:
        self.used = [*(other for other in self.used if other != key), key]
        while len(self.used) > self.most:
            gone = self.used.pop(0)
            self.served_by.pop(gone, None)
            self.failed_at.pop(gone, None)
            self.last_broken.pop(gone, None)


class Cooldown:
    """Everything that happened to each model, and until when it is behind all others for whom.

    ``None`` stands for everybody.
    """

    def __init__(self, *, failures: int, period: float) -> None:
        self.most, self.period = failures, period
        self.failed: dict[tuple[str | None, str], list[str]] = {}
        self.until: dict[tuple[str | None, str], float] = {}
        self.pauses: dict[tuple[str | None, str], float] = {}

    def is_asked(self, client: str, model: str, now: float) -> None:
        """A request goes to ``model``; if its time is over that is the one probe of a period."""
        for whose in (client, None):
            if self.cools_for(whose, model) and self.until[whose, model] <= now:
                self.until[whose, model] = now + self.pauses[whose, model]

    def answers(self, client: str, model: str) -> None:
        """A 2xx of ``model`` ended, or has flowed for a period."""
        for whose in (client, None):
            self.failed.pop((whose, model), None)

    def fails(self, client: str, model: str, now: float, took: float) -> None:
        """``model`` failed retryably, and not with a 4xx, or broke its 2xx."""
        for whose in (client, None):
            self.failed.setdefault((whose, model), []).append(client)
            if self.cools_for(whose, model):
                pause = longer(self.period, took)
                self.pauses[whose, model], self.until[whose, model] = pause, now + pause

    def cools_for(self, whose: str | None, model: str) -> bool:
        """Whether the model failed too often, or too many, and has not answered since."""
        failed = self.failed.get((whose, model), [])
        return 0 < self.most <= len(set(failed) if whose is None else failed)

    def cooling(self, client: str | None, now: float) -> set[str]:
        """Those that are behind all others now, for this client."""
        return {
            model
            for (whose, model), until in self.until.items()
            if whose in (client, None) and until > now and self.cools_for(whose, model)
        }

    @property
    def cooled(self) -> set[str]:
        """Those that everybody avoids, or probes."""
        return {model for _, model in self.failed if self.cools_for(None, model)}


def longer(period: float, took: float) -> float:
    """For how long a failure counts: for ten times as long as it took, within bounds."""
    return max(period, min(10 * took, 300.0))


def order(
    names: Sequence[str], key: Key, sticky: Stickiness, cooldown: Cooldown, now: float
) -> list[str]:
    """The candidates of one request, in the order in which they have to be asked."""
    cooling, favourite = cooldown.cooling(key[0], now), sticky.remembered(key, now)
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
