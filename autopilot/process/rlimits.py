"""The limit on open files, and thereby on connections.

Systems start processes with a low soft limit that the process may raise, for the sake of programs
that use select(2). With the usual 1,024 descriptors the router could serve about 500 streams.
"""

from __future__ import annotations

import resource
from math import inf
from typing import Any

MAX_DESCRIPTORS = 1 << 20
"""The highest limit that is requested; some systems reject an unlimited one."""


def descriptor_limit(limits: Any = None) -> float:
    """Return how many descriptors this process may have; infinite if there is no limit.

    `limits` replaces ``resource`` in tests.
    """
    if limits is None:
        limits = resource
    soft, _ = limits.getrlimit(limits.RLIMIT_NOFILE)
    return inf if soft == limits.RLIM_INFINITY else int(soft)


def use_all_descriptors(limits: Any = None) -> int:
    """Raise the soft limit to the hard limit as far as possible, and return the resulting limit.

    Only a process that belongs to the router may call this. `limits` replaces ``resource`` in
    tests.
    """
    if limits is None:
        limits = resource
    soft, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == limits.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft == limits.RLIM_INFINITY or soft >= wanted:
        return int(soft)
    try:
        limits.setrlimit(limits.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # the system has a lower bound that it does not report
        return int(soft)
    return int(wanted)
