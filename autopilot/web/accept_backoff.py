"""Limits of accepting: few clients a turn, and a pause while no file descriptor is free.

On EMFILE, Twisted's port accepts and closes each new connection with a descriptor that it keeps in
reserve, and logs up to three lines a connection, one with the client's address. A flood of clients
would fill the log, which must not contain addresses (contract §10). If the reserve is lost too,
the port retries in a busy loop.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

from autopilot.process.exhaustion import ExhaustionPause

MOST_ACCEPTED = 64


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
        self._exhaustion = ExhaustionPause(clock, lambda: port.stopReading(), self._resume)

    def __call__(self, event: LogEvent) -> None:
        """Pause the port."""
        self._exhaustion.begin()

    def _resume(self) -> None:
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()
