"""Which of many alike are told: what fails a thousand times is no thousand lines.

The first of a kind is told at once. While it goes on, it is told again after a pause that doubles
from one minute to ten, with how many there were. What was quiet for longer than that is new again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from twisted.logger import Logger
from twisted.python.failure import Failure

SHORTEST: Final = 60.0
"""Seconds after the first in which others like it are not told."""

LONGEST: Final = 600.0
"""Seconds between two, however long it goes on."""

_MOST_KINDS: Final = 64


class _Kind:
    """One kind: when it was met and told last, and how many there were since."""

    __slots__ = ("met", "pause", "told", "untold")

    def __init__(self, now: float) -> None:
        self.told = self.met = now
        self.pause = SHORTEST
        self.untold = 0


class LogRateLimit:
    """Remembers a bounded number of kinds, those met last."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()

    def met(self, kind: Hashable, now: float) -> int | None:
        """How many of `kind` to tell of, this one included; None to say nothing of it now.

        ``now`` is in seconds of any clock.
        """
        known = self._kinds.get(kind)
        # A wall clock may have been set back, too.
        if known is None or not known.told <= now <= known.met + LONGEST:
            self._kinds[kind] = _Kind(now)
            self._kinds.move_to_end(kind)
            if len(self._kinds) > _MOST_KINDS:
                self._kinds.popitem(last=False)
            return 1
        self._kinds.move_to_end(kind)
        known.met = now
        known.untold += 1
        if now - known.told < known.pause:
            return None
        count, known.untold = known.untold, 0
        known.told = now
        known.pause = min(known.pause * 2, LONGEST)
        return count

    def forget(self) -> None:
        """Tell the next of any kind: what was before is over."""
        self._kinds.clear()


def alike(failure: Failure) -> Hashable:
    """The same for failures of one type that come from one place."""
    method, path, line = failure.frames[-1][:3] if failure.frames else (None, None, None)
    return failure.type, method, path, line


class FailureLog:
    """Logs what callbacks raise, with tracebacks, at a limited rate. ``seconds`` reads a clock."""

    def __init__(self, log: Logger, seconds: Callable[[], float]) -> None:
        self._log = log
        self._seconds = seconds
        self._limit = LogRateLimit()

    def report(self, text: str) -> None:
        """Log the exception being handled under ``text``, unless its like was logged lately."""
        failure = Failure()
        count = self._limit.met((text, alike(failure)), self._seconds())
        if count is not None:
            again = f" ({count} times since the last such message)" if count > 1 else ""
            self._log.failure("{text}{again}", failure, text=text, again=again)
