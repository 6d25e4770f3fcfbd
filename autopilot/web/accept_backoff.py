"""Limits of accepting: few clients a turn, and a pause while no file descriptor is free.

On EMFILE, Twisted's port accepts and closes each new connection with a descriptor that it keeps in
reserve, and logs up to three lines a connection, one with the client's address. A flood of clients
would fill the log, which must not contain addresses (contract §10). If the reserve is lost too,
the port retries in a busy loop.
"""

from __future__ import annotations

from math import inf
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

MOST_ACCEPTED = 64
_PAUSE_SECONDS = 0.25
_REPORT_INTERVAL_SECONDS = 60.0

_log = Logger()


def pause_when_exhausted(port: Any, clock: IReactorTime) -> None:
    """Make ``port`` pause when it cannot accept, and log one warning a minute instead.

    A Twisted port reports a failed accept to its private logger only, so this replaces that logger;
    a port without one is left as it is.
    """
    if isinstance(getattr(port, "_logger", None), Logger):
        port._logger = Logger(observer=_AcceptErrors(port, clock))


def accept_in_turns(port: Any) -> None:
    """Make ``port`` accept at most `MOST_ACCEPTED` clients in one turn of the reactor.

    Twisted's port accepts more with each turn in which there were enough, hundreds in the end: a
    thousand clients that come at once would hold the reactor for a tenth of a second.
    """
    if not hasattr(port, "numberAccepts"):
        return
    accept = port.doRead

    def accept_some() -> object:
        port.numberAccepts = min(port.numberAccepts, MOST_ACCEPTED)
        return accept()

    port.doRead = accept_some


@implementer(ILogObserver)
class _AcceptErrors:
    """The observer of a port's private logger, whose every event reports a failed accept."""

    def __init__(self, port: Any, clock: IReactorTime) -> None:
        self._port = port
        self._clock = clock
        self._pausing = False
        self._reported = -inf

    def __call__(self, event: LogEvent) -> None:
        """Pause the port, and warn unless a warning is less than a minute old."""
        if not self._pausing:
            self._pausing = True
            self._port.stopReading()
            self._clock.callLater(_PAUSE_SECONDS, self._resume)
        now = self._clock.seconds()
        if now - self._reported >= _REPORT_INTERVAL_SECONDS:
            self._reported = now
            _log.warn(
                "No file descriptor is left: new clients wait or are rejected;"
                " raise the limit on open files (ulimit -n, LimitNOFILE=)"
            )

    def _resume(self) -> None:
        self._pausing = False
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()
