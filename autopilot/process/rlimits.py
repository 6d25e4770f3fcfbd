"""How many files the process may have open, and so how many connections.

Systems start processes with a low limit that they may raise themselves, for the sake of programs
that use ``select``. With the usual 1,024 a router would turn clients away at 500 streams.
"""

from __future__ import annotations

import resource
from typing import Any

MOST = 1 << 20
"""More are never asked for: a limit without a bound is refused by some systems."""


def use_all_descriptors(limits: Any = None) -> int:
    """Raise the limit of this process as far as it may, and return what it is then.

    It is for processes that are the router's own. `limits` stands in for ``resource`` in tests.
    """
    if limits is None:
        limits = resource
    soft, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    wanted = MOST if hard == limits.RLIM_INFINITY else min(hard, MOST)
    if soft == limits.RLIM_INFINITY or soft >= wanted:
        return int(soft)
    try:
        limits.setrlimit(limits.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # the system has a bound of its own, which it does not tell
        return int(soft)
    return int(wanted)
