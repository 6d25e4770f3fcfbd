"""How fast a core is just now: the neighbours of a virtual machine take a share of it unseen."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

SLOWED: Final = 1.2
"""What is measured on a core so many times slower than at its best does not count."""

_COUNT = 300_000
_TRIES = 3
_AT_FIRST = 30
_PAUSE = 0.2
_PATIENCE = 3.0
"""Seconds that a measurement waits for a quiet moment before it is made all the same."""


class Pace:
    """Times a fixed piece of work, and tells how many times longer than at best it takes."""

    def __init__(
        self, work: Callable[[], float], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """``work`` returns how long it took."""
        self._work = work
        self._sleep = sleep
        self._best = min(work() for _ in range(_AT_FIRST))

    @classmethod
    def of_core(cls, core: int) -> Pace:
        """The pace of one core; this process visits it for a moment."""
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
    """Seconds of the processor, not of the clock, lest a child that still ends be taken for one."""
    began = time.process_time()
    total = 0
    for number in range(_COUNT):
        total += number
    return time.process_time() - began
