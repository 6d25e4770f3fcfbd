"""Tests of the notifications to a service manager, and of their times."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.process.systemd.notify import Notifier, watchdog_seconds
from autopilot.process.systemd.supervision import Supervision


class Starting(Clock):
    """A clock that is a reactor about to run."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Any] = []

    def callWhenRunning(self, function: Any) -> None:
        """See `IReactorCore`."""
        self.waiting.append(function)

    def runs(self) -> None:
        """Start running."""
        for each in self.waiting:
            each()


class SupervisionTests(SynchronousTestCase):
    """A manager that receives every notification."""

    def setUp(self) -> None:
        """Bind the manager's socket, an abstract one."""
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(f"\0autopilot-{os.getpid()}-{id(self)}")
        self.manager.setblocking(False)
        self.notifier = Notifier(f"@autopilot-{os.getpid()}-{id(self)}")
        self.reactor = Starting()

    def notified(self) -> list[str]:
        """Return the first line of each notification since the last call."""
        return [each.partition("\n")[0] for each in self.datagrams()]

    def datagrams(self) -> list[str]:
        """Return all notifications since the last call."""
        heard = []
        while True:
            try:
                heard.append(self.manager.recv(4096).decode())
            except BlockingIOError:
                return heard

    def test_keep_alive_that_fails(self) -> None:
        """An internal error in the keep-alive is logged, as the manager will restart the router."""
        self.patch(self.notifier, "alive", lambda: 1 // 0)
        self.supervision(watchdog=2.0).started()
        self.reactor.runs()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def supervision(self, watchdog: float | None = None) -> Supervision:
        """Return the supervision of a process that may take a minute to stop."""
        return Supervision(self.reactor, self.notifier, watchdog, lambda: 60.0)

    def test_life(self) -> None:
        """Ready when the reactor runs, not before; stopping may take the drain and a margin."""
        supervision = self.supervision()
        supervision.started()
        self.assertEqual(self.notified(), [])
        self.reactor.runs()
        self.assertEqual(self.notified(), ["READY=1"])
        supervision.stopping()
        (stopping,) = self.datagrams()
        self.assertEqual(stopping.split("\n")[::2], ["STOPPING=1", "EXTEND_TIMEOUT_USEC=70000000"])
        supervision.stopped()
        self.assertEqual((self.notified(), self.reactor.getDelayedCalls()), ([], []))

    def test_ready_later(self) -> None:
        """A router with workers is ready when the first of them is."""
        calls: list[Callable[[], None]] = []
        supervision = self.supervision()
        supervision.started(calls.append)
        self.reactor.runs()
        self.assertEqual(self.notified(), [])
        (ready,) = calls
        ready()
        self.assertEqual(self.notified(), ["READY=1"])
        supervision.stopped()

    def test_watchdog(self) -> None:
        """One keep-alive message in each half of the period, until the router has stopped."""
        supervision = self.supervision(watchdog=8.0)
        supervision.started()
        self.reactor.runs()
        self.assertEqual(self.notified(), ["READY=1", "WATCHDOG=1"])
        self.reactor.advance(3.9)
        self.assertEqual(self.notified(), [])
        self.reactor.advance(0.1)
        supervision.stopping()
        self.reactor.advance(4.0)
        self.assertEqual(self.notified(), ["WATCHDOG=1", "STOPPING=1", "WATCHDOG=1"])
        supervision.stopped()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_reload(self) -> None:
        """A reload carries its time, which newer managers require, and ends with ready."""
        self.notifier.reloading()
        self.notifier.ready()
        reloading, ready = self.datagrams()
        self.assertRegex(reloading, r"\ARELOADING=1\nMONOTONIC_USEC=[0-9]{3,}\Z")
        self.assertTrue(ready.startswith("READY=1\n"))

    def test_nobody(self) -> None:
        """Without a manager nothing is sent; a manager that has gone is logged once."""
        observer = EventLoggingObserver()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        Notifier().ready()
        self.assertEqual(list(observer), [])
        self.manager.close()
        self.notifier.stopping(1.0)
        self.assertEqual([event["state"] for event in observer], ["STOPPING=1"])

    def test_unread(self) -> None:
        """Unread keep-alive messages neither block the reactor nor fill the log."""
        observer = EventLoggingObserver()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for _ in range(600):
            self.notifier.alive()
        self.assertLess(len(self.notified()), 600)
        self.assertEqual(list(observer), [])

    def test_watchdog_seconds(self) -> None:
        """The period of the keep-alive messages, and the cases without any."""
        for expected, environ in (
            (None, {}),
            (30.0, {"WATCHDOG_USEC": "30000000"}),
            (0.5, {"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}),
            (None, {"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "8"}),
            (None, {"WATCHDOG_USEC": "0"}),
            (None, {"WATCHDOG_USEC": "soon"}),
        ):
            self.assertEqual(watchdog_seconds(environ, 7), expected)
