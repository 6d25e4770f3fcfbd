"""Twisted's epoll reactor with less work per event, for ``twistd --reactor=autopilot``.

Around every event Twisted's own reactor keeps a log context that says whose event it is, and in
every turn it goes through its timers twice. Nothing here reads that context, so a ready descriptor
is called directly, and a turn in which no timer is due looks at the clock once. What becomes of a
descriptor is the same: what it raises is logged under its name and disconnects it, and an end of
file reaches it as one.

The router runs on any reactor. This one leans on attributes of Twisted's that are not public, all
of them named here; where one is missing it works as Twisted's does, and says so once.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionFdescWentAway
from twisted.internet.main import installReactor
from twisted.logger import Logger
from twisted.python import log

try:
    from twisted.internet.epollreactor import EPOLLIN, EPOLLOUT, EPollReactor
except ImportError:
    raise ImportError("it needs epoll, which this system does not have") from None

_NEEDED = (
    "_cancellations",
    "_disconnectSelectable",
    "_doReadOrWrite",
    "_justStopped",
    "_newTimedCalls",
    "_pendingTimedCalls",
    "_poller",
    "_selectables",
    "_started",
    "threadCallQueue",
)

_LONGEST = 3600.0
"""Seconds to wait for an event at most, when a timer is to come; far within what epoll takes."""

_MANY_CANCELLED = 50

_TURN = 64
"""Events at most in one turn. The kernel queues the rest fairly, behind those that are ready again:
so hundreds of clients that leave at once do not hold up everybody's tokens until all are gone."""

_NO_DESCRIPTOR = ConnectionFdescWentAway("File descriptor lost")

_log = Logger()
_turning = _log.failureHandler("Unexpected error in main loop")


class AutopilotReactor(EPollReactor):
    """An `EPollReactor` that calls ready descriptors directly."""

    def __init__(self) -> None:
        super().__init__()
        missing = [name for name in _NEEDED if not hasattr(self, name)]
        if missing:
            own = {"mainLoop": super().mainLoop, "doPoll": super().doPoll}
            vars(self).update(own, doIteration=own["doPoll"])
            _log.warn(
                "This Twisted has no {names}: its own event loop runs instead",
                names=", ".join(missing),
            )

    def mainLoop(self) -> None:
        """Run until stopped; what fails on the way is logged."""
        while self._started:
            with _turning:
                while self._started:
                    self.doIteration(self._pause())
        _log.info("Main loop terminated.")

    def _pause(self) -> float | None:
        """Do what is due, and tell how many seconds there are to the next timer, if there is one.

        What else is to be done in a turn (calls from threads, new timers, stopping, sweeping out
        cancelled timers) and how, Twisted knows.
        """
        timers = self._pendingTimedCalls
        if not (
            self._newTimedCalls
            or self.threadCallQueue
            or self._justStopped
            or self._cancellations > _MANY_CANCELLED
        ):
            if not timers:
                return None if self.running else 0.0
            left = timers[0].time - self.seconds()
            if left > 0:
                return min(left, _LONGEST) if self.running else 0.0
        self.runUntilCurrent()
        wait: float | None = self.timeout()
        return wait if self.running else 0.0

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, for `timeout` seconds at most, and hand them to their descriptors."""
        selectables = self._selectables
        try:
            ready = self._poller.poll(-1 if timeout is None else timeout, _TURN)
        except InterruptedError:
            return
        find = selectables.get
        for descriptor, event in ready:
            selectable = find(descriptor)
            if selectable is None:
                continue  # another's event removed it
            if event != EPOLLIN and event != EPOLLOUT:
                log.callWithLogger(selectable, self._doReadOrWrite, selectable, descriptor, event)
                continue
            try:
                why: Any
                if selectable.fileno() == -1:
                    why = _NO_DESCRIPTOR
                elif event == EPOLLIN:
                    why = selectable.doRead()
                else:
                    why = selectable.doWrite()
            except BaseException as raised:  # noqa: BLE001  it is logged and disconnects
                log.callWithLogger(selectable, self._failed, selectable, raised)
            else:
                if why:
                    log.callWithLogger(
                        selectable, self._disconnectSelectable, selectable, why, event == EPOLLIN
                    )

    doIteration = doPoll

    def _failed(self, selectable: object, raised: BaseException) -> None:
        log.err()
        self._disconnectSelectable(selectable, raised, False)


def install() -> None:
    """Make it the reactor of this process."""
    installReactor(AutopilotReactor())
