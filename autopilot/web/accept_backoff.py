"""When no file descriptor is left for a client: accepting pauses, and one line says so.

Twisted's ports then close new connections at once, and write up to three lines for each of them,
one with its address. A crowd would fill the log, and addresses have no place in it. And should the
descriptor be lost that Twisted keeps for this case, its port would try again without a rest.
"""

from __future__ import annotations

from math import inf
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

_SECONDS_OF_PAUSE = 0.25
_SECONDS_BETWEEN_REPORTS = 60.0

_log = Logger()


def rest_when_exhausted(port: Any, clock: IReactorTime) -> None:
    """Let `port` pause when it cannot accept, and report that now and then in its own words.

    What Twisted logs is the only sign of it; where its ports are made otherwise, nothing changes.
    """
    if isinstance(getattr(port, "_logger", None), Logger):
        port._logger = Logger(observer=_Exhaustion(port, clock))


@implementer(ILogObserver)
class _Exhaustion:
    """Takes the events of accepting, all of which say that it failed."""

    def __init__(self, port: Any, clock: IReactorTime) -> None:
        self._port = port
        self._clock = clock
        self._pausing = False
        self._reported = -inf

    def __call__(self, event: LogEvent) -> None:
        """Pause, and report it unless that was done a moment ago."""
        if not self._pausing:
            self._pausing = True
            self._port.stopReading()
            self._clock.callLater(_SECONDS_OF_PAUSE, self._resume)
        now = self._clock.seconds()
        if now - self._reported >= _SECONDS_BETWEEN_REPORTS:
            self._reported = now
            _log.warn("No file descriptor is left: new clients have to wait or are turned away")

    def _resume(self) -> None:
        self._pausing = False
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()
