"""The process's state as its service manager sees it: ready, alive, stopping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.process.systemd.notify import Notifier

_STOP_MARGIN = 10.0
"""Seconds that a stop may take beyond the drain."""


class Supervision:
    """Notifies the manager of each change of state, and sends keep-alive messages.

    Ready means listening, not fresh feeds: a platform outage while the machine boots must not make
    the manager give the router up, and the router serves some requests without feeds.
    """

    _log = Logger()

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
        self._keep_alive = LoopingCall(notifier.alive)
        self._keep_alive.clock = reactor

    def started(self, when_ready: Callable[[Callable[[], None]], object] | None = None) -> None:
        """Report readiness when ``when_ready`` calls back; without it, once the reactor runs."""
        (when_ready or self._reactor.callWhenRunning)(self._running)

    def stopping(self) -> None:
        """Report that the router has begun to stop."""
        self.notifier.stopping(self._drain_seconds() + _STOP_MARGIN)

    def stopped(self) -> None:
        """End the keep-alive messages, as the router has stopped."""
        if self._keep_alive.running:
            self._keep_alive.stop()

    def _running(self) -> None:
        self.notifier.ready()
        if self._watchdog is not None:
            self._keep_alive.start(self._watchdog / 2).addErrback(self._keep_alive_failed)

    def _keep_alive_failed(self, failure: Failure) -> None:
        self._log.failure(
            "Keep-alive messages failed; the watchdog will restart the router", failure
        )
