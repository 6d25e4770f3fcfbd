"""What a process does without a free file descriptor: it pauses what needs one, and warns rarely.

To try again at once would be a busy loop, and a line for each attempt would fill the log.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

PAUSE_SECONDS = 0.25
_REPORT_INTERVAL_SECONDS = 60.0

_log = Logger()


class ExhaustionPause:
    """Pauses whatever accepts connections, and logs one warning a minute."""

    def __init__(
        self, clock: IReactorTime, pause: Callable[[], None], resume: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._resume = resume
        self._pending: IDelayedCall | None = None
        self._reported = -inf

    def begin(self) -> None:
        """Pause, and warn unless a warning is less than a minute old."""
        if self._pending is None:
            self._pending = self._clock.callLater(PAUSE_SECONDS, self._end)
            self._pause()
        now = self._clock.seconds()
        if now - self._reported >= _REPORT_INTERVAL_SECONDS:
            self._reported = now
            _log.warn(
                "No file descriptor is left: new clients wait or are rejected;"
                " raise the limit on open files (ulimit -n, LimitNOFILE=)"
            )

    def cancel(self) -> None:
        """Do not resume: what accepts has closed."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()

    def _end(self) -> None:
        self._pending = None
        self._resume()
