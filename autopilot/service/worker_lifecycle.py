"""The life of a worker's process: what it does at the words of its parent, and how it ends.

Like `autopilot.service.lifecycle` it must not be imported before the reactor is chosen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogBeginner

from autopilot.feeds.polling import FEEDS
from autopilot.http.resolver import share_lookups
from autopilot.http.tls_server import CertificateError
from autopilot.observability.logs import Sink
from autopilot.process.board import Board, Slot
from autopilot.process.malloc import (
    keep_freed_memory,
    leave_startup_alone,
    return_freed_memory,
)
from autopilot.service.assignment import Assignment, AssignmentError
from autopilot.service.commands import Await, Drain, Draining, Line, Ready
from autopilot.service.frames import Frames, Kind
from autopilot.service.lifecycle import use_monotonic_clock
from autopilot.service.log_output import log_outputs, own_log, unblocked
from autopilot.service.reports import ParentAnswers
from autopilot.service.worker_process import BOARD, COMMANDS, FRAMES, adopt
from autopilot.service.worker_service import WorkerService

_HEARTBEAT_SECONDS: Final = 1.0
_LAST_REPORT_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.02
_TIDY_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 10.0
"""Seconds after which a worker serves although it has not received the feeds."""

CANNOT_START: Final = 1
"""The exit status of a worker that cannot serve; its log says why."""


class Worker:
    """A worker's process, from the first word of its parent to its end."""

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._line = Line(self._abandoned)
        self._frames = Frames(self._abandoned)
        self._answers = ParentAnswers(reactor, self._frames)
        self._frames.on(Kind.SETTINGS, self._assigned)
        self._line.on(Draining, self._announce_drain)
        self._line.on(Drain, self._drain)
        self._line.on(Await, self._await)
        self._service: WorkerService | None = None
        self._stopping: Deferred[None] | None = None
        self._ending = self._stopped = False
        self._logging = False
        self._status = 0
        self._patient_until = 0.0

    def run(self) -> int:
        """Serve until the end, and return the exit status."""
        use_monotonic_clock(self._reactor)
        share_lookups(self._reactor)
        keep_freed_memory()
        self._adopt(FRAMES, self._frames)
        # The parent alone handles signals.
        self._reactor.run(installSignalHandlers=False)
        return self._status

    def _assigned(self, payload: bytes) -> None:
        """Begin, or apply a reload."""
        try:
            assignment = Assignment.decode(payload)
        except AssignmentError as error:
            self._give_up(str(error))
            return
        if self._service is None:
            self._begin(assignment)
        else:
            self._service.apply(assignment)

    def _begin(self, assignment: Assignment) -> None:
        board = Board.open(BOARD)
        slot = board.slot(assignment.slot)
        LoopingCall(self._beat, slot).start(_HEARTBEAT_SECONDS)
        sink: Sink | None = unblocked(sys.stdout, self._reactor)
        assert sink is not None
        observer, records = log_outputs(sink, assignment.settings, assignment.role.worker)
        globalLogBeginner.beginLoggingTo([observer])
        self._logging = True
        try:
            service = WorkerService(assignment, slot, reactor=self._reactor, records=records)
        except CertificateError as error:
            self._give_up(f"TLS_CERT_FILE: {error}")
            return
        self._service = service
        self._frames.on(Kind.FEED, service.feed)
        self._frames.on(Kind.REPORT, lambda _: self._report())
        self._frames.on(Kind.PAGE, self._answers.received)
        service.ask_parent_by(self._answers.ask)
        self._frames.on(Kind.PRIVATE, service.private_answer)
        self._frames.on(Kind.STATE, service.learn)
        leave_startup_alone()

        def measure_and_start() -> None:
            own_log(service, sink, observer, records)
            self._start(service, assignment.awaited)

        # In a turn of its own: to build the router holds the reactor, before any client is served.
        self._reactor.callLater(0, measure_and_start)

    def _start(self, service: WorkerService, awaited: Collection[str]) -> None:
        if self._stopping is not None:
            return
        service.privilegedStartService()
        service.startService()
        # Only now, so that no event is read before it can be applied.
        self._adopt(COMMANDS, self._line)
        service.join(self._line)
        service.ask_for_instances(partial(self._frames.send, Kind.PRIVATE))
        self._patient_until = self._reactor.seconds() + _LONGEST_WAIT_SECONDS
        self._wait_for(awaited)
        self._tidy(service)

    def _tidy(self, service: WorkerService) -> None:
        """Return the memory that was needed to read the feeds for the first time, afterwards."""
        if service.has(FEEDS):
            return_freed_memory()
        elif self._stopping is None:
            self._reactor.callLater(_TIDY_SECONDS, self._tidy, service)

    def _adopt(self, descriptor: int, protocol: Protocol) -> None:
        os.set_blocking(descriptor, False)
        adopt(self._reactor, descriptor, protocol)
        os.close(descriptor)

    def _wait_for(self, feeds: Collection[str]) -> None:
        """Report readiness once these feeds have been read: the parent has them."""
        if self._service is None or self._stopping is not None:
            return
        patient = self._reactor.seconds() < self._patient_until
        if patient and not self._service.has(feeds):
            self._reactor.callLater(_LOOK_SECONDS, self._wait_for, feeds)
            return
        read = [each.encode("ascii") for each in sorted(self._service.feeds)]
        self._line.tell(Ready, feeds=read if patient else None)

    def _await(self, feeds: Collection[bytes]) -> None:
        """Wait for what the parent has fetched while this process was starting."""
        self._wait_for([each.decode("ascii") for each in feeds])

    def _beat(self, slot: Slot) -> None:
        slot.heartbeat = max(1, int(self._reactor.seconds() * 1000))

    def _give_up(self, problem: str) -> None:
        self._status = CANNOT_START
        if self._logging:
            self._log.error("{problem}", problem=problem)
        else:
            print(f"autopilot: {problem}", file=sys.stderr)  # noqa: T201
        self._reactor.callLater(0, self._end)

    def _announce_drain(self) -> None:
        if self._service is not None:
            self._service.announce_drain()

    def _drain(self, in_haste: bool) -> None:
        """Finish what is in progress, and end; again in haste, end it now."""
        if self._service is None:
            self._end()
            return
        if in_haste:
            self._service.end_drain()
        if self._stopping is None:
            self._stopping = self._service.stopService()
            self._stopping.addBoth(lambda _: self._end())

    def _abandoned(self) -> None:
        """Drain and end, because the parent has died, or has closed the connection."""
        self._answers.close()
        if self._ending:
            self._stop()
        elif self._stopping is None:
            if self._service is not None:
                self._service.announce_drain()
                self._log.error("The parent process has ended; this worker drains and ends")
            self._drain(in_haste=False)

    def _report(self) -> None:
        if self._service is not None:
            self._frames.send(Kind.REPORT, self._service.report())

    def _end(self) -> None:
        """Send a last report, and stop when it is written, or the parent does not read it."""
        if self._ending:
            return
        self._ending = True
        self._report()
        self._reactor.callLater(_LAST_REPORT_SECONDS, self._stop)
        transport = self._frames.transport
        if transport is None or not getattr(transport, "connected", False):
            self._stop()
        else:
            transport.loseConnection()

    def _stop(self) -> None:
        if self._reactor.running and not self._stopped:
            self._stopped = True
            self._reactor.stop()
