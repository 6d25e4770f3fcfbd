"""A rate limit for repeated log messages: the first is logged, then a count at growing intervals.

The interval doubles from one minute to ten. A kind of message that did not occur for ten minutes
counts as new.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from twisted.logger import Logger
from twisted.python.failure import Failure

FIRST_PAUSE: Final = 60.0
"""Seconds after the first message in which others of its kind are suppressed."""

MAX_PAUSE: Final = 600.0
"""Seconds between two messages of a kind, at most."""

_MAX_KINDS: Final = 64


class _Kind:
    """One kind of message: its last occurrence, and its last line with the number since then."""

    __slots__ = ("logged_at", "pause", "seen_at", "suppressed")

    def __init__(self, now: float) -> None:
        self.logged_at = self.seen_at = now
        self.pause = FIRST_PAUSE
        self.suppressed = 0


class LogRateLimit:
    """Decides which messages are logged; it remembers the kinds that occurred last, up to 64."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()

    def admit(self, kind: Hashable, now: float) -> int | None:
        """Count a message of ``kind``; return the number to log with it, None to suppress it.

        The number is that of the messages since the last one logged, this one included. ``now`` is
        in seconds of any clock.
        """
        known = self._kinds.get(kind)
        # `now` may be earlier than the last message: log events carry wall-clock time.
        if known is None or not known.logged_at <= now <= known.seen_at + MAX_PAUSE:
            self._kinds[kind] = _Kind(now)
            self._kinds.move_to_end(kind)
            if len(self._kinds) > _MAX_KINDS:
                self._kinds.popitem(last=False)
            return 1
        self._kinds.move_to_end(kind)
        known.seen_at = now
        known.suppressed += 1
        if now - known.logged_at < known.pause:
            return None
        count, known.suppressed = known.suppressed, 0
        known.logged_at = now
        known.pause = min(known.pause * 2, MAX_PAUSE)
        return count

    def reset(self) -> None:
        """Treat the next message of every kind as new."""
        self._kinds.clear()


def failure_kind(failure: Failure) -> Hashable:
    """Return a key that is equal for failures of one type raised at one place."""
    method, path, line = failure.frames[-1][:3] if failure.frames else (None, None, None)
    return failure.type, method, path, line


class FailureLog:
    """Logs exceptions of callbacks, with tracebacks, at a limited rate.

    ``seconds`` returns the time of any clock.
    """

    def __init__(self, log: Logger, seconds: Callable[[], float]) -> None:
        self._log = log
        self._seconds = seconds
        self._limit = LogRateLimit()

    def report(self, text: str) -> None:
        """Log the exception being handled under ``text``, unless the rate limit suppresses it."""
        failure = Failure()
        count = self._limit.admit((text, failure_kind(failure)), self._seconds())
        if count is not None:
            again = f" ({count} times since the last such message)" if count > 1 else ""
            self._log.failure("{text}{again}", failure, text=text, again=again)

    def run(self, text: str, call: Callable[..., object], *arguments: object) -> None:
        """Make a call after which others follow, and log under ``text`` what it raises."""
        try:
            call(*arguments)
        except Exception:  # noqa: BLE001  nothing is awaited here, so nothing was cancelled
            self.report(text)
