"""What the C library does with freed memory: it is kept for a while.

By itself glibc gives the top of the heap back to the system as soon as 128 KB of it are free, and
every block of that size or more at once. For a process that takes in one body of a megabyte after
another this means hundreds of page faults for each, which cost twice what all work on it does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

# From glibc's malloc.h; the meanings are in mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3

KEPT_BYTES: Final = 16 * 1024 * 1024
"""So much free memory may stay at the top of the heap."""

_STEP_BYTES = 1024 * 1024
_LARGE_BYTES = 4 * 1024 * 1024  # from here on a block is the system's own, and returned to it


def keep_freed_memory(library: object | None = None) -> bool:
    """Tell the C library of this process; whether it understood.

    It is for processes that are the router's own. `library` stands in for the C library in tests.
    """
    if library is None:
        library = ctypes.CDLL(None)
    mallopt: Callable[[int, int], int] | None = getattr(library, "mallopt", None)
    if mallopt is None:  # musl's, for one, has nothing to be told
        return False
    return all(
        mallopt(option, size) == 1
        for option, size in (
            (_M_TRIM_THRESHOLD, KEPT_BYTES),
            (_M_TOP_PAD, _STEP_BYTES),
            (_M_MMAP_THRESHOLD, _LARGE_BYTES),
        )
    )
