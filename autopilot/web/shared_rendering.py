"""Renderings of the operators' pages, shared by all who request them within a second.

The pages need no key and show everything that a router knows, so what they cost must not depend on
the number of requests for them. What is shared is at most a second old, and nothing but the latest
rendering of each page is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

FRESHNESS: Final = 1.0
"""Seconds for which a rendering is shared."""

_T = TypeVar("_T")


class SharedRendering(Generic[_T]):
    """The latest rendering of one page, made again at most once a second."""

    def __init__(self, seconds: Callable[[], float], render: Callable[[], _T]) -> None:
        """``seconds`` returns the monotonic time."""
        self._seconds = seconds
        self._render = render
        self._latest: _T | None = None
        self._stale_at = -inf

    def __call__(self) -> _T:
        """Return the latest rendering, or a new one if that is no longer fresh."""
        now = self._seconds()
        if self._latest is None or now >= self._stale_at:
            self._latest = self._render()
            self._stale_at = now + FRESHNESS
        return self._latest

    def expire(self) -> None:
        """Drop the latest rendering, because what it shows has changed for good."""
        self._latest = None


class SlicedRendering:
    """The same for a long page, rendered in slices: one in each turn of the reactor."""

    def __init__(self, clock: IReactorTime, slices: Callable[[], Iterator[bytes]]) -> None:
        """``slices`` begins a rendering; each step of its result renders a slice."""
        self._clock = clock
        self._slices = slices
        self._latest: tuple[bytes, ...] | None = None
        self._stale_at = -inf
        self._in_progress: Iterator[bytes] | None = None
        self._rendered: list[bytes] = []
        self._waiting: list[Deferred[tuple[bytes, ...]]] = []

    def __call__(self) -> Deferred[tuple[bytes, ...]]:
        """Return the slices of the latest rendering, of the one in progress, or of a new one."""
        now = self._clock.seconds()
        if self._in_progress is None and self._latest is not None and now < self._stale_at:
            return succeed(self._latest)
        waiting: Deferred[tuple[bytes, ...]] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        if self._in_progress is None:
            self._latest, self._stale_at = None, now + FRESHNESS
            self._in_progress = self._slices()
            self._continue(self._in_progress)
        return waiting

    def _continue(self, in_progress: Iterator[bytes]) -> None:
        """Render one slice, and the next one in a later turn, while clients wait for them."""
        if not self._waiting:
            self._end()
            return
        try:
            self._rendered.append(next(in_progress))
        except StopIteration:
            self._latest = latest = tuple(self._rendered)
            for waiting in self._end():
                waiting.callback(latest)
        except Exception:  # noqa: BLE001  a bug, which each of the requests reports
            failure = Failure()
            for waiting in self._end():
                waiting.errback(failure)
        else:
            self._clock.callLater(0, self._continue, in_progress)

    def _end(self) -> list[Deferred[tuple[bytes, ...]]]:
        """Return those who waited, and be ready for the next rendering."""
        waiting, self._waiting = self._waiting, []
        self._in_progress, self._rendered = None, []
        return waiting


class SharedArrival(Generic[_T]):
    """The latest of what another process is asked for, at most once a second."""

    def __init__(self, seconds: Callable[[], float], ask: Callable[[], Deferred[_T]]) -> None:
        """``ask`` returns a Deferred that fires within a time limit of its own."""
        self._seconds = seconds
        self._ask = ask
        self._latest: _T | None = None
        self._stale_at = -inf
        self._asking = False
        self._waiting: list[Deferred[_T]] = []

    def __call__(self) -> Deferred[_T]:
        """Return what arrived last, what has been asked for, or something new."""
        if self._latest is not None and self._seconds() < self._stale_at:
            return succeed(self._latest)
        waiting: Deferred[_T] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        if not self._asking:
            self._asking, self._latest = True, None
            self._ask().addCallbacks(self._arrived, self._failed)
        return waiting

    def _arrived(self, result: _T) -> None:
        self._latest, self._stale_at = result, self._seconds() + FRESHNESS
        for waiting in self._end():
            waiting.callback(result)

    def _failed(self, failure: Failure) -> None:
        for waiting in self._end():
            waiting.errback(failure)

    def _end(self) -> list[Deferred[_T]]:
        self._asking = False
        waiting, self._waiting = self._waiting, []
        return waiting
