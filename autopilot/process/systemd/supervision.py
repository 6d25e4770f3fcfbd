"""The life of the process as its service manager sees it: ready, alive, stopping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall

from autopilot.process.systemd.notify import Notifier

_SLACK = 10.0
"""Seconds that a stop may take on top of the drain."""


class Supervision:
    """Tells the manager what happens, and gives signs of life as often as it wants them.

    Ready means listening. The feeds may be late: a platform that is down while a machine boots must
    not make its manager give the router up, and what needs no feed is served.
    """

    def __init__(
        self,
        reactor: Any,
        notifier: Notifier,
        watchdog: float | None,
        drain_seconds: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self.notifier = notifier
        self._watchdog = watchdog
        self._drain_seconds = drain_seconds
        self._signs = LoopingCall(notifier.alive)
        self._signs.clock = reactor

    def started(self) -> None:
        """The router listens; the manager is told when the reactor turns."""
        self._reactor.callWhenRunning(self._running)

    def stopping(self) -> None:
        """The router was told to stop."""
        self.notifier.stopping(self._drain_seconds() + _SLACK)

    def stopped(self) -> None:
        """The router has stopped: there are no more signs of life."""
        if self._signs.running:
            self._signs.stop()

    def _running(self) -> None:
        self.notifier.ready()
        if self._watchdog is not None:
            self._signs.start(self._watchdog / 2)
