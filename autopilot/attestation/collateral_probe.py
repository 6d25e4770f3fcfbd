"""Whether Intel's service can be reached, before the first quote says whose data is needed.

Without it a router would count as ready whose every private request fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.attestation.bug_log import log_bug
from autopilot.http.fetch import FetchedResponse, cancel
from autopilot.http.fetch_error import FetchError

PERIOD: Final = 60.0


class CollateralProbe:
    """Fetches what does not depend on a platform, until that succeeds or data has been fetched.

    ``needless`` returns whether data is there.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        fetch: Callable[[], Deferred[FetchedResponse]],
        needless: Callable[[], bool],
    ) -> None:
        self._fetch = fetch
        self._needless = needless
        self._reached = False
        self._failed = False
        self._in_flight: Deferred[None] | None = None
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    @property
    def failed(self) -> bool:
        """Whether the service could not be reached, and there is no data."""
        return self._failed and not self._needless()

    def start(self) -> None:
        """Begin to fetch."""
        self._loop.start(PERIOD)

    def stop(self) -> None:
        """End the fetch under way."""
        if self._loop.running:
            self._loop.stop()
        cancel(self._in_flight)

    def _look(self) -> Deferred[None] | None:
        if self._reached or self._needless():
            return None
        self._in_flight = maybeDeferred(self._fetch).addCallbacks(self._answered, self._missed)
        return self._in_flight

    def _answered(self, answer: FetchedResponse) -> None:
        self._reached = answer.status == 200
        self._note(None if self._reached else f"status {answer.status}")

    def _missed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(FetchError):
            self._note(failure.getErrorMessage())
        else:
            log_bug(self._log, "Intel's service was tried", failure)
            self._note("internal error")

    def _note(self, problem: str | None) -> None:
        """Log that the service cannot be reached, once."""
        if problem is not None and not self._failed:
            self._log.warn(
                "Private mode: Intel's collateral could not be fetched ({problem}); retrying",
                problem=problem,
            )
        self._failed = problem is not None
