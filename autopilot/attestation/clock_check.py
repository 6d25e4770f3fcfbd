"""Whether this machine's time of day is right, by the ``Date`` of answers.

A wrong clock looks like collateral that has ended, or has not begun. Nothing is decided by this: a
header is no authority, and what is verified is verified at the machine's own time.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

from twisted.logger import Logger
from twisted.web.http_headers import Headers

from autopilot.http.fetch import FetchedResponse

WRONG_SECONDS: Final = 12 * 3600.0
_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR


class ClockCheck:
    """Compares the clock with each answer, and logs a line when it is found to be wrong."""

    _log = Logger()

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self.problem: str | None = None
        """What is wrong with the clock, in words."""

    def seen(self, answer: FetchedResponse) -> FetchedResponse:
        """Compare the clock with an answer that has just been received, and return that."""
        told = _time_of(answer.headers)
        if told is not None:
            self._compare(told)
        return answer

    def _compare(self, told: float) -> None:
        problem = _problem(self._wall() - told)
        if problem is not None and self.problem is None:
            self._log.warn(
                "Private mode: {problem} of the platform's answers; while it is wrong, genuine"
                " evidence may be refused",
                problem=problem,
            )
        self.problem = problem


def _problem(ahead: float) -> str | None:
    if abs(ahead) < WRONG_SECONDS:
        return None
    apart = abs(ahead)
    days = apart >= _DAY
    count = round(apart / (_DAY if days else _HOUR))
    unit = ("day" if days else "hour") + ("" if count == 1 else "s")
    return (
        f"this machine's clock is about {count} {unit} {'ahead of' if ahead > 0 else 'behind'} that"
    )


def _time_of(headers: Headers) -> float | None:
    """Return when an answer was made; that of a cache was older by its ``Age``."""
    dates = headers.getRawHeaders("Date") or ()
    ages = headers.getRawHeaders("Age") or ()
    try:
        made = parsedate_to_datetime(dates[0]).timestamp()
        return made + (float(ages[0]) if ages else 0.0)
    except (IndexError, ValueError, TypeError, OverflowError):
        return None
