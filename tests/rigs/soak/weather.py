"""The bad day itself: when the upstream refuses connections, and when all is well again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

from tests.rigs.soak.upstream import Upstream


class Weather:
    """Lets the upstream refuse connections for moments; `clear` ends that and mends the feeds."""

    def __init__(self, upstream: Upstream, seed: int, every: float) -> None:
        """`every`: seconds between two such moments, on average."""
        self._upstream = upstream
        self._rng = Random(f"weather/{seed}")
        self._every = every
        self._clear = asyncio.Event()

    async def live(self) -> None:
        """Until it is clear."""
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
        """The day is over."""
        self._clear.set()
