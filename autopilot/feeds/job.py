"""Work that is done one at a time, however often it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from autopilot.http.fetch import cancel


class Job:
    """Runs a coroutine when asked; asked for again while it runs, it runs once more behind.

    ``failed`` is called with what it raises.
    """

    def __init__(
        self, work: Callable[[], Coroutine[Deferred[Any], Any, None]], failed: Callable[..., None]
    ) -> None:
        self._work = work
        self._failed = failed
        self._running: Deferred[None] | None = None
        self._again = False
        self._stopped = False

    @property
    def running(self) -> bool:
        """Whether it is being done."""
        return self._running is not None

    def ask(self) -> None:
        """Do the work, now or once it has been done."""
        if self._stopped:
            return
        if self._running is not None:
            self._again = True
            return
        self._running = running = Deferred.fromCoroutine(self._work())
        running.addErrback(self._report)
        running.addBoth(self._ended)

    def stop(self) -> Deferred[None]:
        """Cancel the work, and do no more. Fires when it has ended."""
        self._stopped = True
        return cancel(self._running)

    def _report(self, failure: Failure) -> None:
        if not (self._stopped and failure.check(CancelledError)):
            self._failed(failure)

    def _ended(self, _result: object) -> None:
        self._running = None
        again, self._again = self._again, False
        if again:
            self.ask()
