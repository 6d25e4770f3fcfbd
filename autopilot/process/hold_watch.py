"""A watch on the reactor: how long one turn kept it from serving everything else.

The router's own reactor measures each turn. Any other one is watched by a timer, whose delay shows
how long the reactor was held when it was due; that finds only part of each hold.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final

from twisted.logger import Logger

SHORTEST: Final = 0.005
"""Seconds from which a turn is reported."""

LOGGED_FROM: Final = 0.05
"""Seconds from which a turn is worth a line of the log."""

_PERIOD = 0.1
_SECONDS_BETWEEN_LINES = 60.0

_MARGIN = SHORTEST
"""Seconds by which the reports of a turn are late: what began that much before it, began in it."""

Report = Callable[[float, str], None]
"""Receives how many seconds the reactor was held, and by what, as far as that is known."""


class Activity:
    """The coarse piece of work that began last: the reading of a request or a feed, a page.

    It costs whoever begins one an assignment, and nothing when it ends: whether it belongs to a
    turn of the reactor is a matter of its time.
    """

    __slots__ = ("latest",)

    def __init__(self) -> None:
        self.latest: tuple[str, float] = ("", -inf)
        """Its name, as "reading a request", and when it began."""

    def since(self, moment: float) -> str:
        """Return the name of the latest one, if it began at this time or later."""
        name, began = self.latest
        return name if began >= moment else ""


class HoldWatch:
    """Passes the length of each turn from `SHORTEST` on to ``observed``; logs one line a minute."""

    _log = Logger()

    def __init__(self, clock: Any, observed: Callable[[float], None]) -> None:
        self._clock = clock
        self._observed = observed
        self.activity = Activity()
        self._timer: Any = None
        self._due = 0.0
        self._measured: Any = None  # the reactor that reports
        self._worst, self._by, self._others = 0.0, "", 0
        self._logged_at = -inf

    def measure(self, reactor: Any) -> None:
        """Have ``reactor`` report its own turns if it can, so that no timer is needed.

        It reports to one watch alone: that of another router in the process uses its timer.
        """
        if getattr(reactor, "report_hold", self) is None:
            reactor.report_hold = self.held
            self._measured = reactor

    def start(self) -> None:
        """Start the timer, unless the reactor measures its turns."""
        if self._measured is None and self._timer is None:
            self._schedule()

    def stop(self) -> None:
        """Stop the timer, and have the reactor report no more."""
        measured, self._measured = self._measured, None
        if measured is not None:
            measured.report_hold = None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _schedule(self) -> None:
        self._due = self._clock.seconds() + _PERIOD
        self._timer = self._clock.callLater(_PERIOD, self._tick)

    def _tick(self) -> None:
        late = self._clock.seconds() - self._due
        self._schedule()
        if late >= SHORTEST:
            self._count(late, "unknown code", late + _PERIOD)

    def held(self, seconds: float, by: str) -> None:
        """Count a turn, and log the longest since the last line if that is a minute ago."""
        self._count(seconds, by, seconds + _MARGIN)

    def _count(self, seconds: float, by: str, ago: float) -> None:
        """Count a turn that began at most ``ago`` seconds before."""
        self._observed(seconds)
        if seconds < LOGGED_FROM:
            return
        self._others += 1
        now = self._clock.seconds()
        if seconds > self._worst:
            work = self.activity.since(now - ago)
            self._worst, self._by = seconds, f"{by}, last {work}" if work else by
        if now - self._logged_at < _SECONDS_BETWEEN_LINES:
            return
        self._log.warn(
            "The reactor was held {milliseconds} ms by {by}{others}",
            milliseconds=round(self._worst * 1000),
            by=self._by,
            others=f", and {self._others - 1} times for less" if self._others > 1 else "",
        )
        self._logged_at = now
        self._worst, self._by, self._others = 0.0, "", 0
