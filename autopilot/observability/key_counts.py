"""What clients do with keys of the operator's own, and the router with its pool, by names of keys.

The names are those of the operator's files, so that no client creates series; beyond `MOST_NAMES`
they count as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from autopilot.observability.instruments import Counter, Instrument, Readings
from autopilot.routing.usage import PICODOLLARS

if TYPE_CHECKING:
    from autopilot.observability.records import RequestRecord

MOST_NAMES: Final = 100
OTHER: Final = "other"
_NOT_ALLOWED: Final = "model_not_allowed"


class PoolKeyNow(Struct, frozen=True):
    """A key of the pool; ``resting`` is the number of seconds that it still rests."""

    name: str
    in_progress: int
    requests: int
    quota_left: float | None
    resting: float | None
    why: str

    def beside(self, other: PoolKeyNow) -> PoolKeyNow:
        """Return the same key with what another process knows of it, which has counted as well."""
        left = [each.quota_left for each in (self, other) if each.quota_left is not None]
        longest = max(self, other, key=lambda each: each.resting or 0.0)
        return PoolKeyNow(
            self.name,
            self.in_progress + other.in_progress,
            self.requests + other.requests,
            min(left, default=None),
            longest.resting,
            longest.why,
        )


class KeyCounts:
    """The counters."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._requests = Counter(
            "chutes_autopilot_key_requests_total",
            "Requests of clients with a key of KEYS_FILE, by its name and by how they ended.",
            "key",
            "outcome",
        )
        self._refusals = Counter(
            "chutes_autopilot_key_refusals_total",
            "Requests that were refused for a limit of their key, by its name and the code.",
            "key",
            "code",
        )
        self._tokens = Counter(
            "chutes_autopilot_key_tokens_total",
            "Tokens that requests with a key of KEYS_FILE used, by its name.",
            "key",
        )
        self._cost = Counter(
            "chutes_autopilot_key_cost_dollars_total",
            "US dollars for these tokens, by the catalog's prices.",
            "key",
            unit=PICODOLLARS,
        )
        self._lent = Counter(
            "chutes_autopilot_pool_key_requests_total",
            "Requests that were sent with a key of CHUTES_API_KEYS_FILE, by its name.",
            "key",
        )
        self._rests = Counter(
            "chutes_autopilot_pool_key_rests_total",
            "Times that the platform refused a key of CHUTES_API_KEYS_FILE, by its name and why.",
            "key",
            "reason",
        )

    def instruments(self, resting: Callable[[], Iterable[str]]) -> tuple[Instrument, ...]:
        """Return the metrics; ``resting`` returns the names of the pool's keys that rest now."""
        return (
            self._requests,
            self._refusals,
            self._tokens,
            self._cost,
            self._lent,
            self._rests,
            Readings(
                "chutes_autopilot_pool_key_resting",
                "1 for each key of CHUTES_API_KEYS_FILE that the platform refuses at present.",
                ("key",),
                lambda: (((self._name(each),), 1.0) for each in resting()),
            ),
        )

    def record(self, record: RequestRecord) -> None:
        """Count a request that has ended, and what it used."""
        if record.key is None:
            return
        name = self._name(record.key)
        self._requests.values[name, record.outcome] += 1
        if record.code == _NOT_ALLOWED:
            self._refusals.values[name, record.code] += 1
        for each in record.charged:
            if each.usage is not None:
                used = (each.usage.prompt or 0) + (each.usage.completion or 0)
                self._tokens.values[name,] += used
            if each.cost_picodollars:
                self._cost.values[name,] += each.cost_picodollars

    def refused(self, key: str, code: str) -> None:
        """Count a request that a limit of its key refused."""
        self._refusals.values[self._name(key), code] += 1

    def lent(self, key: str) -> None:
        """Count a request with a key of the pool."""
        self._lent.values[self._name(key),] += 1

    def rested(self, key: str, reason: str) -> None:
        """Count a refusal of a key of the pool."""
        self._rests.values[self._name(key), reason] += 1

    def _name(self, key: str) -> str:
        names = self._names
        if key in names:
            return key
        if len(names) >= MOST_NAMES:
            return OTHER
        names.add(key)
        return key
