"""Intervals in which a disturbance, not a single request, explains a failure."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from time import monotonic
from typing import Final

_BEAT: Final = 0.05
_STALL: Final = 0.25


class Disturbances:
    """Intervals in which the upstream refused connections, or the soak test itself was stalled."""

    def __init__(self) -> None:
        self._refusing: list[tuple[float, float]] = []
        self._stalled: list[tuple[float, float]] = []
        self.longest_stall = 0.0

    @property
    def stalls(self) -> int:
        """How often the soak test was stalled."""
        return len(self._stalled)

    def refused(self, start: float, end: float) -> None:
        """Record an interval without connections."""
        self._refusing.append((start, end))

    def refusing(self, start: float, end: float) -> bool:
        """Return whether the upstream refused connections at some time in the interval."""
        return _overlaps(self._refusing, start, end)

    def stalled(self, start: float, end: float) -> bool:
        """Return whether the soak test was stalled at some time in the interval."""
        return _overlaps(self._stalled, start, end)

    async def watch(self) -> None:
        """Detect stalls of the soak test, until cancelled."""
        while True:
            began = monotonic()
            await asyncio.sleep(_BEAT)
            late = monotonic() - began - _BEAT
            self.longest_stall = max(self.longest_stall, late)
            if late > _STALL:
                self._stalled.append((began, monotonic()))


def _overlaps(found: list[tuple[float, float]], start: float, end: float) -> bool:
    """Return whether one of the spans, which are sorted, overlaps the interval."""
    at = bisect_left(found, (start, start))
    return any(low <= end and high >= start for low, high in found[max(0, at - 1) : at + 1])
