"""The second oracle: what an input costs, in processor time and memory for each of its bytes.

An input that exceeds its budget is measured again, up to three times, and the least of the results
counts: another process can make an input look dear, and none can make it look cheap.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_TIMES: Final = 3
_KIB: Final = 1024
_SAMPLED: Final = 64
"""Memory is traced for one input out of so many, because that makes it several times slower."""


class CostError(AssertionError):
    """An input costs more than its budget."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What an input may cost: a constant, so that noise is not judged, and a part for each byte.

    The time is that of instrumented code, which takes some times as long as the router's.
    """

    seconds: float = 0.5
    seconds_per_kib: float = 0.005
    memory: int = 1 << 20
    memory_per_byte: int = 100

    def time_for(self, size: int) -> float:
        """Return the permitted processor time in seconds."""
        return self.seconds + self.seconds_per_kib * size / _KIB

    def memory_for(self, size: int) -> int:
        """Return the permitted peak in bytes."""
        return self.memory + self.memory_per_byte * size


class Oracle:
    """Runs a target, and raises `CostError` if an input exceeds the budget."""

    def __init__(
        self,
        run: Callable[[bytes], None],
        budget: Budget,
        size: Callable[[bytes], int] = len,
        *,
        clock: Callable[[], float] = time.thread_time,
        peak: Callable[[Callable[[], None]], int] | None = None,
    ) -> None:
        self._run = run
        self._budget = budget
        self._size = size
        self._clock = clock
        self._peak = peak or traced_peak
        self._count = 0
        self._dearest = 0.0

    def __call__(self, data: bytes) -> None:
        """Run the target with one input."""
        took = self._seconds(data)
        permitted = self._budget.time_for(self._size(data))
        share = took / permitted
        for _ in range(_TIMES):
            if took > permitted:
                took = min(took, self._seconds(data))
        if took > permitted:
            raise CostError(self._text(f"{took:.3f} s", f"{permitted:.3f} s", data))
        self._count += 1
        if self._count % _SAMPLED == 0 or share > self._dearest:
            self._dearest = max(self._dearest, share)
            self._check_memory(data)

    def _seconds(self, data: bytes) -> float:
        began = self._clock()
        self._run(data)
        return self._clock() - began

    def _check_memory(self, data: bytes) -> None:
        permitted = self._budget.memory_for(self._size(data))
        least = permitted + 1
        for _ in range(_TIMES):
            least = min(least, self._peak(lambda: self._run(data)))
            if least <= permitted:
                return
        raise CostError(self._text(f"more than {permitted} bytes of memory", str(permitted), data))

    def _text(self, cost: str, permitted: str, data: bytes) -> str:
        return f"{self._size(data)} bytes cost {cost}; the budget is {permitted}"


def traced_peak(run: Callable[[], None]) -> int:
    """Return the largest number of bytes that were allocated at a time while this ran."""
    gc.collect()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
