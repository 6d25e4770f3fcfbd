"""What each client was last served with: one bounded table, least recently used out first.

Every operation is O(1). Time is an argument, so the table is a plain value store that tests drive
without a clock. Keys are keyed hashes; nothing here can be traced back to a client.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

Key = tuple[bytes, str]
"""A client's hash and the selector as it wrote it."""


@dataclass(slots=True)
class _Entry:
    model: str | None = None
    expires: float = 0.0
    failed: dict[str, float] = field(default_factory=dict)


class SessionAffinity:
    """Remembered models per client and selector.

    ``ttl`` and ``list_retry`` are seconds; a ``ttl`` of 0 turns the table off. A failure is kept
    for ``list_retry``, because in a list it lets the remembered model go before a failed one.
    """

    def __init__(self, *, ttl: float, max_entries: int, list_retry: float) -> None:
        self._ttl = ttl
        self._max_entries = max_entries
        self._list_retry = list_retry
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()

    def configure(self, *, ttl: float, max_entries: int, list_retry: float) -> None:
        """Remember by other numbers from now on; what is over them is forgotten at once."""
        self._ttl = ttl
        self._max_entries = max_entries
        self._list_retry = list_retry
        if ttl <= 0:
            self._entries.clear()
        self._shrink()

    def __len__(self) -> int:
        return len(self._entries)

    def remembered(self, key: Key, now: float) -> str | None:
        """The model that last served this client for this selector, if that is recent enough."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.model if entry.expires > now else None

    def failed_recently(self, key: Key, now: float) -> frozenset[str]:
        """The models that failed this client retryably less than ``list_retry`` ago."""
        entry = self._entries.get(key)
        if entry is None or not entry.failed:
            return frozenset()
        return frozenset(model for model, at in entry.failed.items() if now - at < self._list_retry)

    def served(self, key: Key, model: str, now: float) -> None:
        """``model`` answered with a 2xx."""
        if self._ttl <= 0:
            return
        entry = self._touch(key)
        entry.model, entry.expires = model, now + self._ttl
        entry.failed.pop(model, None)

    def failed(self, key: Key, model: str, now: float) -> None:
        """``model`` failed retryably: it is no longer remembered."""
        if self._ttl <= 0:
            return
        entry = self._touch(key)
        if entry.model == model:
            entry.model = None
        entry.failed = {
            name: at for name, at in entry.failed.items() if now - at < self._list_retry
        }
        entry.failed[model] = now

    def _touch(self, key: Key) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
            self._shrink()
        else:
            self._entries.move_to_end(key)
        return entry

    def _shrink(self) -> None:
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
