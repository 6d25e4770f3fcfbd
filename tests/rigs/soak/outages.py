"""Outages of the upstream during a run, and their end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

from tests.rigs.soak.upstream import Upstream


class Outages:
    """Interrupts the upstream at random times; `clear` ends that and restores the feeds."""

    def __init__(self, upstream: Upstream, seed: int, every: float) -> None:
        """`every` is the mean of the seconds between two outages."""
        self._upstream = upstream
        self._rng = Random(f"outages/{seed}")
        self._every = every
        self._clear = asyncio.Event()

    async def live(self) -> None:
        """Cause outages until cleared."""
        self._upstream.feeds.calm = False
        while not self._clear.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(
                    self._clear.wait(), self._rng.uniform(0.5, 1.5) * self._every
                )
                break
            await self._upstream.refuse(self._rng.uniform(0.03, 0.4))
        self._upstream.feeds.calm = True

    def clear(self) -> None:
        """Stop causing outages."""
        self._clear.set()
