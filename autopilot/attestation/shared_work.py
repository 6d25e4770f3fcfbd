"""Work under way for all that wait for it: done once, and given up with the last that waits."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_T = TypeVar("_T")


class SharedWork(Generic[_T]):
    """The work, which its owner sets as ``running``, and those that wait for its result."""

    __slots__ = ("_waiting", "running")

    def __init__(self) -> None:
        self.running: Deferred[Any] | None = None
        self._waiting: list[Deferred[_T]] = []

    def join(self) -> Deferred[_T]:
        """Wait for the result.

        Cancelling gives up waiting, and cancels the work with the last one that waits.
        """
        waiting: Deferred[_T] = Deferred(self._leave)
        self._waiting.append(waiting)
        return waiting

    def cancel(self) -> None:
        """Cancel the work, for all that wait."""
        if self.running is not None:
            self.running.cancel()

    def succeed(self, result: _T) -> None:
        """Give the result to all that wait. One may cancel the others when it has it."""
        self.running = None
        while self._waiting:
            self._waiting.pop(0).callback(result)

    def fail(self, error: Exception) -> None:
        """Fail all that wait, so that the failure is theirs and is not logged as unhandled."""
        self.running = None
        while self._waiting:
            self._waiting.pop(0).errback(Failure(error))

    def _leave(self, waiting: Deferred[_T]) -> None:
        self._waiting.remove(waiting)
        if not self._waiting:
            self.cancel()
