"""Times at which something was wrong that no single request can be blamed for."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from time import monotonic
from typing import Final

_BEAT: Final = 0.05
_STALL: Final = 0.25


class Disturbances:
    """When the upstream took no connections, and when the soak itself did not get to run."""

    def __init__(self) -> None:
        self._refusing: list[tuple[float, float]] = []
        self._stalled: list[tuple[float, float]] = []
        self.longest_stall = 0.0

    @property
    def stalls(self) -> int:
        """How often the soak was held up."""
        return len(self._stalled)

    def refused(self, start: float, end: float) -> None:
        """No connections were taken between these times."""
        self._refusing.append((start, end))

    def refusing(self, start: float, end: float) -> bool:
        """Whether connections were refused at some time in this one."""
        return _overlaps(self._refusing, start, end)

    def stalled(self, start: float, end: float) -> bool:
        """Whether the soak was held up at some time in this one."""
        return _overlaps(self._stalled, start, end)

    async def watch(self) -> None:
        """Notice when the soak is held up; until cancelled."""
        while True:
            began = monotonic()
            await asyncio.sleep(_BEAT)
            late = monotonic() - began - _BEAT
            self.longest_stall = max(self.longest_stall, late)
            if late > _STALL:
                self._stalled.append((began, monotonic()))


def _overlaps(found: list[tuple[float, float]], start: float, end: float) -> bool:
    """Whether one of the spans, which are in order, meets this one."""
    at = bisect_left(found, (start, start))
    return any(low <= end and high >= start for low, high in found[max(0, at - 1) : at + 1])
