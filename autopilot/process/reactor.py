"""An epoll reactor with less overhead per event, for ``twistd --reactor=autopilot``.

Twisted's own reactor wraps every event in a log context that names the event's descriptor, and
walks through its timers twice per turn. No code here reads that context, so this reactor calls a
ready descriptor directly, and it reads the clock once in a turn without a due timer. Descriptors
are treated the same: an exception is logged under the descriptor's name and disconnects it, and an
end of file reaches it as one. Peers that hang up in crowds are dealt with a few per turn, behind
those that say something.

The router runs on any reactor. This one depends on attributes that Twisted does not document, all
of which are listed in ``_NEEDED``. If one is missing, Twisted's own loop runs instead, and the log
says so once.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from math import inf
from typing import Any

from twisted.internet.error import ConnectionFdescWentAway
from twisted.internet.main import installReactor
from twisted.logger import Logger
from twisted.python import log

from autopilot.process.hold_watch import SHORTEST, Report

try:
    from select import EPOLLET, EPOLLRDHUP

    from twisted.internet.epollreactor import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPollReactor
except ImportError:
    raise ImportError("requires epoll, which this system lacks") from None

_NEEDED = (
    "_add",
    "_cancellations",
    "_disconnectSelectable",
    "_doReadOrWrite",
    "_justStopped",
    "_newTimedCalls",
    "_pendingTimedCalls",
    "_poller",
    "_reads",
    "_remove",
    "_selectables",
    "_started",
    "_writes",
    "threadCallQueue",
)

_MAX_WAIT = 3600.0
"""Longest wait in seconds while a timer is pending; well within the range of epoll_wait(2)."""

_MANY_CANCELLED = 50  # Twisted's own threshold for sweeping out cancelled timers

_MAX_EVENTS = 64
"""Most events handled per turn. The kernel queues the others fairly, behind descriptors that became
ready again, so that hundreds of clients that leave at once do not delay every other client's
tokens."""

_MAX_HANG_UPS = 8
"""Most peers that hung up and are dealt with in one turn: it takes ten times as long as a read, and
the upstream's connection, which is aborted, as long again."""

_HUNG_UP = EPOLLRDHUP | EPOLLHUP | EPOLLERR
# Only if epoll is asked for that, a hang-up differs from bytes to be read.
_ASKED = {EPOLLIN: EPOLLIN | EPOLLRDHUP, EPOLLOUT: EPOLLOUT}

_NO_DESCRIPTOR = ConnectionFdescWentAway("File descriptor lost")

_log = Logger()
_log_unhandled = _log.failureHandler("Unexpected error in main loop")


class AutopilotReactor(EPollReactor):
    """An `EPollReactor` that calls ready descriptors directly."""

    report_hold: Report | None
    """Receives the length of each turn from `SHORTEST` on, without the wait for events.

    Twisted's own loop, which measures nothing, lacks it.
    """

    def __init__(self) -> None:
        super().__init__()
        missing = [
            name
            for name in _NEEDED
            # This class has methods of the same names.
            if name not in vars(self) and not hasattr(EPollReactor, name)
        ]
        if missing:
            own = {"mainLoop": super().mainLoop, "doPoll": super().doPoll}
            vars(self).update(own, doIteration=own["doPoll"])
            _log.warn(
                "This Twisted has no {names}: its own event loop runs instead",
                names=", ".join(missing),
            )
        else:
            self.report_hold = None
        # When the events of this turn arrived, and they.
        self._polled_at = inf
        self._ready: list[tuple[int, int]] = []
        # Those of a crowd that hung up, by descriptor, until it is their turn.
        self._leaving: dict[int, tuple[Any, int]] = {}
        self._hung_up = 0  # in this turn

    def _add(
        self, xer: Any, primary: Any, other: Any, selectables: Any, event: int, antievent: int
    ) -> None:
        """See `EPollReactor`: also ask whether the peer hangs up."""
        super()._add(xer, primary, other, selectables, _ASKED[event], _ASKED[antievent])

    def _remove(
        self, xer: Any, primary: Any, other: Any, selectables: Any, event: int, antievent: int
    ) -> None:
        """See `EPollReactor`."""
        super()._remove(xer, primary, other, selectables, _ASKED[event], _ASKED[antievent])

    def mainLoop(self) -> None:
        """Run until stopped; log whatever a turn raises, and continue."""
        while True:
            with _log_unhandled:
                # Not `while self._started`: in a function that is called once, CPython 3.11
                # specializes its instructions only at the jump back of an endless loop.
                while True:
                    if not self._started:
                        _log.debug("Main loop terminated.")
                        return
                    # The usual turn, in which nothing is due, without the call of `_pause`.
                    timers, left = self._pendingTimedCalls, 0.0
                    if timers and not (self._newTimedCalls or self.threadCallQueue):
                        now = self.seconds()
                        left = timers[0].time - now
                        if now - self._polled_at >= SHORTEST and self.report_hold is not None:
                            self._report_events(self.report_hold, now)
                    rare = self._justStopped or self._cancellations > _MANY_CANCELLED
                    usual = 0.0 < left < _MAX_WAIT and self.running and not rare
                    self.doIteration(left if usual else self._pause())

    def _pause(self) -> float | None:
        """Run what is due, and return the seconds until the next timer, or None without a timer.

        Twisted's `runUntilCurrent` does the rest of a turn's work (calls from threads, new timers,
        stopping, sweeping out cancelled timers); it runs only if there is any.
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
                return min(left, _MAX_WAIT) if self.running else 0.0
        begun = self.seconds()
        if begun - self._polled_at >= SHORTEST and self.report_hold is not None:
            self._report_events(self.report_hold, begun)
        self._polled_at = inf
        self.runUntilCurrent()
        if self.report_hold is not None and (held := self.seconds() - begun) >= SHORTEST:
            self.report_hold(held, "timers or calls from threads")
        wait: float | None = self.timeout()
        return wait if self.running else 0.0

    def doPoll(self, timeout: float | None) -> None:  # noqa: C901  a call costs every event
        """Wait for events, at most `timeout` seconds, and dispatch them to their descriptors."""
        self._hung_up = 0
        if timeout is None or self._leaving:
            timeout = 0 if self._leaving else -1
        try:
            ready = self._poller.poll(timeout, _MAX_EVENTS)
        except InterruptedError:
            self._polled_at = inf
            return
        find = self._selectables.get
        self._polled_at, self._ready = self.seconds(), ready
        for descriptor, event in ready:
            selectable = find(descriptor)
            if selectable is None:
                continue  # an earlier event of this turn removed it
            # Hot path: nearly every event is exactly one of the two. Anything else (EPOLLHUP,
            # EPOLLERR, several bits) takes Twisted's own way.
            if event != EPOLLIN and event != EPOLLOUT:
                self._handle_rare(selectable, descriptor, event)
                continue
            why: Any
            try:
                if selectable.fileno() == -1:
                    why = _NO_DESCRIPTOR
                elif event == EPOLLIN:
                    why = selectable.doRead()
                else:
                    why = selectable.doWrite()
            except BaseException as raised:  # noqa: BLE001  logged, and disconnects
                log.callWithLogger(selectable, self._failed, selectable, raised)
                continue
            if why:
                self._disconnect(selectable, why, event)

        if self._leaving:
            self._handle_leaving()

    doIteration = doPoll

    def _handle_rare(self, selectable: Any, descriptor: int, event: int) -> None:
        """Handle an event in Twisted's way, or put off that of a crowd that hangs up."""
        if event & _HUNG_UP:
            if self._leaving.get(descriptor, (None,))[0] is selectable:
                return  # epoll is not silent about a reset
            self._hung_up += 1
            if self._hung_up > _MAX_HANG_UPS:
                self._poller.modify(descriptor, EPOLLET)
                self._leaving[descriptor] = selectable, event
                return
        log.callWithLogger(selectable, self._doReadOrWrite, selectable, descriptor, event)

    def _handle_leaving(self) -> None:
        """Handle events that were put off, the first first, up to the limit of this turn."""
        for descriptor in list(islice(self._leaving, max(0, _MAX_HANG_UPS - self._hung_up))):
            selectable, event = self._leaving.pop(descriptor)
            if self._selectables.get(descriptor) is not selectable:
                continue  # closed meanwhile, and its number perhaps used again
            reading = _ASKED[EPOLLIN] if descriptor in self._reads else 0
            writing = EPOLLOUT if descriptor in self._writes else 0
            self._poller.modify(descriptor, reading | writing)
            log.callWithLogger(selectable, self._doReadOrWrite, selectable, descriptor, event)

    def _report_events(self, report: Report, now: float) -> None:
        """Report that the last events took long; the clock is read for the next turn anyway."""
        selectables = [self._selectables.get(descriptor) for descriptor, _ in self._ready]
        report(now - self._polled_at, _described(selectables))

    def _disconnect(self, selectable: Any, why: Any, event: int) -> None:
        log.callWithLogger(
            selectable, self._disconnectSelectable, selectable, why, event == EPOLLIN
        )

    def _failed(self, selectable: object, raised: BaseException) -> None:
        log.err()
        self._disconnectSelectable(selectable, raised, False)


def _described(selectables: list[Any]) -> str:
    """Return which kinds of connections had events; without their addresses."""
    kinds = Counter(
        type(getattr(each, "protocol", None) or each).__name__
        for each in selectables
        if each is not None
    )
    closed = selectables.count(None)
    named = [f"{count} x {name}" for name, count in kinds.most_common(3)]
    return "events of " + ", ".join([*named, *([f"{closed} closed by then"] if closed else [])])


def install() -> None:
    """Install this reactor in the process."""
    installReactor(AutopilotReactor())
