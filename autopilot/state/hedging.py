"""The share of requests that may have a second attempt beside their first (hedging)."""

from __future__ import annotations

from collections import deque
from typing import Final

SHARE: Final = 0.05
"""The most second attempts among the requests of a minute."""
_MINUTE = 60


class HedgeBudget:
    """Counts requests and second attempts of the last minute, by the second."""

    __slots__ = ("_hedges", "_requests", "_seconds")

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()
        self._requests = self._hedges = 0

    def request(self, now: float) -> None:
        """Count a request."""
        self._current(now)[1] += 1
        self._requests += 1

    def draw(self, now: float) -> bool:
        """Return whether a second attempt may begin; if so, count it."""
        current = self._current(now)
        if self._hedges + 1 > SHARE * self._requests:
            return False
        current[2] += 1
        self._hedges += 1
        return True

    def _current(self, now: float) -> list[int]:
        """Return the counts of this second, and forget those of a minute ago and before."""
        seconds, second = self._seconds, int(now)
        while seconds and seconds[0][0] <= second - _MINUTE:
            _, requests, hedges = seconds.popleft()
            self._requests -= requests
            self._hedges -= hedges
        if not seconds or seconds[-1][0] != second:
            seconds.append([second, 0, 0])
        return seconds[-1]
