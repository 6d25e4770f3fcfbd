"""One resettable point in time that costs nothing to push back.

A stream pushes its idle deadline back on every chunk. Cancelling and scheduling a reactor call
each time would cost more than relaying the chunk, so only the due time moves; the one scheduled
call looks at it when it fires and, if the deadline moved meanwhile, sleeps for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadline:
    """Calls ``expired`` once when the time last given to :meth:`set` has passed.

    Whoever makes a deadline owns it and must :meth:`clear` it on every way out.
    """

    __slots__ = ("_call", "_clock", "_due", "_expired")

    def __init__(self, clock: IReactorTime, expired: Callable[[], None]) -> None:
        self._clock = clock
        self._expired = expired
        self._due: float | None = None
        self._call: IDelayedCall | None = None

    def set(self, seconds: float) -> None:
        """Expire ``seconds`` from now, whatever was set before."""
        self._due = due = self._clock.seconds() + seconds
        call = self._call
        if call is None:
            self._call = self._clock.callLater(max(0.0, seconds), self._fire)
        elif call.getTime() > due:
            call.reset(max(0.0, seconds))

    def rest(self) -> None:
        """Never expire, but keep the timer for the next :meth:`set`.

        For owners that still have a way out, on which they clear it.
        """
        self._due = None

    def clear(self) -> None:
        """Never expire; no timer is left behind."""
        self._due = None
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _fire(self) -> None:
        self._call = None
        due = self._due
        if due is None:
            return
        left = due - self._clock.seconds()
        if left > 0:
            self._call = self._clock.callLater(left, self._fire)
            return
        self._due = None
        self._expired()
