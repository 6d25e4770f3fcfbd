"""The model that last served each conversation: a bounded table, least recently used first out.

Every operation is O(1). Time is an argument, so that tests need no clock. The keys are keyed
hashes, from which neither a client nor what it said can be identified.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b

from autopilot.routing.why import EXPIRED, FAILED, NEW, AffinityWhy
from autopilot.state.circuit_breaker import rest

AffinityKey = tuple[bytes, bytes, bytes]
"""The hash of a client, the digest of its selector, and the hash of its conversation.

The last is empty if nothing tells the client's conversations apart.
"""


_NONE: frozenset[str] = frozenset()
_UNKNOWN = (None, _NONE, None, NEW)


@dataclass(slots=True)
class AffinityEntry:
    """One conversation's remembered model, which models failed for it, and which broke last.

    A failure is the time at which it happened and the seconds that the attempt took. ``forgot``: a
    model was remembered, and failed.
    """

    model: str | None = None
    expires: float = 0.0
    failed: dict[str, tuple[float, float]] = field(default_factory=dict)
    broken: str | None = None
    forgot: bool = False


class SessionAffinity:
    """Remembered models by client, selector and conversation (contract §5).

    ``ttl`` and ``list_retry`` are in seconds; a ``ttl`` of 0 disables the table. Failures are kept
    for ``list_retry``, or longer if they took long: within a list, the remembered model takes
    precedence over one that failed.
    """

    def __init__(self, *, ttl: float, max_entries: int, list_retry: float) -> None:
        self._ttl = ttl
        self.enabled = ttl > 0
        self._max_entries = max_entries
        self._list_retry = list_retry
        self._entries: OrderedDict[AffinityKey, AffinityEntry] = OrderedDict()

    def configure(self, *, ttl: float, max_entries: int, list_retry: float) -> None:
        """Apply new limits at once; entries beyond them are dropped."""
        self._ttl = ttl
        self.enabled = ttl > 0
        self._max_entries = max_entries
        self._list_retry = list_retry
        if ttl <= 0:
            self._entries.clear()
        self._shrink()

    def __len__(self) -> int:
        return len(self._entries)

    def look_up(
        self, key: AffinityKey, now: float
    ) -> tuple[str | None, frozenset[str], str | None, AffinityWhy | None]:
        """Return what `remembered` and `failed_recently` return, and the model that broke last.

        A model breaks when it fails after commit. It counts while it is one that failed recently.
        The last value says why no model is remembered; it is None if one is.
        """
        entry = self._entries.get(key)
        if entry is None:
            return _UNKNOWN
        self._entries.move_to_end(key)
        remembered = entry.model
        why: AffinityWhy | None = None
        if remembered is None:
            why = FAILED if entry.forgot else NEW
        elif entry.expires <= now:
            remembered, why = None, EXPIRED
        if not entry.failed:
            return remembered, _NONE, None, why
        failed = self.failed_recently(key, now)
        return remembered, failed, entry.broken if entry.broken in failed else None, why

    def remembered(self, key: AffinityKey, now: float) -> str | None:
        """Return the unexpired model that last served this conversation, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.model if entry.expires > now else None

    def failed_recently(self, key: AffinityKey, now: float) -> frozenset[str]:
        """Return the models whose failure for this conversation still counts."""
        entry = self._entries.get(key)
        if entry is None or not entry.failed:
            return frozenset()
        return frozenset(self._recent(entry, now))

    def served(self, key: AffinityKey, model: str, now: float) -> None:
        """Remember ``model``, which answered with a 2xx."""
        if self._ttl <= 0:
            return
        entry = self._entries.get(key)
        if entry is None:
            entry = self._use(key)
        else:
            self._entries.move_to_end(key)
        entry.model, entry.expires = model, now + self._ttl
        if entry.failed:
            entry.failed.pop(model, None)

    def failed(
        self, key: AffinityKey, model: str, now: float, took: float, *, committed: bool = False
    ) -> None:
        """Record that ``model`` failed after ``took`` seconds; if it is remembered, forget it.

        ``committed``: it failed after the router had committed to its response.
        """
        if self._ttl <= 0:
            return
        entry = self._use(key)
        if entry.model == model:
            entry.model, entry.forgot = None, True
        # Drop expired failures here, so that an entry holds no more than the models tried recently.
        entry.failed = self._recent(entry, now)
        entry.failed[model] = now, took
        if committed:
            entry.broken = model

    def _recent(self, entry: AffinityEntry, now: float) -> dict[str, tuple[float, float]]:
        """Return the failures of an entry that still count."""
        return {
            model: (at, took)
            for model, (at, took) in entry.failed.items()
            if now - at < rest(self._list_retry, took)
        }

    def _use(self, key: AffinityKey) -> AffinityEntry:
        """Return the entry of ``key``, made if missing, as the most recently used one."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = AffinityEntry()
            self._shrink()
        else:
            self._entries.move_to_end(key)
        return entry

    def _shrink(self) -> None:
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)


def instance_key(key: AffinityKey, model: str) -> AffinityKey:
    """Return the key under which a conversation's instance is remembered, for each model."""
    client, selector, talk = key
    digest = blake2b(model.encode("utf-8", "surrogatepass"), key=b"instance", digest_size=16)
    digest.update(selector)
    return client, digest.digest(), talk
