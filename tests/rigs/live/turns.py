"""Whose turn it is: the one place that every call to the platform has to pass.

It counts, waits, lets one call through at a time, and closes for good when the run has had its
share or the edge has complained. More calls after an edge limit make the ban longer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

T = TypeVar("T")

HARD_CAP = 40
PACE = 2.0
RUN_SECONDS = 900.0


class ClosedError(Exception):
    """No further call is made; the text says why."""


class Admission(Protocol):
    """Lets calls through, or not."""

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call when its turn has come; raises ClosedError when it never will."""

    def close(self, reason: str) -> None:
        """Let no further call through."""


class Turns:
    """At most `calls` calls, never two at once, `pace` seconds between them, for `seconds`."""

    def __init__(
        self,
        clock: IReactorTime,
        *,
        calls: int = HARD_CAP,
        pace: float = PACE,
        seconds: float = RUN_SECONDS,
    ) -> None:
        self._clock = clock
        self._calls = min(calls, HARD_CAP)
        self._pace = pace
        self._lock = DeferredLock()
        self._ends_at = clock.seconds() + seconds
        self._free_at = clock.seconds()
        self.taken = 0
        self.closed: str | None = None

    def close(self, reason: str) -> None:
        """Let no further call through; the first reason stays."""
        self.closed = self.closed or reason

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call when its turn has come; raises ClosedError when it never will."""
        await self._lock.acquire()
        try:
            await self._admit()
            try:
                return await call()
            finally:
                self._free_at = self._clock.seconds() + self._pace
        finally:
            self._lock.release()

    async def _admit(self) -> None:
        if self.taken >= self._calls:
            self.close(f"the cap of {self._calls} calls is reached")
        starts_at = max(self._free_at, self._clock.seconds())
        if starts_at >= self._ends_at:
            self.close("the run's time is up")
        if self.closed is None and starts_at > self._clock.seconds():
            await deferLater(self._clock, starts_at - self._clock.seconds())
        if self.closed is not None:
            raise ClosedError(self.closed)
        self.taken += 1


class Unlimited:
    """For the stand-in, which is ours."""

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call."""
        return await call()

    def close(self, reason: str) -> None:
        """Nothing closes."""
