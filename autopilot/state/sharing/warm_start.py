"""What replicas keep in the store for one that starts or was cut off: hashes of events, by minute.

Each event is a value of its own, which a later one of the same subject and replica replaces. The
hash of a minute expires by itself, and takes no more than a fixed number of values. Values carry
the store's time, because no two hosts' clocks have to agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from autopilot.state.events import encode
from autopilot.state.sharing.store_queue import aged, subject

if TYPE_CHECKING:
    from autopilot.state.events import Event
    from autopilot.state.sharing.store import Store

MINUTE: Final = 60
MAX_VALUES: Final = 50_000
"""Values in the hash of one minute."""

LONGEST: Final = 6 * 3600
"""The furthest that a warm start reaches back, in seconds."""

_STEP: Final = b"200"
_MAX_VALUE: Final = 65_536
_TIME_BYTES: Final = 8
_SPARE: Final = 2 * MINUTE


class WarmStart:
    """Writes and reads the hashes.

    ``horizon`` is how many seconds the longest memory of the tables lasts. ``decode`` returns the
    events of a value.
    """

    def __init__(
        self, store: Store, horizon: float, decode: Callable[[bytes], list[Event]]
    ) -> None:
        self._store = store
        self._horizon = min(horizon, LONGEST)
        self._lasts = b"%d" % round((self._horizon + _SPARE) * 1000)
        self._decode = decode
        self._full: int | None = None
        self.malformed = 0
        """Values that could not be read; to be read, not written."""

    def _key(self, minute: int) -> bytes:
        return self._store.key(b"warm", b"%d" % minute)

    def write(self, events: Sequence[Event]) -> Deferred[object] | None:
        """Write events, whose ages are the present ones; return None if their hash is full."""
        now = self._store.now()
        minute = int(now // MINUTE)
        if minute == self._full:
            return None
        written = round(now * 1000).to_bytes(_TIME_BYTES, "big")
        pairs: list[bytes] = []
        for event in events:
            pairs += subject(event), written + encode([event])[0]
        key, command = self._key(minute), self._store.command
        reply = command(b"HSET", key, *pairs)
        # With each write: a key without it would stay.
        command(b"PEXPIRE", key, self._lasts).addErrback(_ignored)
        command(b"HLEN", key).addCallbacks(self._measured, _ignored, callbackArgs=(minute,))
        return reply

    def _measured(self, number: object, minute: int) -> None:
        if isinstance(number, int) and number >= MAX_VALUES:
            self._full = minute

    def keys(self, since: float | None) -> Iterator[bytes]:
        """Yield the keys of all minutes since a time of the store's clock, the latest first."""
        now = self._store.now()
        earliest = now - self._horizon if since is None else max(since, now - self._horizon)
        for minute in range(int(now // MINUTE), int(earliest // MINUTE) - 1, -1):
            yield self._key(minute)

    def read(self, key: bytes, cursor: bytes) -> Deferred[tuple[bytes, list[Event]]]:
        """Read a step of a hash; return the next cursor, ``b"0"`` at its end, and the events."""
        reply = self._store.command(b"HSCAN", key, cursor, b"COUNT", _STEP)
        return reply.addCallback(self._step)

    def _step(self, reply: Any) -> tuple[bytes, list[Event]]:
        events: list[Event] = []
        try:
            cursor, pairs = reply
            values: Sequence[bytes] = pairs[1::2]
            cursor = bytes(cursor)
        except (TypeError, ValueError):
            self.malformed += 1
            return b"0", events
        now = self._store.now()
        for value in values:
            events += self._read_value(value, now)
        return cursor, events

    def _read_value(self, value: bytes, now: float) -> list[Event]:
        """Return the events of a value, with the time since they were written in their ages."""
        try:
            if len(value) > _MAX_VALUE:
                raise ValueError("the value is too long")
            elapsed = now - int.from_bytes(value[:_TIME_BYTES], "big") / 1000
            found = self._decode(value[_TIME_BYTES:])
        except (TypeError, ValueError):
            self.malformed += 1
            return []
        elapsed = max(0.0, elapsed)
        return [aged(each, each.age / 1000 + elapsed) for each in found]


def _ignored(_: object) -> None:
    """Ignore the failure of a command beside another one that reports the same."""
