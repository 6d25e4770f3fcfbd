"""A store that misbehaves during a run, and its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Final

from tests.rigs.replicas.programs import StoreProcess

_KINDS: Final = ("killed", "paused", "full", "read-only")


class StoreFaults:
    """Disturbs the store at random times; `clear` ends that and leaves it well."""

    def __init__(self, store: StoreProcess, seed: int, every: float) -> None:
        """`every` is the mean of the seconds between two disturbances."""
        self.counts: Counter[str] = Counter()
        self._store = store
        self._rng = Random(f"store/{seed}")
        self._every = every
        self._clear = asyncio.Event()

    async def live(self) -> None:
        """Disturb the store until cleared."""
        while not self._clear.is_set():
            await self._wait(self._rng.uniform(0.5, 1.5) * self._every)
            if not self._clear.is_set():
                await self._disturb(self._rng.choice(_KINDS), self._rng.uniform(0.2, 3.0))

    def clear(self) -> None:
        """End the disturbance that is going on, and cause no other."""
        self._clear.set()

    async def _disturb(self, kind: str, seconds: float) -> None:
        self.counts[kind] += 1
        store = self._store
        if kind == "killed":
            await asyncio.to_thread(store.kill)
            await self._wait(seconds)
            await asyncio.to_thread(store.start)
        elif kind == "paused":
            await asyncio.to_thread(store.pause, seconds)
            await asyncio.sleep(seconds)  # no command would end it earlier
        elif kind == "full":
            await asyncio.to_thread(store.fill)
            await self._wait(seconds)
            await asyncio.to_thread(store.empty)
        else:
            await asyncio.to_thread(store.follow)
            await self._wait(seconds)
            await asyncio.to_thread(store.lead)

    async def _wait(self, seconds: float) -> None:
        """Wait, unless cleared."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._clear.wait(), seconds)
