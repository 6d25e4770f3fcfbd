"""The current speed of a core, of which a virtual machine's neighbours take an unreported share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

SLOWED: Final = 1.2
"""The slowdown above which a measurement counts as disturbed."""

_COUNT = 300_000
_TRIES = 3
_AT_FIRST = 30
_PAUSE = 0.2
_PATIENCE = 3.0
"""Seconds that a measurement waits for an undisturbed core before it runs anyway."""


class Pace:
    """Times a fixed piece of work, and compares it with the best time so far."""

    def __init__(
        self, work: Callable[[], float], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """``work`` returns its duration."""
        self._work = work
        self._sleep = sleep
        self._best = min(work() for _ in range(_AT_FIRST))

    @classmethod
    def of_core(cls, core: int) -> Pace:
        """Return the pace of one core, on which this process runs for each timing."""
        return cls(lambda: _work_on(core))

    def slowdown(self) -> float:
        """Return the current slowdown of the machine; 1.0 is its best speed."""
        taken = self._work()
        self._best = min(self._best, taken)
        return taken / self._best

    def quiet(self) -> float:
        """Wait until the machine is fast, but not indefinitely; return the slowdown then."""
        waited = 0.0
        while (slowdown := self.slowdown()) > SLOWED and waited < _PATIENCE:
            self._sleep(_PAUSE)
            waited += _PAUSE
        return slowdown


def _work_on(core: int) -> float:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        return min(_work() for _ in range(_TRIES))
    finally:
        os.sched_setaffinity(0, before)


def _work() -> float:
    """Return the processor time of the work; wall time would include an ending child."""
    began = time.process_time()
    total = 0
    for number in range(_COUNT):
        total += number
    return time.process_time() - began
