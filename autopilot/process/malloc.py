"""Tuning of a process's memory: glibc's allocator, and Python's search for cyclic garbage.

The allocator is tuned for a process that holds large request bodies for a short time.

By default glibc returns the top of the heap to the system as soon as 128 KB of it are free, and
maps every block of at least that size separately. A process that handles one body of a megabyte
after another then takes hundreds of page faults per request, which cost twice as much CPU as the
request itself.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from typing import Final

# Constants of glibc's malloc.h; mallopt(3) documents them.
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3

TRIM_THRESHOLD_BYTES: Final = 16 * 1024 * 1024
"""The free memory at the top of the heap beyond which glibc returns it to the system."""

_TOP_PAD_BYTES = 1024 * 1024
_MMAP_THRESHOLD_BYTES = (
    4 * 1024 * 1024
)  # from this size on, a block is mapped and unmapped by itself

_FULL_EVERY = 100  # collections of the middle generation


def keep_freed_memory(library: object | None = None) -> bool:
    """Set the thresholds of this process's C library, and return whether it accepted all of them.

    Only a process that belongs to the router may call this. `library` replaces the C library in
    tests.
    """
    if library is None:
        library = ctypes.CDLL(None)
    mallopt: Callable[[int, int], int] | None = getattr(library, "mallopt", None)
    if mallopt is None:  # musl, for instance, has no mallopt
        return False
    return all(
        mallopt(option, size) == 1
        for option, size in (
            (_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES),
            (_M_TOP_PAD, _TOP_PAD_BYTES),
            (_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES),
        )
    )


def return_freed_memory(library: object | None = None) -> bool:
    """Return what the start has freed to the system, and whether the C library could.

    It takes milliseconds. `library` replaces the C library in tests.
    """
    if library is None:
        library = ctypes.CDLL(None)
    trim: Callable[[int], int] | None = getattr(library, "malloc_trim", None)
    return trim is not None and trim(0) == 1


def leave_startup_alone() -> None:
    """Exclude all objects that exist now from the search for cyclic garbage.

    Modules, classes and settings live as long as the process. A full search of them takes some 50
    ms, in which no client is served, and crowds of clients cause one. Only a process that belongs
    to the router may call this, when it has started.
    """
    gc.collect()
    gc.freeze()
    # The interpreter makes full collections rarer the more objects there are; those excluded do not
    # count any more, and each request would pay for it.
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _FULL_EVERY)
