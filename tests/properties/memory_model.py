"""A model of the state between requests, as plain dicts (contract: stickiness, cooldown).

It keeps every event and evaluates all of them for each question; nothing expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Key: TypeAlias = tuple[str, str]
"""A client's token, and the selector as written."""


class Stickiness:
    """The models that served or failed each client; in ``used`` the longest unused key is first."""

    def __init__(self, *, ttl: float, most: int, list_retry: float) -> None:
        self.ttl, self.most, self.list_retry = ttl, most, list_retry
        self.served_by: dict[Key, tuple[str, float]] = {}
        self.failed_at: dict[Key, dict[str, tuple[float, float]]] = {}
        self.last_broken: dict[Key, str] = {}
        self.used: list[Key] = []

    def serves(self, key: Key, model: str, now: float) -> None:
        """Record that a 2xx of ``model`` was committed; it may still break."""
        if self.ttl:
            self.served_by[key] = model, now
            self.failed_at.get(key, {}).pop(model, None)
            self._use(key)

    def fails(self, key: Key, model: str, now: float, took: float) -> None:
        """Record a retryable failure of ``model``."""
        if self.ttl:
            self.failed_at.setdefault(key, {})[model] = now, took
            if self.served_by.get(key, ("", 0.0))[0] == model:
                del self.served_by[key]
            self._use(key)

    def breaks(self, key: Key, model: str, now: float, took: float) -> None:
        """Record a failure of ``model`` after the commit of its 2xx."""
        self.fails(key, model, now, took)
        self.last_broken[key] = model

    def broken(self, key: Key, now: float) -> str | None:
        """Return the model that last broke an answer, while its failure is recent."""
        model = self.last_broken.get(key)
        return model if model in self.failed_lately(key, now) else None

    def remembered(self, key: Key, now: float) -> str | None:
        """Return the model that last served, if recent; the question counts as use."""
        if key in self.used:
            self._use(key)
        model, at = self.served_by.get(key, (None, 0.0))
        return model if now - at < self.ttl else None

    def failed_lately(self, key: Key, now: float) -> set[str]:
        """Return the models whose failure still puts a list's fallback first."""
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
    """The history of each model, and the end of its cooldown per client.

    ``None`` stands for all clients.
    """

    def __init__(self, *, failures: int, period: float) -> None:
        self.most, self.period = failures, period
        self.failed: dict[tuple[str | None, str], list[str]] = {}
        self.until: dict[tuple[str | None, str], float] = {}
        self.pauses: dict[tuple[str | None, str], float] = {}

    def is_asked(self, client: str, model: str, now: float) -> None:
        """Record a request to ``model``; after the cooldown it is the only probe of a period."""
        for whose in (client, None):
            if self.cools_for(whose, model) and self.until[whose, model] <= now:
                self.until[whose, model] = now + self.pauses[whose, model]

    def answers(self, client: str, model: str) -> None:
        """Record that a 2xx of ``model`` ended, or has been streaming for a period."""
        for whose in (client, None):
            self.failed.pop((whose, model), None)

    def fails(self, client: str, model: str, now: float, took: float) -> None:
        """Record a retryable failure, or a broken 2xx."""
        for whose in (client, None):
            self.failed.setdefault((whose, model), []).append(client)
            if self.cools_for(whose, model):
                pause = longer(self.period, took)
                self.pauses[whose, model], self.until[whose, model] = pause, now + pause

    def cools_for(self, whose: str | None, model: str) -> bool:
        """Return whether the model failed too often, or for too many clients."""
        failed = self.failed.get((whose, model), [])
        return 0 < self.most <= len(set(failed) if whose is None else failed)

    def cooling(self, client: str | None, now: float) -> set[str]:
        """Return the models that are cooling for this client."""
        return {
            model
            for (whose, model), until in self.until.items()
            if whose in (client, None) and until > now and self.cools_for(whose, model)
        }

    @property
    def cooled(self) -> set[str]:
        """Return the models that cool for all clients, or are being probed."""
        return {model for _, model in self.failed if self.cools_for(None, model)}


def longer(period: float, took: float) -> float:
    """Return how long a failure counts: ten times its duration, within bounds."""
    return max(period, min(10 * took, 300.0))


def order(
    names: Sequence[str], key: Key, sticky: Stickiness, cooldown: Cooldown, now: float
) -> list[str]:
    """Return the candidates of one request in order of attempts."""
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
    """Return the next candidate; a cooling one only if no other is left."""
    return next((name for name in left if name not in cooling), left[0])
