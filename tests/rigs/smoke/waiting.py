"""Polling for a condition, with a limit generous enough for a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LIMIT = 20.0
PAUSE = 0.02


class NeverHappenedError(Exception):
    """The condition did not become true in time."""


def until(what: str, probe: Callable[[], T | None], limit: float = LIMIT) -> T:
    """Return the first result of `probe` that is neither None nor False.

    Raise NeverHappenedError, which names `what`, after `limit` seconds.
    """
    end = time.monotonic() + limit
    while True:
        answer = probe()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > end:
            raise NeverHappenedError(f"{what}: not within {limit:g} s")
        time.sleep(PAUSE)
