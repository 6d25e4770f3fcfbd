"""Admission of calls, which every call to the platform must pass.

It counts, paces and serializes the calls, and closes permanently at the cap, or after an error page
of the edge. Further calls after an edge limit would prolong the ban.
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
    """No further call is admitted; the text gives the reason."""


class Admission(Protocol):
    """Admits calls, or refuses them."""

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call once it is admitted; raise ClosedError if it is refused."""

    def close(self, reason: str) -> None:
        """Admit no further call."""


class CallAdmission:
    """Admits at most `calls` calls in `seconds`, one at a time, `pace` seconds apart."""

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
        """Admit no further call; the first reason is kept."""
        self.closed = self.closed or reason

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call once it is admitted; raise ClosedError if it is refused."""
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
    """Admits every call; for the stub, which has no limits."""

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call."""
        return await call()

    def close(self, reason: str) -> None:
        """Do nothing; this admission never closes."""
